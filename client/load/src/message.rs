//! A message: as it is sent, as it stands in the log, and what became of it.

pub(crate) mod ack_log;
pub(crate) mod pattern;
pub(crate) mod template;
