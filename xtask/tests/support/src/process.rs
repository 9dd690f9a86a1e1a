//! Figures of a process, from `/proc`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use procfs::net::TcpState;
use procfs::process::{FDTarget, ProcState, Process, Stat};
use rustix::process::Pid;

/// A process that runs, or is a zombie.
pub struct Figures(Process);

impl Figures {
    pub fn of(pid: Pid) -> Self {
        Self(Process::new(pid.as_raw_nonzero().get()).unwrap())
    }

    /// The CPU time it has used.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.0.stat().unwrap();
        // The kernel reports ticks of 1/100 s, whatever its own timer frequency.
        Duration::from_millis(10 * (stat.utime + stat.stime))
    }

    /// Its peak memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        1024 * self.0.status().unwrap().vmhwm.expect("a size")
    }

    /// Its open descriptors.
    pub fn descriptors(&self) -> BTreeSet<u64> {
        let open = self.0.fd().unwrap();
        open.map(|descriptor| descriptor.unwrap().fd.unsigned_abs().into()).collect()
    }

    /// The remote addresses of its established IPv4 connections.
    pub fn remote_addresses(&self) -> Vec<SocketAddr> {
        let open = self.0.fd().unwrap().flatten();
        let sockets: Vec<_> = open
            .filter_map(|descriptor| match descriptor.target {
                FDTarget::Socket(inode) => Some(inode),
                _ => None,
            })
            .collect();
        let connections = self.0.tcp().unwrap().into_iter();
        connections
            .filter(|it| it.state == TcpState::Established && sockets.contains(&it.inode))
            .map(|it| it.remote_address)
            .collect()
    }

    /// Whether SIGSTOP has taken effect: every thread is stopped.
    pub fn is_stopped(&self) -> bool {
        let is_stopped = |stat: Stat| matches!(stat.state(), Ok(ProcState::Stopped));
        let mut threads = self.0.tasks().unwrap().flatten();
        threads.all(|thread| thread.stat().is_ok_and(is_stopped))
    }
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = Process::new(pid.cast_signed()).and_then(|process| process.stat());
    stat.is_ok_and(|stat| !matches!(stat.state(), Ok(ProcState::Zombie)))
}
