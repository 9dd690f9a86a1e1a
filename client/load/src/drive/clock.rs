//! Clock of a run, in nanoseconds.

use std::time::{Duration, Instant};

/// Nanoseconds since the run's [`Clock`] was started.
pub(crate) type Nanos = u64;

/// A clock that all threads of a run share.
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

/// A duration in nanoseconds. `u64` holds more than 500 years.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
