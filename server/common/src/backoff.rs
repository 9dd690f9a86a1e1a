//! Exponential backoff with jitter between attempts.

use std::time::{Duration, Instant};

/// The backoff since a first failure.
#[derive(Clone, Debug)]
pub struct Backoff {
    since: Instant,
    next: Instant,
    pause: Duration,
    longest: Duration,
}

impl Backoff {
    /// Begins with a first failure. The next attempt may be made at once. The first pause is `shortest`; each
    /// further one is twice as long, up to `longest`.
    pub fn begin(shortest: Duration, longest: Duration, now: Instant) -> Self {
        Self { since: now, next: now, pause: shortest, longest }
    }

    /// Postpones the next attempt after a failure, and doubles the pause. `jitter`, from 0 to 1, shortens it
    /// by up to a half, so that many programs do not retry at the same time.
    pub fn postpone(&mut self, now: Instant, jitter: f64) {
        self.next = now + self.pause.mul_f64(0.5 + jitter / 2.0);
        self.pause = (2 * self.pause).min(self.longest);
    }

    /// When the first attempt failed.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// When the next attempt may be made.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Whether an attempt was postponed, so there was more than one failure.
    pub fn is_postponed(&self) -> bool {
        self.next > self.since
    }

    /// Whether the failures have lasted for `limit`. `None` means no limit.
    pub fn has_lasted(&self, now: Instant, limit: Option<Duration>) -> bool {
        limit.is_some_and(|limit| now.duration_since(self.since) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let now = Instant::now();
        let mut backoff = Backoff::begin(SHORTEST, LONGEST, now);
        assert_eq!(backoff.next(), now);
        assert!(!backoff.is_postponed());
        let mut pauses = Vec::new();
        for _ in 0..100 {
            backoff.postpone(now, 1.0);
            pauses.push((backoff.next() - now).as_millis());
        }
        assert_eq!(pauses[..8], [100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert_eq!(pauses[99], 10_000);
        assert!(backoff.is_postponed());
    }

    #[test]
    fn jitter_shortens_a_pause_by_up_to_a_half() {
        let now = Instant::now();
        for (jitter, expected) in [(0.0, 50), (0.5, 75), (1.0, 100)] {
            let mut backoff = Backoff::begin(SHORTEST, LONGEST, now);
            backoff.postpone(now, jitter);
            assert_eq!((backoff.next() - now).as_millis(), expected);
        }
    }

    #[test]
    fn failures_last_for_a_limit_or_without_one() {
        let now = Instant::now();
        let mut backoff = Backoff::begin(SHORTEST, LONGEST, now);
        let later = now + Duration::from_secs(60);
        backoff.postpone(later, 1.0);
        assert_eq!(backoff.since(), now);
        assert!(backoff.has_lasted(later, Some(Duration::from_secs(60))));
        assert!(!backoff.has_lasted(later, Some(Duration::from_secs(61))));
        assert!(!backoff.has_lasted(later, None));
    }
}
