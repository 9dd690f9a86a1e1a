//! A snapshot of the server's state, for metrics and health.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::backend::LogSpace;
use crate::figures::Figures;

/// The state of the server at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The totals since the start.
    pub figures: Figures,
    /// Clients that are connected.
    pub connected: usize,
    /// The most clients that may be connected.
    pub max_clients: usize,
    /// When the log was last written, as Unix time.
    pub last_commit: Option<f64>,
    /// The state of the log and its free space.
    pub log: LogSpace,
    /// Records that were not shown because the terminal was slow.
    pub terminal_skipped: u64,
    /// When the server started, as Unix time.
    pub started: f64,
    /// Why the server takes or keeps no messages.
    pub unhealthy: Option<String>,
    /// Resources of the process.
    pub process: Process,
}

/// Resources of the process, as the system reports them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// CPU time in user and kernel mode, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes, where the system reports it.
    pub resident_bytes: Option<u64>,
    /// Open descriptors, without those that are open only briefly.
    pub open_descriptors: usize,
    /// The most descriptors that may be open.
    pub max_descriptors: usize,
}

impl Process {
    /// The current values. The caller passes the number of descriptors, since counting many takes
    /// milliseconds.
    pub fn now(open_descriptors: usize) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::try_from(cpu).unwrap_or_default();
        let most = getrlimit(Resource::Nofile).current;
        Self {
            cpu_seconds: cpu.as_secs_f64(),
            resident_bytes: resident_bytes(),
            open_descriptors,
            max_descriptors: most.map_or(usize::MAX, |most| most as usize),
        }
    }
}

/// Linux reports it in `proc_pid_statm(5)`; other systems have nothing as cheap.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
