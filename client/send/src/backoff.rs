//! Backoff between attempts to connect, and the limit on how long to retry.

use std::time::{Duration, Instant};

/// The first backoff. Each further one is twice as long.
const SHORTEST: Duration = Duration::from_millis(100);

/// The maximum backoff.
const MAX: Duration = Duration::from_secs(10);

/// An outage: the state of the backoff since the first failure.
#[derive(Debug)]
pub(crate) struct Backoff {
    pub(crate) since: Instant,
    attempts: u32,
    /// The time of the next attempt.
    pub(crate) next: Instant,
    /// Whether the outage was reported.
    pub(crate) told: bool,
}

impl Backoff {
    pub(crate) fn begin(now: Instant) -> Self {
        Self {
            since: now,
            attempts: 0,
            next: now,
            told: false,
        }
    }

    /// Doubles the backoff after a failed attempt. `jitter`, from 0 to 1, shortens it by up to a
    /// half, so that many senders do not reconnect at the same time.
    pub(crate) fn postpone(&mut self, now: Instant, jitter: f64) {
        let longest = SHORTEST * 2u32.saturating_pow(self.attempts.min(16));
        let pause = longest.min(MAX);
        self.attempts += 1;
        self.next = now + pause.mul_f64(0.5 + jitter / 2.0);
    }

    /// Whether the outage has lasted for `retry`. `None` means no limit.
    pub(crate) fn is_over(&self, now: Instant, retry: Option<Duration>) -> bool {
        retry.is_some_and(|retry| now.duration_since(self.since) >= retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_tenth_of_a_second_to_ten() {
        let now = Instant::now();
        let mut backoff = Backoff::begin(now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            backoff.postpone(now, 1.0);
            pauses.push((backoff.next - now).as_millis());
        }
        assert_eq!(pauses[..8], [100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert_eq!(pauses[11], 10_000);
        backoff.postpone(now, 0.0);
        assert_eq!(backoff.next - now, Duration::from_secs(5));
        assert!(backoff.is_over(now, Some(Duration::ZERO)) && !backoff.is_over(now, None));
    }
}
