//! The delay of a group commit: how long a batch waits for more messages, like `commit_delay` of Postgres.
//!
//! The clients whose messages were just answered are about to send their next ones. A batch submitted
//! without these would make them wait for a whole commit. From then on the clients would take turns, each
//! half in every other commit.

use std::time::{Duration, Instant};

/// The delay is at most the duration of the last commit divided by this.
const COMMIT_TIME_DIVISOR: u32 = 4;

/// The longest delay.
pub(super) const MAX_DELAY: Duration = Duration::from_millis(5);

/// The number of batches without a delay after a delay that brought too few messages.
const BATCHES_WITHOUT_DELAY: u32 = 16;

/// The delay of the next commit. It ends when the expected messages are staged, or at its deadline.
#[derive(Debug)]
pub(super) struct GroupCommitDelay {
    /// The number of messages staged when the delay began.
    staged: u64,
    /// The number of further messages expected; 0 means no delay.
    expected: u64,
    deadline: Instant,
    /// The number of further batches without a delay.
    batches_without_delay: u32,
}

impl GroupCommitDelay {
    pub(super) fn new(now: Instant) -> Self {
        Self { staged: 0, expected: 0, deadline: now, batches_without_delay: 0 }
    }

    /// Begins a delay: `messages` are about to be answered after a commit that `took` this long, and
    /// `staged` messages of other clients are already waiting.
    pub(super) fn begin(&mut self, messages: u64, took: Duration, staged: u64, now: Instant) {
        let delays = self.batches_without_delay == 0;
        self.batches_without_delay = self.batches_without_delay.saturating_sub(1);
        self.staged = staged;
        self.expected = if delays { messages } else { 0 };
        self.deadline = now + (took / COMMIT_TIME_DIVISOR).min(MAX_DELAY);
    }

    /// The expected messages are staged, or the deadline has passed.
    pub(super) fn is_over(&self, staged: u64, now: Instant) -> bool {
        staged >= self.staged + self.expected || now >= self.deadline
    }

    /// When the delay is over at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ends the delay: the batch is submitted with `staged` messages. If fewer than half of the expected
    /// ones came, their clients are slow or send little, and the next batches are not delayed.
    pub(super) fn end(&mut self, staged: u64) {
        if staged < self.staged + self.expected / 2 {
            self.batches_without_delay = BATCHES_WITHOUT_DELAY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(8);

    #[test]
    fn a_batch_waits_for_as_many_messages_as_were_answered() {
        let now = Instant::now();
        let mut delay = GroupCommitDelay::new(now);
        assert!(delay.is_over(1, now), "no delay has begun");
        delay.begin(10, TOOK, 3, now);
        assert!(!delay.is_over(12, now));
        assert!(delay.is_over(13, now));
        assert_eq!(delay.deadline(), now + TOOK / COMMIT_TIME_DIVISOR);
        assert!(delay.is_over(3, delay.deadline()));
        delay.begin(10, Duration::from_secs(9), 3, now);
        assert_eq!(delay.deadline(), now + MAX_DELAY);
    }

    #[test]
    fn a_delay_that_brings_little_is_not_repeated_at_once() {
        let now = Instant::now();
        let mut delay = GroupCommitDelay::new(now);
        for came in [5, 4] {
            delay.begin(10, TOOK, 3, now);
            assert!(!delay.is_over(3, now));
            delay.end(3 + came);
        }
        for _ in 0..BATCHES_WITHOUT_DELAY {
            delay.begin(10, TOOK, 3, now);
            assert!(delay.is_over(3, now));
            delay.end(3);
        }
        delay.begin(10, TOOK, 3, now);
        assert!(!delay.is_over(3, now), "once more");
    }
}
