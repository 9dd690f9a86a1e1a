//! A line log that acknowledges: a client sends a line over TCP, the server writes it to its log
//! and answers `ok`. **`ok` means the line is in the log.**

pub mod args;
pub mod process;
pub mod protocol;
