//! CPU time of processes, and the disturbance by those that are not part of the benchmark.

use std::time::Instant;

use procfs::process::Process;
use procfs::{CurrentSI as _, KernelStats};

/// Ticks per second in `/proc`, on every Linux.
const TICKS: f64 = 100.0;

/// CPU seconds of these processes so far, to about 10 ms, without their children, which are idle if they
/// exist. None if `/proc` cannot be read.
pub(crate) fn cpu_seconds(pids: &[u32]) -> Option<f64> {
    let seconds = |pid: &u32| {
        let stat = Process::new((*pid).try_into().ok()?).ok()?.stat().ok()?;
        Some((stat.utime + stat.stime) as f64 / TICKS)
    };
    pids.iter().map(seconds).sum()
}

/// Calls `work`, and returns the share of the machine's CPU time that others used meanwhile, its hypervisor
/// included; 0 if `/proc` cannot be read. `work` waits for its children; `servers`, which are processes of
/// the benchmark too, are alive before and after it.
pub(crate) fn disturbance_of<T>(servers: &[u32], work: impl FnOnce() -> T) -> (T, f64) {
    let (begun, before) = (Instant::now(), foreign(servers));
    let done = work();
    let elapsed = begun.elapsed().as_secs_f64();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let used = foreign(servers).zip(before);
    let share = used.map_or(0.0, |(now, before)| (now - before) / elapsed / cpus);
    (done, share.clamp(0.0, 1.0))
}

/// CPU seconds of all processes but this one, its children that have ended, and the servers.
fn foreign(servers: &[u32]) -> Option<f64> {
    let cpu = KernelStats::current().ok()?.total;
    let interrupts = [cpu.irq, cpu.softirq, cpu.steal].into_iter().flatten();
    let busy = cpu.user + cpu.nice + cpu.system + interrupts.sum::<u64>();
    let own = Process::myself().ok()?.stat().ok()?;
    // `cutime` and `cstime` count children that have been waited for.
    let ours = own.utime + own.stime + (own.cutime + own.cstime).unsigned_abs();
    Some(busy.saturating_sub(ours) as f64 / TICKS - cpu_seconds(servers)?)
}

/// The anonymous memory of a process in bytes: no file pages, no kernel memory.
pub(crate) fn own_memory(pid: u32) -> Option<u64> {
    let process = Process::new(pid.try_into().ok()?).ok()?;
    Some(process.status().ok()?.rssanon? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_work_is_not_foreign() {
        let own = || cpu_seconds(&[std::process::id()]).unwrap();
        let before = own();
        let begun = Instant::now();
        let ((), foreign) = disturbance_of(&[1], || while own() < before + 0.3 {});
        let cpus = std::thread::available_parallelism().unwrap().get() as f64;
        let ours = 0.3 / begun.elapsed().as_secs_f64() / cpus;
        // The kernel's figures are coarse, and not read at one moment.
        assert!(foreign <= 1.0 - ours / 2.0, "{foreign} beside {ours}");
    }
}
