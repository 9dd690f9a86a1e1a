//! What the server used while it was measured: `-pid`.

use std::fs;

use crate::drive::clock::ticks;
use crate::report::Server;

/// What a process and its threads have used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// CPU time of the threads it has now, in nanoseconds.
    cpu: u64,
    /// In the program, and in the kernel on its behalf; in ticks.
    ticks: (u64, u64),
    /// The most memory it ever had resident, in bytes.
    peak_memory: u64,
}

impl Served {
    /// Looks at process `pid`; none if there is no such process, or the system does not tell.
    pub(crate) fn by(pid: u32) -> Option<Self> {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let cpu = threads.flatten().filter_map(|thread| {
            // The first field of schedstat: time spent on a CPU.
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        Some(Self {
            cpu: cpu.sum(),
            ticks: ticks(&format!("/proc/{pid}/stat"))?,
            peak_memory: peak?.parse::<u64>().ok()? * 1024,
        })
    }

    /// What was used since `earlier`, for so many messages.
    pub(crate) fn since(&self, earlier: &Self, messages: u64) -> Server {
        let cpu = self.cpu.saturating_sub(earlier.cpu) as f64;
        let user = self.ticks.0.saturating_sub(earlier.ticks.0);
        let system = self.ticks.1.saturating_sub(earlier.ticks.1);
        let user_share = user as f64 / (user + system).max(1) as f64;
        Server {
            cpu_s: cpu / 1e9,
            user_s: cpu / 1e9 * user_share,
            system_s: cpu / 1e9 * (1.0 - user_share),
            cpu_ns_per_message: (messages > 0).then(|| cpu / messages as f64),
            peak_memory_bytes: self.peak_memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_a_process_shows() {
        let own = std::process::id();
        let before = Served::by(own).unwrap();
        let mut after = before;
        while after.cpu < before.cpu + 20_000_000 {
            after = Served::by(own).unwrap();
        }
        let used = after.since(&before, 1000);
        assert!(used.cpu_s >= 0.02 && used.peak_memory_bytes > 0);
        assert!((used.user_s + used.system_s - used.cpu_s).abs() < 1e-9);
    }

    #[test]
    fn a_process_that_is_not_there_has_used_nothing() {
        assert!(Served::by(u32::MAX).is_none());
    }
}
