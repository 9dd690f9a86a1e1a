//! The graceful stop: accept who is in the backlog, read what the kernel holds, commit, answer,
//! close politely.

use std::time::{Duration, Instant};

use super::Server;
use crate::journal::Storage;

/// After so long, nobody is accepted any more, and what is still unread is answered
/// `error shutting-down`.
const REFUSE_AFTER: Duration = Duration::from_secs(2);

/// After so long, nothing more is read.
const CLOSE_AFTER: Duration = Duration::from_secs(3);

/// After so long, connections are closed whatever their clients do.
const FORCE_AFTER: Duration = Duration::from_secs(4);

/// How long the terminals may take for the last lines.
const SHOW_WITHIN: Duration = Duration::from_millis(500);

/// How far the stop is.
#[derive(Debug)]
pub(super) struct Stop {
    begun: Instant,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Drain,
    Refuse,
    Close,
    Force,
}

impl Step {
    /// When it is over, counted from the beginning of the stop, and what comes then.
    const fn next(self) -> (Duration, Self) {
        match self {
            Self::Drain => (REFUSE_AFTER, Self::Refuse),
            Self::Refuse => (CLOSE_AFTER, Self::Close),
            Self::Close | Self::Force => (FORCE_AFTER, Self::Force),
        }
    }
}

impl Stop {
    /// When the next step is due.
    pub(super) fn next_step(&self) -> Instant {
        self.begun + self.step.next().0
    }
}

impl<F: Storage> Server<F> {
    /// Stops accepting once the backlog is empty, and reads every client to the end of what the
    /// kernel holds.
    pub fn begin_stop(&mut self) {
        log::info!("stopping: {} connected", self.connections.len());
        let (begun, step) = (self.now, Step::Drain);
        self.stop = Some(Stop { begun, step });
        self.listeners.resume();
        self.listeners.note_all();
        for (key, connection) in &mut self.connections {
            connection.expect_end();
            self.queues.schedule(key, connection);
        }
    }

    /// Goes on to the next step of the stop if it is due.
    pub(super) fn advance_stop(&mut self) {
        let Some(stop) = &mut self.stop else {
            return;
        };
        let (end, next) = stop.step.next();
        if stop.step == Step::Force || self.now < stop.begun + end {
            return;
        }
        stop.step = next;
        // A flood of new clients must not keep the server.
        self.listeners.close();
        for (key, connection) in &mut self.connections {
            match next {
                Step::Drain => {}
                Step::Refuse => connection.refuse(),
                Step::Close => connection.close(),
                Step::Force => connection.give_up(),
            }
            self.queues.schedule(key, connection);
        }
    }

    /// Every client is gone and every record written.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_some()
            && self.listeners.is_empty()
            && self.connections.is_empty()
            && self.batch.is_empty()
    }

    /// Gives the terminals a moment for the last records.
    pub(super) fn finish(&mut self) {
        let deadline = Instant::now() + SHOW_WITHIN;
        self.terminal.finish(deadline, self.clock.text());
    }
}
