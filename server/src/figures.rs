//! The totals of the server since its start, formatted for people.

use std::fmt;

use common::units::{count, plural};

use crate::stats::Stats;

/// The counters, and what their text depends on besides.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The counters.
    pub stats: Stats,
    /// Whether messages are answered.
    pub sends_replies: bool,
    /// Rotations of the log.
    pub rotations: u64,
}

impl Figures {
    /// The line for SIGUSR1. `connected`: the number of clients connected now.
    pub fn line(&self, connected: usize) -> String {
        let rotations = match self.rotations {
            0 => String::new(),
            n => format!(", {}", plural(n, "rotation")),
        };
        format!(
            "{} connected, {}, {} turns, longest commit {:.3} ms{rotations}",
            plural(connected as u64, "client"),
            self.totals(),
            count(self.stats.turns),
            self.stats.commits.longest.as_secs_f64() * 1e3,
        )
    }

    fn totals(&self) -> String {
        let stats = &self.stats;
        let (messages, what) = if self.sends_replies {
            (stats.acknowledged, "acknowledged")
        } else {
            (stats.committed, "kept, none acknowledged")
        };
        let turned_away = match stats.clients.turned_away() {
            0 => String::new(),
            n => format!(", {} turned away", count(n)),
        };
        format!(
            "{} served{turned_away}, {} {what}, {}, {} logged in {:.3} s",
            plural(stats.clients.served, "client"),
            plural(messages, "message"),
            plural(stats.errors.total(), "error"),
            plural(stats.commits.bytes, "byte"),
            stats.started.elapsed().as_secs_f64(),
        )
    }
}

/// The line that is printed when the server has stopped.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped: {}", self.totals())
    }
}
