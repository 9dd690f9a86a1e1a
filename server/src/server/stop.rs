//! The graceful stop: accept the backlog, read what the kernel holds, commit, reply, close without a reset.

use std::time::{Duration, Instant};

use super::clients::Sweep;
use super::{Failure, Server};
use crate::backend::BackEnd;
use crate::warnings::replies_left;
use common::units::plural;

/// After this time no more connections are accepted, and input that is still unread is answered
/// `error shutting-down`.
const REFUSE_AFTER: Duration = Duration::from_secs(2);

/// After this time nothing more is read.
const CLOSE_AFTER: Duration = Duration::from_secs(3);

/// After this time connections are closed whatever their clients do, except those that wait for a commit.
const FORCE_AFTER: Duration = Duration::from_secs(4);

/// After this time messages whose commit is not finished stay unanswered.
const ABANDON_AFTER: Duration = Duration::from_millis(4500);

/// The longest time until a next step: that of the last one, counted from the beginning.
pub(super) const MAX_WAIT: Duration = ABANDON_AFTER;

/// How long the terminals may take for the last lines.
const SHOW_WITHIN: Duration = Duration::from_millis(300);

/// The progress of the stop.
#[derive(Debug)]
pub(super) struct Stop {
    begun: Instant,
    step: Step,
    /// The clients to which the current step has been applied.
    sweep: Sweep,
    /// The number of clients that did not take their replies in time, and the number of those replies.
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
    /// When this step ends, counted from the beginning of the stop, and the step after it.
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

    /// Makes the stop begin earlier than it did.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.begun -= by;
    }

    /// The current step has not been applied to all clients yet.
    pub(super) fn has_work(&self) -> bool {
        !self.sweep.is_over()
    }
}

impl<B: BackEnd> Server<B> {
    /// Stops accepting once the backlog is empty, and reads every client until the kernel holds no more
    /// input.
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
            // Connections made from now on wait for the next server.
            self.listeners.close();
        }
        self.listeners.resume();
        self.listeners.mark_all_ready();
    }

    /// Advances to the next step of the stop if it is due, and applies the current step to more clients.
    pub(super) fn advance_stop(&mut self) -> Result<(), Failure> {
        let Some(stop) = &mut self.stop else {
            return Ok(());
        };
        while let Some((end, next)) = stop.step.next()
            && self.now >= stop.begun + end
        {
            // Clients that the previous step has not reached need not be visited for it: each step includes
            // the one before.
            (stop.step, stop.sweep) = (next, self.clients.sweep());
            // A flood of new clients must not delay the stop.
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

    /// All clients are removed, and all records are written.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_some()
            && self.listeners.is_empty()
            && self.clients.is_empty()
            && self.commits.is_idle()
    }

    /// Reports the clients that were cut off, and gives the terminals a short time for the last records.
    pub(super) fn finish(&mut self) {
        if let Some((clients @ 1.., replies)) = self.stop.as_ref().map(|stop| stop.cut_off) {
            let (clients, left) = (plural(clients, "client"), replies_left(replies));
            log::warn!("{clients} cut off by the stop{left}");
        }
        let deadline = Instant::now() + SHOW_WITHIN;
        self.terminal.finish(deadline, self.clock.text());
    }
}
