//! Commands of the load generator: options and exit codes, a file for each command.

mod exit;
pub(crate) mod load;
pub(crate) mod report;
pub(crate) mod verify;
