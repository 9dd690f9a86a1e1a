//! How the loop can end badly.

use std::fmt::Display;
use std::io;

use common::units::plural;

/// Why the loop ended without being asked to, or before it was done.
#[derive(Debug)]
pub enum Failure {
    /// A second signal: this many clients were cut off.
    Forced(usize),
    /// The time for the stop was over before the log had decided about this many messages.
    Unanswered(u64),
    /// The log cannot be trusted any more, and why.
    Log(String),
    /// The operating system refused something that the loop cannot do without.
    Loop(io::Error),
}

impl Failure {
    /// What happened and what to do, in a line. `log` is what the log is called.
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
