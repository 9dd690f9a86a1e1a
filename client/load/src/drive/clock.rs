//! Time of the run, in nanoseconds.

use std::time::{Duration, Instant};

/// Nanoseconds since the run's [`Clock`] was made.
pub(crate) type Nanos = u64;

/// One clock for all threads of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Nanos {
        nanos(self.0.elapsed())
    }
}

/// A duration as nanoseconds; a year fits 18 times.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
