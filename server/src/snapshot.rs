//! All that can be told of the server at one moment.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::admission::Counts;
use crate::backend::LogSpace;
use crate::distribution::Distribution;
use crate::figures::Figures;

/// What is told.
#[derive(Debug)]
pub struct Snapshot {
    /// What was counted.
    pub figures: Figures,
    /// Error replies by their code.
    pub errors: Vec<(&'static str, u64)>,
    /// Clients that were turned away.
    pub admission: Counts,
    /// Clients that are connected.
    pub connected: usize,
    /// And those that may be.
    pub max_clients: usize,
    /// How long commits took.
    pub commit_seconds: Distribution,
    /// How large batches were.
    pub batch_bytes: Distribution,
    /// When the log was last written, in Unix time.
    pub last_commit: Option<f64>,
    /// The log, and what room it has.
    pub log: LogSpace,
    /// Records that a slow terminal was not shown.
    pub terminal_skipped: u64,
    /// When the server began, in Unix time.
    pub started: f64,
    /// Why messages are not taken, or not kept.
    pub unhealthy: Option<String>,
    /// The process.
    pub process: Process,
}

/// What the system tells of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// In the program, and in the kernel on its behalf.
    pub cpu_seconds: f64,
    /// Of memory, where the system tells.
    pub resident_bytes: Option<u64>,
    /// That are open, those left out that are open for a moment.
    pub open_descriptors: usize,
    /// That may be open.
    pub max_descriptors: usize,
}

impl Process {
    /// As it is now, with so many descriptors: to count them takes milliseconds where there are many.
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

/// What Linux tells (`proc_pid_statm(5)`); others tell nothing so cheaply.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
