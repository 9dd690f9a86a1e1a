//! How much the machine had to do beside what is measured.

use std::fs;
use std::time::Instant;

/// What the machine's CPUs, and our part of it, have done so far; in ticks of 10 ms.
#[derive(Debug)]
pub(crate) struct Watch {
    begun: Instant,
    server: u32,
    foreign: Option<u64>,
}

/// Ticks per second in `/proc`, on every Linux.
const TICKS: f64 = 100.0;

impl Watch {
    /// Looks at the machine; `server` is ours.
    pub(crate) fn begin(server: u32) -> Self {
        Self {
            begun: Instant::now(),
            server,
            foreign: foreign(server),
        }
    }

    /// The share of the machine that others have used since, the host it runs on included; none
    /// if the system does not tell. The client has to be waited for before, the server not.
    pub(crate) fn end(&self) -> Option<f64> {
        let ticks = foreign(self.server)?.saturating_sub(self.foreign?) as f64;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let elapsed = self.begun.elapsed().as_secs_f64();
        Some((ticks / TICKS / elapsed / cpus).min(1.0))
    }
}

/// CPU time of all but us, our children that have ended, and the server.
fn foreign(server: u32) -> Option<u64> {
    let machine = fs::read_to_string("/proc/stat").ok()?;
    // user, nice, system, idle, iowait, irq, softirq, steal
    let fields: Vec<u64> = numbers(machine.lines().next()?.strip_prefix("cpu")?);
    let busy = fields.iter().take(8).sum::<u64>() - fields.get(3)? - fields.get(4)?;
    let ours = process(&format!("/proc/{}/stat", std::process::id()))?;
    let servers = process(&format!("/proc/{server}/stat"))?;
    let ours: u64 = ours.iter().sum();
    // The server's own; its children, if it has any, have nothing to do.
    let servers: u64 = servers[..2].iter().sum();
    Some(busy.saturating_sub(ours + servers))
}

/// utime, stime, and those of children that have been waited for.
fn process(stat: &str) -> Option<[u64; 4]> {
    let text = fs::read_to_string(stat).ok()?;
    // The name, in parentheses, may hold anything.
    let fields = text.get(text.rfind(')')? + 4..)?;
    numbers(fields).get(10..14)?.try_into().ok()
}

fn numbers(text: &str) -> Vec<u64> {
    let number = |word: &str| word.parse().unwrap_or(0);
    text.split_whitespace().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_work_is_not_foreign() {
        let own = format!("/proc/{}/stat", std::process::id());
        let before = process(&own).unwrap();
        let watch = Watch::begin(1);
        while process(&own).unwrap()[..2].iter().sum::<u64>() < before[0] + before[1] + 10 {}
        let others = watch.end().unwrap();
        assert!((0.0..=1.0).contains(&others));
    }
}
