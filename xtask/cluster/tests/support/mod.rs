//! Helpers of the tests with nodes.

// Each test binary uses a part of this.
#![allow(dead_code, clippy::print_stderr)]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{CURRENT, Cluster, DEADLINE, Release, Setup};

/// One node of a release; none if it is not available, which skips the test with a message.
pub fn setup(release: Release) -> Option<Setup> {
    match cluster::install(release) {
        Ok(program) => Some(Setup::of(program)),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// A cluster of the default release.
pub fn start(nodes: usize) -> Option<Cluster> {
    let setup = setup(CURRENT)?;
    Some(Setup { nodes, ..setup }.start().expect("nodes start"))
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Polls a condition for which there is no event, until the deadline.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(result) = condition() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
