//! CPU affinity of the client and the server.
//!
//! Left to itself, the scheduler runs both on one CPU for a while, and then on one each. With one
//! unanswered message, that is a factor of two or three between one round and the next.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The process to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Runs on the last CPU.
    Client,
    /// Runs on all others.
    Server,
    /// Runs on any CPU: there are more nodes of a stream than CPUs.
    Anywhere,
}

/// Calls `start` on the CPUs of `side`; a process that it starts inherits them. Has no effect with a
/// single CPU.
pub(crate) fn on<T>(side: Side, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if side == Side::Anywhere {
        return start();
    }
    let all = sched_getaffinity(None)?;
    let Some(chosen) = cpus(&all, side) else {
        return start();
    };
    sched_setaffinity(None, &chosen)?;
    let started = start();
    sched_setaffinity(None, &all)?;
    started
}

fn cpus(all: &CpuSet, side: Side) -> Option<CpuSet> {
    let last = (0..CpuSet::MAX_CPU).rfind(|cpu| all.is_set(*cpu))?;
    let (mut client, mut server) = (CpuSet::new(), *all);
    client.set(last);
    server.unset(last);
    let chosen = if side == Side::Client { client } else { server };
    (all.count() > 1).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_has_the_last_cpu_and_the_server_the_others() {
        let mut all = CpuSet::new();
        for cpu in [1, 3, 6] {
            all.set(cpu);
        }
        let chosen = |side| {
            let set = cpus(&all, side).unwrap();
            (0..8).filter(|cpu| set.is_set(*cpu)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(Side::Client), [6]);
        assert_eq!(chosen(Side::Server), [1, 3]);
        let mut one = CpuSet::new();
        one.set(2);
        assert!(cpus(&one, Side::Client).is_none());
    }
}
