//! When the log is rotated, and how many rotated files are kept.

use std::time::{Duration, Instant};

/// The pause after a failed attempt.
const RETRY: Duration = Duration::from_secs(1);

/// The limits of a log. Without size and age it is never rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Rotate when the log reaches this size in bytes.
    pub size: Option<u64>,
    /// Rotate when the oldest record reaches this age.
    pub age: Option<Duration>,
    /// How many rotated files are kept. `None` keeps all.
    pub keep: Option<usize>,
}

impl Policy {
    /// Whether the log is rotated at all.
    pub fn rotates(&self) -> bool {
        self.size.is_some() || self.age.is_some()
    }
}

/// When one log is rotated.
#[derive(Debug)]
pub(super) struct Schedule {
    policy: Policy,
    /// Since when the log has reached the size limit.
    full_since: Option<Instant>,
    /// When its first record reaches the age limit.
    too_old_at: Option<Instant>,
    /// After a failed attempt: when the next one may begin.
    retry_at: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, full_since: None, too_old_at: None, retry_at: None }
    }

    /// When the log is to be rotated, as far as it is known now.
    pub(super) fn due(&self) -> Option<Instant> {
        let limits = [self.full_since, self.too_old_at];
        let due = limits.into_iter().flatten().min()?;
        Some(self.retry_at.map_or(due, |retry_at| due.max(retry_at)))
    }

    /// Begins with another log.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.policy);
    }

    /// Checks a log of this `length` that has grown by `grown_by` bytes. `age` returns the age of its first
    /// record; it is called once for each log.
    pub(super) fn poll(
        &mut self,
        length: u64,
        grown_by: u64,
        now: Instant,
        age: impl FnOnce() -> Duration,
    ) {
        let is_full = self.policy.size.is_some_and(|size| length >= size);
        self.full_since = is_full.then(|| self.full_since.unwrap_or(now));
        // The log was empty before this write.
        if length <= grown_by {
            self.too_old_at = None;
        }
        if let (Some(limit), None, true) = (self.policy.age, self.too_old_at, length > 0) {
            self.too_old_at = Some(now + limit.saturating_sub(age()));
        }
    }

    /// Postpones the next attempt after a failed one.
    pub(super) fn retry_later(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY);
    }

    /// Whether the last attempt has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.retry_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(size: Option<u64>, age: Option<Duration>) -> Schedule {
        Schedule::new(Policy { size, age, keep: None })
    }

    #[test]
    fn a_log_is_due_when_it_reaches_the_size() {
        let (mut schedule, now) = (schedule(Some(10), None), Instant::now());
        schedule.poll(9, 9, now, || unreachable!("no limit of age"));
        assert_eq!(schedule.due(), None);
        schedule.poll(10, 1, now + SECOND, || unreachable!());
        schedule.poll(11, 1, now + 2 * SECOND, || unreachable!());
        assert_eq!(schedule.due(), Some(now + SECOND));
        // Another program has truncated it.
        schedule.poll(3, 0, now + 3 * SECOND, || unreachable!());
        assert_eq!(schedule.due(), None);
    }

    #[test]
    fn a_log_is_due_when_its_first_record_reaches_the_age() {
        let (mut schedule, now) = (schedule(None, Some(10 * SECOND)), Instant::now());
        schedule.poll(0, 0, now, || unreachable!("an empty log has no age"));
        assert_eq!(schedule.due(), None);
        schedule.poll(5, 3, now, || 4 * SECOND);
        schedule.poll(8, 3, now + SECOND, || unreachable!("it is known"));
        assert_eq!(schedule.due(), Some(now + 6 * SECOND));
        // It was emptied before this write.
        schedule.poll(3, 3, now + 2 * SECOND, || Duration::ZERO);
        assert_eq!(schedule.due(), Some(now + 12 * SECOND));
        schedule.restart();
        assert_eq!(schedule.due(), None);
        schedule.poll(3, 0, now, || 99 * SECOND);
        assert_eq!(schedule.due(), Some(now), "it is older than the limit");
    }

    #[test]
    fn a_failed_attempt_is_retried_after_a_pause() {
        let (mut schedule, now) = (schedule(Some(1), None), Instant::now());
        schedule.poll(1, 1, now, || unreachable!());
        schedule.retry_later(now);
        assert!(schedule.has_failed());
        assert_eq!(schedule.due(), Some(now + RETRY));
        schedule.restart();
        assert!(!schedule.has_failed());
    }
}
