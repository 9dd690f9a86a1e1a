//! Message as it is sent, as it is recorded in the log, and its result.

pub(crate) mod ack_log;
pub(crate) mod pattern;
pub(crate) mod template;
