//! A line log that acknowledges: a client sends a line over TCP, the server writes it to its log
//! and answers `ok`. **`ok` means the line is in the log.**

pub mod args;
pub mod batch;
pub mod clock;
pub mod connection;
pub mod diagnostics;
pub mod figures;
pub mod framing;
pub mod journal;
pub mod listeners;
pub mod net;
pub mod options;
pub mod process;
pub mod protocol;
pub mod record;
pub mod replies;
pub mod server;
pub mod terminal;
