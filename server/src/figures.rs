//! The totals of the server since its start, formatted for people.

use std::fmt;
use std::time::{Duration, Instant};

use common::units::{count, plural};

/// Totals since the start.
#[derive(Clone, Debug)]
pub struct Figures {
    /// When counting began.
    pub started: Instant,
    /// Clients whose first message arrived, including those still connected.
    pub clients: u64,
    /// Messages whose `ok` the kernel has taken.
    pub acknowledged: u64,
    /// Messages that are in the log.
    pub kept: u64,
    /// Whether messages are answered.
    pub sends_replies: bool,
    /// Error replies that the kernel has taken, and those suppressed because the server sends no replies.
    pub errors: u64,
    /// Clients over the limit, which were refused.
    pub refused: u64,
    /// Clients that were turned away before a first message.
    pub turned_away: u64,
    /// Bytes written to the log.
    pub bytes: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// The longest time to write (and sync) a batch.
    pub longest_commit: Duration,
    /// Rotations of the log.
    pub rotations: u64,
}

impl Figures {
    /// All counters are zero.
    pub fn new(sends_replies: bool, now: Instant) -> Self {
        Self {
            started: now,
            clients: 0,
            acknowledged: 0,
            kept: 0,
            sends_replies,
            errors: 0,
            refused: 0,
            turned_away: 0,
            bytes: 0,
            turns: 0,
            longest_commit: Duration::ZERO,
            rotations: 0,
        }
    }

    /// The line for SIGUSR1. `connected`: the number of clients connected now.
    pub fn line(&self, connected: usize) -> String {
        let rotations = match self.rotations {
            0 => String::new(),
            n => format!(", {}", plural(n, "rotation")),
        };
        format!(
            "{} connected, {}, {} turns, longest commit {:.3} ms{rotations}",
            plural(connected as u64, "client"),
            self.counts(),
            count(self.turns),
            self.longest_commit.as_secs_f64() * 1e3,
        )
    }

    fn counts(&self) -> String {
        let (messages, what) = if self.sends_replies {
            (self.acknowledged, "acknowledged")
        } else {
            (self.kept, "kept, none acknowledged")
        };
        let turned_away = match self.turned_away {
            0 => String::new(),
            n => format!(", {} turned away", count(n)),
        };
        format!(
            "{} served{turned_away}, {} {what}, {}, {} logged in {:.3} s",
            plural(self.clients, "client"),
            plural(messages, "message"),
            plural(self.errors, "error"),
            plural(self.bytes, "byte"),
            self.started.elapsed().as_secs_f64(),
        )
    }
}

/// The line that is printed when the server has stopped.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped: {}", self.counts())
    }
}
