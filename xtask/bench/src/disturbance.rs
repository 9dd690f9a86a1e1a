//! How much the machine had to do beside what is measured.

use std::time::Instant;

use procfs::process::Process;
use procfs::{CurrentSI as _, KernelStats};

/// What the machine's CPUs, and our part of it, have done so far; in ticks of 10 ms.
#[derive(Debug)]
pub(crate) struct Watch {
    begun: Instant,
    servers: Vec<u32>,
    foreign: Option<u64>,
}

/// Ticks per second in `/proc`, on every Linux.
pub(crate) const TICKS: f64 = 100.0;

impl Watch {
    /// Looks at the machine; these processes are ours.
    pub(crate) fn begin(servers: Vec<u32>) -> Self {
        Self {
            begun: Instant::now(),
            foreign: foreign(&servers),
            servers,
        }
    }

    /// The share of the machine that others have used since, the host it runs on included; none
    /// if the system does not tell. The client has to be waited for before, the server not.
    pub(crate) fn end(&self) -> Option<f64> {
        let ticks = foreign(&self.servers)?.saturating_sub(self.foreign?) as f64;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let elapsed = self.begun.elapsed().as_secs_f64();
        Some((ticks / TICKS / elapsed / cpus).min(1.0))
    }
}

/// CPU time of all but us, our children that have ended, and the servers.
fn foreign(servers: &[u32]) -> Option<u64> {
    let cpu = KernelStats::current().ok()?.total;
    let interrupts = [cpu.irq, cpu.softirq, cpu.steal].into_iter().flatten();
    let busy = cpu.user + cpu.nice + cpu.system + interrupts.sum::<u64>();
    let own = Process::myself().ok()?.stat().ok()?;
    // Of children that have been waited for as well.
    let ours = own.utime + own.stime + (own.cutime + own.cstime).unsigned_abs();
    Some(busy.saturating_sub(ours + ticks_of(servers)?))
}

/// CPU time of processes, their own: their children, if they have any, have nothing to do.
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
