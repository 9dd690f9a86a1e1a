//! The steps of a graceful stop, and their times.

use std::time::{Duration, Instant};

use common::units::plural;
use net::Listeners;

use super::clients::{Clients, Sweep};
use crate::connection::Connection;
use crate::warnings::replies_left;

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
    pub(super) fn new(clients: &Clients, now: Instant) -> Self {
        Self { begun: now, step: Step::Drain, sweep: clients.sweep(), cut_off: (0, 0) }
    }

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

    /// Whether messages whose commit is not finished stay unanswered.
    pub(super) fn abandons(&self) -> bool {
        self.step == Step::Abandon
    }

    /// Advances to the next step if it is due, and applies the current step to more clients.
    pub(super) fn advance(
        &mut self,
        clients: &mut Clients,
        listeners: &mut Listeners,
        now: Instant,
    ) {
        while let Some((end, next)) = self.step.next()
            && now >= self.begun + end
        {
            // Clients that the previous step has not reached need not be visited for it: each step includes
            // the one before.
            (self.step, self.sweep) = (next, clients.sweep());
            // A flood of new clients must not delay the stop.
            listeners.close();
        }
        let (step, cut_off) = (self.step, &mut self.cut_off);
        clients.advance(&mut self.sweep, |_, connection| {
            apply(step, connection, cut_off);
            true
        });
    }

    /// Reports the clients that were cut off.
    pub(super) fn report(&self) {
        if let (clients @ 1.., replies) = self.cut_off {
            let (clients, left) = (plural(clients, "client"), replies_left(replies));
            log::warn!("{clients} cut off by the stop{left}");
        }
    }
}

fn apply(step: Step, connection: &mut Connection, cut_off: &mut (u64, usize)) {
    match step {
        Step::Drain => connection.expect_end(),
        Step::Refuse => connection.refuse(),
        Step::Close => connection.close(),
        Step::Force if connection.awaits_commit() => connection.close(),
        Step::Force | Step::Abandon => {
            let (clients, replies) = cut_off;
            *clients += u64::from(connection.owed() > 0);
            *replies += connection.owed();
            connection.give_up();
        }
    }
}
