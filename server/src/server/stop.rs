//! The graceful stop: accept who is in the backlog, read what the kernel holds, commit, answer,
//! close politely.

use std::time::{Duration, Instant};

use super::clients::Sweep;
use super::{Failure, Server};
use crate::backend::BackEnd;
use crate::connection::replies_left;
use common::units::plural;

/// After so long, nobody is accepted any more, and what is still unread is answered
/// `error shutting-down`.
const REFUSE_AFTER: Duration = Duration::from_secs(2);

/// After so long, nothing more is read.
const CLOSE_AFTER: Duration = Duration::from_secs(3);

/// After so long, connections are closed whatever their clients do, but for those that wait for a
/// commit.
const FORCE_AFTER: Duration = Duration::from_secs(4);

/// After so long, what is still not decided stays unanswered.
const ABANDON_AFTER: Duration = Duration::from_millis(4500);

/// No step is further away than the last one, counted from the beginning.
pub(super) const MAX_WAIT: Duration = ABANDON_AFTER;

/// How long the terminals may take for the last lines.
const SHOW_WITHIN: Duration = Duration::from_millis(300);

/// How far the stop is.
#[derive(Debug)]
pub(super) struct Stop {
    begun: Instant,
    step: Step,
    /// Who has been told of this step.
    sweep: Sweep,
    /// Clients that did not take their replies in time, and how many these were.
    cut_off: (u64, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Drain,
    Refuse,
    Close,
    Force,
    Abandon,
}

impl Step {
    /// When it is over, counted from the beginning of the stop, and what comes then.
    const fn next(self) -> Option<(Duration, Self)> {
        match self {
            Self::Drain => Some((REFUSE_AFTER, Self::Refuse)),
            Self::Refuse => Some((CLOSE_AFTER, Self::Close)),
            Self::Close => Some((FORCE_AFTER, Self::Force)),
            Self::Force => Some((ABANDON_AFTER, Self::Abandon)),
            Self::Abandon => None,
        }
    }
}

impl Stop {
    /// When the next step is due.
    pub(super) fn next_step(&self) -> Option<Instant> {
        let (end, _) = self.step.next()?;
        Some(self.begun + end)
    }

    /// Has it begun earlier than it did.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.begun -= by;
    }

    /// Some clients have not been told of the step yet.
    pub(super) fn has_work(&self) -> bool {
        !self.sweep.is_over()
    }
}

impl<B: BackEnd> Server<B> {
    /// Stops accepting once the backlog is empty, and reads every client to the end of what the
    /// kernel holds.
    pub fn begin_stop(&mut self) {
        log::info!("stopping: {} connected", self.clients.len());
        let (begun, step, sweep) = (self.now, Step::Drain, self.clients.sweep());
        let cut_off = (0, 0);
        self.stop = Some(Stop {
            begun,
            step,
            sweep,
            cut_off,
        });
        self.supervisor.tell_stopping(self.now);
        if self.leaves_backlog {
            // Whoever connects from now on waits for the next server.
            self.listeners.close();
        }
        self.listeners.resume();
        self.listeners.note_all();
    }

    /// Goes on to the next step of the stop if it is due, and with telling everybody of it.
    pub(super) fn advance_stop(&mut self) -> Result<(), Failure> {
        let Some(stop) = &mut self.stop else {
            return Ok(());
        };
        while let Some((end, next)) = stop.step.next()
            && self.now >= stop.begun + end
        {
            // Who has not been told of the step before does not need to be: each goes further.
            (stop.step, stop.sweep) = (next, self.clients.sweep());
            // A flood of new clients must not keep the server.
            self.listeners.close();
        }
        let reached = stop.step;
        self.clients.advance(&mut stop.sweep, |_, connection| {
            match reached {
                Step::Drain => connection.expect_end(),
                Step::Refuse => connection.refuse(),
                Step::Close => connection.close(),
                Step::Force if connection.awaits_commit() => connection.close(),
                Step::Force | Step::Abandon => {
                    let (clients, replies) = &mut stop.cut_off;
                    *clients += u64::from(connection.owed() > 0);
                    *replies += connection.owed();
                    connection.give_up();
                }
            }
            true
        });
        match self.commits.undecided() {
            undecided @ 1.. if reached == Step::Abandon => Err(Failure::Unanswered(undecided)),
            _ => Ok(()),
        }
    }

    /// Every client is gone and every record written.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_some()
            && self.listeners.is_empty()
            && self.clients.is_empty()
            && self.commits.is_idle()
    }

    /// Says who was cut off, and gives the terminals a moment for the last records.
    pub(super) fn finish(&mut self) {
        if let Some((clients @ 1.., replies)) = self.stop.as_ref().map(|stop| stop.cut_off) {
            let (clients, left) = (plural(clients, "client"), replies_left(replies));
            log::warn!("{clients} cut off by the stop{left}");
        }
        let deadline = Instant::now() + SHOW_WITHIN;
        self.terminal.finish(deadline, self.clock.text());
    }
}
