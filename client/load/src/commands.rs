//! What can be typed, and what comes out as an exit code: a file for each command.

mod exit;
pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod report;
pub(crate) mod verify;
