//! Rate limit of diagnostics.

use std::time::{Duration, Instant};

/// Limits the rate of a diagnostic that clients can cause, by default to one a second, and counts those
/// suppressed.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new(Duration::from_secs(1))
    }
}

impl RateLimit {
    /// Allows one in every `interval`.
    pub fn new(interval: Duration) -> Self {
        Self { interval, last: None, suppressed: 0 }
    }

    /// Returns `Some` if a line may be shown now: the end of the line, with the number suppressed since the
    /// last one, if any.
    pub fn allow(&mut self, now: Instant) -> Option<String> {
        if self.last.is_some_and(|last| now.duration_since(last) < self.interval) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        match std::mem::take(&mut self.suppressed) {
            0 => Some(String::new()),
            n => Some(format!(" ({n} more like this in the meantime)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_allowed_and_the_rest_is_counted() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(limit.allow(at(0)).as_deref(), Some(""));
        assert_eq!(limit.allow(at(1)), None);
        assert_eq!(limit.allow(at(999)), None);
        let ending = limit.allow(at(1000)).unwrap();
        assert_eq!(ending, " (2 more like this in the meantime)");
        assert_eq!(limit.allow(at(2000)).as_deref(), Some(""));
    }
}
