//! Time of the run, in nanoseconds, and what the process and its threads used of the CPU.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

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

/// CPU time used so far, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// This thread.
    pub(crate) thread: u64,
    /// How long this thread was ready to run but did not, where the kernel tells.
    pub(crate) waited: Option<u64>,
    /// The whole process.
    pub(crate) process: u64,
    /// Of the process: in the program, and in the kernel on its behalf; in ticks.
    pub(crate) ticks: Option<(u64, u64)>,
}

impl Usage {
    pub(crate) fn now() -> Self {
        Self {
            thread: cpu_time(ClockId::ThreadCPUTime),
            waited: waited(),
            process: cpu_time(ClockId::ProcessCPUTime),
            ticks: ticks("/proc/self/stat"),
        }
    }
}

fn cpu_time(id: ClockId) -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    u64::try_from(tv_sec * 1_000_000_000 + tv_nsec).unwrap_or(0)
}

/// The second field of schedstat: time spent on a run queue.
fn waited() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Fields 14 and 15 of a process's `stat`, counted after its name, which may hold anything: time
/// in the program, and in the kernel on its behalf, in ticks.
pub(crate) fn ticks(stat: &str) -> Option<(u64, u64)> {
    let text = fs::read_to_string(stat).ok()?;
    let mut fields = text
        .get(text.rfind(')')? + 1..)?
        .split_whitespace()
        .skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_usage() {
        let before = Usage::now();
        let mut after = before;
        while after.thread < before.thread + 20_000_000 {
            after = Usage::now();
        }
        assert!(after.process >= before.process + 20_000_000);
        assert!(after.ticks.is_some() && after.waited >= before.waited);
    }
}
