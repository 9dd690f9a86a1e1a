//! Disturbance: the load of the machine by other processes.

use std::time::Instant;

use procfs::process::Process;
use procfs::{CurrentSI as _, KernelStats};

/// The start of an observation; CPU time is in ticks of 10 ms.
#[derive(Debug)]
pub(crate) struct Watch {
    begun: Instant,
    servers: Vec<u32>,
    foreign: Option<u64>,
}

/// Ticks per second in `/proc`, on every Linux.
pub(crate) const TICKS: f64 = 100.0;

impl Watch {
    /// Starts to observe; `servers` are processes of the benchmark, not foreign ones.
    pub(crate) fn begin(servers: Vec<u32>) -> Self {
        Self {
            begun: Instant::now(),
            foreign: foreign(&servers),
            servers,
        }
    }

    /// The share of the machine's CPU time that others have used since, its hypervisor included; none if
    /// `/proc` cannot be read. Wait for the client before this call, and for the servers after it.
    pub(crate) fn end(&self) -> Option<f64> {
        let ticks = foreign(&self.servers)?.saturating_sub(self.foreign?) as f64;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let elapsed = self.begun.elapsed().as_secs_f64();
        Some((ticks / TICKS / elapsed / cpus).min(1.0))
    }
}

/// CPU time of all processes but this one, its children that have ended, and the servers.
fn foreign(servers: &[u32]) -> Option<u64> {
    let cpu = KernelStats::current().ok()?.total;
    let interrupts = [cpu.irq, cpu.softirq, cpu.steal].into_iter().flatten();
    let busy = cpu.user + cpu.nice + cpu.system + interrupts.sum::<u64>();
    let own = Process::myself().ok()?.stat().ok()?;
    // `cutime` and `cstime` count children that have been waited for.
    let ours = own.utime + own.stime + (own.cutime + own.cstime).unsigned_abs();
    Some(busy.saturating_sub(ours + ticks_of(servers)?))
}

/// CPU time of the processes, without their children, which are idle if they exist.
pub(crate) fn ticks_of(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| {
        let stat = Process::new((*pid).try_into().ok()?).ok()?.stat().ok()?;
        Some(stat.utime + stat.stime)
    };
    pids.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_work_is_not_foreign() {
        let own = || {
            let stat = Process::myself().unwrap().stat().unwrap();
            stat.utime + stat.stime
        };
        let before = own();
        let watch = Watch::begin(vec![1]);
        while own() < before + 10 {}
        let others = watch.end().unwrap();
        assert!((0.0..=1.0).contains(&others));
    }
}
