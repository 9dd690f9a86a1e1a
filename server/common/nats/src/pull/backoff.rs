//! The backoff of retries, and when to give up.

use std::time::{Duration, Instant};

/// The backoff before the second attempt. It doubles with each further attempt.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest backoff.
const MAX: Duration = Duration::from_secs(2);

/// An outage: a problem since the last delivery.
#[derive(Debug)]
pub(super) struct Backoff {
    since: Instant,
    failures: u32,
    /// When to retry: after the first failure at once.
    pub(super) next: Instant,
    /// The last error.
    pub(super) why: String,
    /// Whether the outage was reported.
    pub(super) is_told: bool,
}

impl Backoff {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            since: now,
            failures: 0,
            next: now,
            why: String::new(),
            is_told: false,
        }
    }

    /// Records a failure. `jitter`, from 0 to 1, keeps many readers from retrying at the same time.
    pub(super) fn postpone(&mut self, now: Instant, jitter: f64, why: &str) {
        if self.failures > 0 {
            let longest = SHORTEST * 2_u32.saturating_pow(self.failures - 1);
            let pause = longest.min(MAX);
            self.next = now + pause.mul_f64(0.5 + jitter / 2.0);
        }
        self.failures = (self.failures + 1).min(16);
        why.clone_into(&mut self.why);
    }

    /// Whether the outage has lasted for `patience`. `None`: no limit.
    pub(super) fn is_over(&self, now: Instant, patience: Option<Duration>) -> bool {
        patience.is_some_and(|patience| now.duration_since(self.since) >= patience)
    }

    /// Whether to report the outage now, once. One that the first retry ends is not reported.
    pub(super) fn is_to_be_told(&mut self) -> bool {
        self.failures > 1 && !std::mem::replace(&mut self.is_told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once() {
        let now = Instant::now();
        let mut backoff = Backoff::begin(now);
        let mut pauses = Vec::new();
        let mut told = Vec::new();
        for _ in 0..9 {
            backoff.postpone(now, 1.0, "x");
            pauses.push((backoff.next - now).as_millis());
            told.push(backoff.is_to_be_told());
        }
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(told[..4], [false, true, false, false]);
        for _ in 0..100 {
            backoff.postpone(now, 0.0, "x");
        }
        assert_eq!(backoff.next - now, Duration::from_secs(1));
    }

    #[test]
    fn patience_ends_or_does_not() {
        let now = Instant::now();
        let backoff = Backoff::begin(now);
        let later = now + Duration::from_secs(60);
        assert!(backoff.is_over(later, Some(Duration::from_secs(60))));
        assert!(!backoff.is_over(later, Some(Duration::from_secs(61))));
        assert!(!backoff.is_over(later, None));
    }
}
