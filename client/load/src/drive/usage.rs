//! CPU usage of this process and its threads, and of the server (`-pid`).

use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

/// CPU time used so far, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time of this thread.
    pub(crate) thread: u64,
    /// How long this thread was ready to run but had no CPU. `None` if the system does not report
    /// it.
    pub(crate) waited: Option<u64>,
    /// CPU time of the whole process.
    pub(crate) process: u64,
    /// User and system time of the process, in ticks.
    pub(crate) ticks: Option<Ticks>,
}

impl Usage {
    pub(crate) fn now() -> Self {
        Self {
            thread: cpu_time(ClockId::ThreadCPUTime),
            waited: system::waited(),
            process: cpu_time(ClockId::ProcessCPUTime),
            ticks: system::ticks(std::process::id()),
        }
    }
}

fn cpu_time(id: ClockId) -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    u64::try_from(tv_sec * 1_000_000_000 + tv_nsec).unwrap_or(0)
}

/// CPU time from the end of the warm-up on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cpu {
    #[serde(rename = "cpu_s")]
    pub(crate) total_s: f64,
    /// User time, part of the total. Accurate to 10 ms.
    pub(crate) user_s: f64,
    /// System time, part of the total.
    pub(crate) system_s: f64,
    #[serde(rename = "cpu_ns_per_message")]
    pub(crate) ns_per_message: Option<f64>,
}

/// User and system time, in ticks.
type Ticks = (u64, u64);

impl Cpu {
    /// CPU time of `ns` nanoseconds, in which `messages` were acknowledged. `ticks` are those at its
    /// begin and at its end; without them half of it counts as user time.
    pub(crate) fn new(ns: u64, ticks: Option<(Ticks, Ticks)>, messages: u64) -> Self {
        let user_share = ticks.map_or(0.5, |(first, last)| {
            let user = last.0.saturating_sub(first.0);
            let system = last.1.saturating_sub(first.1);
            user as f64 / (user + system).max(1) as f64
        });
        let total_s = ns as f64 / 1e9;
        Self {
            total_s,
            user_s: total_s * user_share,
            system_s: total_s * (1.0 - user_share),
            ns_per_message: (messages > 0).then(|| ns as f64 / messages as f64),
        }
    }
}

/// What the server processes used, from the end of the warm-up on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    #[serde(flatten)]
    pub(crate) cpu: Cpu,
    /// The sum of the processes' peak resident memory.
    pub(crate) peak_memory_bytes: u64,
}

/// The usage of a process and its threads so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// CPU time of its current threads, in nanoseconds.
    cpu: u64,
    /// User and system time, in ticks.
    ticks: Ticks,
    /// Peak resident memory, in bytes.
    peak_memory: u64,
}

impl Served {
    /// The total usage of these processes. `None` if there are none, if one does not exist, or if
    /// the system does not report usage.
    pub(crate) fn by(pids: &[u32]) -> Option<Self> {
        pids.iter().map(|pid| Self::by_one(*pid)).reduce(|all, one| {
            let (all, one) = (all?, one?);
            Some(Self {
                cpu: all.cpu + one.cpu,
                ticks: (all.ticks.0 + one.ticks.0, all.ticks.1 + one.ticks.1),
                peak_memory: all.peak_memory + one.peak_memory,
            })
        })?
    }

    fn by_one(pid: u32) -> Option<Self> {
        Some(Self {
            cpu: system::cpu_of_threads(pid)?,
            ticks: system::ticks(pid)?,
            peak_memory: system::peak_memory(pid)?,
        })
    }

    /// The usage since `earlier`, during which `messages` were acknowledged.
    pub(crate) fn since(&self, earlier: &Self, messages: u64) -> Server {
        let cpu = self.cpu.saturating_sub(earlier.cpu);
        Server {
            cpu: Cpu::new(cpu, Some((earlier.ticks, self.ticks)), messages),
            peak_memory_bytes: self.peak_memory,
        }
    }
}

/// Process figures on Linux, from procfs.
#[cfg(target_os = "linux")]
mod system {
    use procfs::process::Process;

    fn process(pid: u32) -> Option<Process> {
        Process::new(pid.try_into().ok()?).ok()
    }

    /// How long this thread was ready to run but had no CPU, in nanoseconds.
    pub(super) fn waited() -> Option<u64> {
        let own = rustix::thread::gettid().as_raw_nonzero().get();
        let thread = Process::myself().ok()?.task_from_tid(own).ok()?;
        Some(thread.schedstat().ok()?.run_delay)
    }

    /// User and system time.
    pub(super) fn ticks(pid: u32) -> Option<(u64, u64)> {
        let stat = process(pid)?.stat().ok()?;
        Some((stat.utime, stat.stime))
    }

    /// CPU time of the current threads, in nanoseconds.
    pub(super) fn cpu_of_threads(pid: u32) -> Option<u64> {
        let threads = process(pid)?.tasks().ok()?.flatten();
        Some(
            threads
                .filter_map(|thread| thread.schedstat().ok())
                .map(|stat| stat.sum_exec_runtime)
                .sum(),
        )
    }

    /// Peak resident memory, in bytes.
    pub(super) fn peak_memory(pid: u32) -> Option<u64> {
        Some(process(pid)?.status().ok()?.vmhwm? * 1024)
    }
}

/// Stubs for other systems.
#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn waited() -> Option<u64> {
        None
    }

    pub(super) fn ticks(_: u32) -> Option<(u64, u64)> {
        None
    }

    pub(super) fn cpu_of_threads(_: u32) -> Option<u64> {
        None
    }

    pub(super) fn peak_memory(_: u32) -> Option<u64> {
        None
    }
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

    #[test]
    fn the_work_of_a_process_shows() {
        let own = std::process::id();
        let before = Served::by(&[own]).unwrap();
        let mut after = before;
        while after.cpu < before.cpu + 20_000_000 {
            after = Served::by(&[own]).unwrap();
        }
        let used = after.since(&before, 1000);
        assert!(used.cpu.total_s >= 0.02 && used.peak_memory_bytes > 0);
        assert!((used.cpu.user_s + used.cpu.system_s - used.cpu.total_s).abs() < 1e-9);
    }

    #[test]
    fn a_process_that_is_not_there_has_used_nothing() {
        assert!(Served::by(&[u32::MAX]).is_none());
    }
}
