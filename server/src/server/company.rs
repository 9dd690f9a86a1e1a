//! Whether a batch waits for those whose last messages were just answered.
//!
//! They are about to send their next ones. If the batch left without them, they would have to wait for
//! all of it, and from then on the clients would share every other commit only, one half of them in turn
//! with the other.

use std::time::{Duration, Instant};

/// This part of the time that the last commit took is waited, at most.
const SHARE: u32 = 4;

/// And no longer than this, however long that was.
pub(super) const LONGEST: Duration = Duration::from_millis(5);

/// After a wait that was in vain, so many batches do not wait.
const LEFT_OUT: u32 = 16;

/// Who is expected to share the next commit.
#[derive(Debug)]
pub(super) struct Company {
    /// How many messages were staged when others were answered.
    staged: u64,
    /// How many these are expected to send; 0: nobody is waited for.
    expected: u64,
    until: Instant,
    /// So many batches are not to wait.
    to_leave_out: u32,
}

impl Company {
    /// Nobody is expected.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            staged: 0,
            expected: 0,
            until: now,
            to_leave_out: 0,
        }
    }

    /// So many `messages` are about to be answered, after a commit that `took` so long, while others are
    /// staged.
    pub(super) fn expect(&mut self, messages: u64, took: Duration, staged: u64, now: Instant) {
        let waits = self.to_leave_out == 0;
        self.to_leave_out = self.to_leave_out.saturating_sub(1);
        self.staged = staged;
        self.expected = if waits { messages } else { 0 };
        self.until = now + (took / SHARE).min(LONGEST);
    }

    /// So many messages are staged: nobody is waited for any more.
    pub(super) fn is_there(&self, staged: u64, now: Instant) -> bool {
        staged >= self.staged + self.expected || now >= self.until
    }

    /// Until when they are waited for.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// The batch leaves with so many messages. Where not even half of those came who were expected, they
    /// are slow, or say little: to wait for them again would be in vain as well.
    pub(super) fn leave(&mut self, staged: u64) {
        if staged < self.staged + self.expected / 2 {
            self.to_leave_out = LEFT_OUT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(8);

    #[test]
    fn a_batch_waits_for_as_many_as_were_answered_or_a_part_of_the_last_commit() {
        let now = Instant::now();
        let mut company = Company::new(now);
        assert!(company.is_there(1, now), "nobody was answered");
        company.expect(10, TOOK, 3, now);
        assert!(!company.is_there(12, now));
        assert!(company.is_there(13, now));
        assert_eq!(company.until(), now + TOOK / SHARE);
        assert!(company.is_there(3, company.until()));
        company.expect(10, Duration::from_secs(9), 3, now);
        assert_eq!(company.until(), now + LONGEST);
    }

    #[test]
    fn a_wait_in_vain_is_not_repeated_at_once() {
        let now = Instant::now();
        let mut company = Company::new(now);
        for came in [5, 4] {
            company.expect(10, TOOK, 3, now);
            assert!(!company.is_there(3, now));
            company.leave(3 + came);
        }
        for _ in 0..LEFT_OUT {
            company.expect(10, TOOK, 3, now);
            assert!(company.is_there(3, now));
            company.leave(3);
        }
        company.expect(10, TOOK, 3, now);
        assert!(!company.is_there(3, now), "once more");
    }
}
