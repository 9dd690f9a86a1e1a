//! The errors that end the loop.

use std::fmt::Display;
use std::io;

use common::units::plural;

/// Why the loop ended before a graceful stop was complete.
#[derive(Debug)]
pub enum Failure {
    /// A second signal stopped the server at once; this many clients were connected.
    Forced(usize),
    /// The stop timed out before the log had finished this many messages.
    Unanswered(u64),
    /// The log can no longer be trusted; the text says why.
    Log(String),
    /// The operating system refused a call that the loop depends on.
    Loop(io::Error),
}

impl Failure {
    /// One line that says what happened and what to do. `log` is the name of the log.
    pub fn describe(&self, log: &dyn Display) -> String {
        match self {
            Self::Forced(n) => {
                let clients = plural(*n as u64, "client");
                format!("stopped at once by a second signal: {clients} cut off")
            }
            Self::Unanswered(n) => format!(
                "stopped while {} waited for the log: they were never answered, and may be in \
                 {log} or not",
                plural(*n, "message")
            ),
            Self::Log(why) => why.clone(),
            Self::Loop(error) => format!("cannot wait for clients: {error}"),
        }
    }
}
