//! How the loop can end badly.

use std::io;
use std::path::Path;

use common::units::plural;

/// Why the loop ended without being asked to, or before it was done.
#[derive(Debug)]
pub enum Failure {
    /// A second signal: this many clients were cut off.
    Forced(usize),
    /// The time for the stop was over before the log had decided about this many messages.
    Unanswered(u64),
    /// The disk did not take a batch: what of it is kept, nobody knows.
    Sync(io::Error),
    /// The operating system refused something that the loop cannot do without.
    Loop(io::Error),
}

impl Failure {
    /// What happened and what to do, in a line. `log` is the log's path.
    pub fn describe(&self, log: &Path) -> String {
        let log = log.display();
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
            Self::Sync(error) => format!(
                "cannot sync {log}: {error}; what was not answered may be lost, so nothing more is; \
                 check the disk before starting again"
            ),
            Self::Loop(error) => format!("cannot wait for clients: {error}"),
        }
    }
}
