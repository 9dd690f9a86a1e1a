//! `cargo xtask torture -stream`: fault injection for a log that is a stream of real nodes. Nodes, servers
//! and the stream are killed, stopped, filled up and deleted at random moments, under load.
//!
//! - `act`: a setting, run repeatedly, and its results
//! - `fixture`: the processes of a setting, and the final check
//! - `faults`: the faults
//! - `clients`, `servers`: the clients and the log servers
//! - `evidence`: the files that are kept when a promise is broken

mod act;
mod clients;
mod evidence;
mod faults;
mod fixture;
mod servers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::running::{MOUNT, can};
use crate::{Conclusion, Options, say};
use act::Act;
use faults::{Fault, ON_ONE_NODE, ON_SMALL_DISKS, ON_THREE_NODES};

/// The stream's name.
const STREAM: &str = "LOG";

/// The longest outage with `-short`.
const SHORT: Duration = Duration::from_secs(1);

/// A cluster, its servers and the faults that are injected into it.
struct Setting {
    name: &'static str,
    nodes: usize,
    /// The number of servers, if `HAProxy` is installed; one otherwise.
    servers: usize,
    /// The disk size of each node in bytes, if its disk is small.
    disk: Option<u64>,
    /// The number of times each fault is injected before the check.
    rounds: u32,
    /// Part of `-short`.
    short: bool,
    faults: &'static [Fault],
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: "one node",
        nodes: 1,
        servers: 1,
        disk: None,
        rounds: 2,
        short: true,
        faults: ON_ONE_NODE,
    },
    Setting {
        name: "three nodes",
        nodes: 3,
        servers: 2,
        disk: None,
        rounds: 2,
        short: true,
        faults: ON_THREE_NODES,
    },
    Setting {
        name: "three nodes with small disks",
        nodes: 3,
        servers: 1,
        disk: Some(256 << 20),
        rounds: 2,
        short: false,
        faults: ON_SMALL_DISKS,
    },
];

/// The available tools, and the limits of the run.
struct Tools {
    /// The executable of the nodes.
    program: PathBuf,
    /// Whether `HAProxy` is installed, for more than one server.
    balancer: bool,
    /// Whether a small tmpfs can be mounted.
    mount: bool,
    /// Each fault is injected once, with a short outage.
    short: bool,
    begun: Instant,
    /// No fault is injected after this.
    deadline: Instant,
}

impl Tools {
    fn has_time(&self) -> bool {
        Instant::now() < self.deadline
    }
}

/// Runs all settings repeatedly, until the time is up or a promise is broken.
pub(crate) fn torture(options: &Options, random: &mut Rng, deadline: Instant) -> ExitCode {
    let program = match test_support::nodes::install(test_support::nodes::CURRENT) {
        Ok(program) => program,
        Err(why) => {
            say(&format!("skipped: {why}\n"));
            return ExitCode::SUCCESS;
        }
    };
    let tools = Tools {
        program,
        balancer: can("command -v haproxy"),
        mount: can(MOUNT),
        short: options.short,
        begun: Instant::now(),
        deadline,
    };
    let settings = SETTINGS.iter().filter(|it| it.short || !tools.short);
    let acts = settings.map(|setting| Act::of(setting, &options.only));
    let mut acts: Vec<_> = acts.filter(Act::is_wanted).collect();
    acts.retain(|act| act.is_possible(&tools));
    loop {
        for act in &mut acts {
            act.play(&tools, random);
        }
        let goes_on = tools.has_time() && !tools.short && !acts.is_empty();
        if !goes_on || acts.iter().any(Act::is_broken) {
            return report(&acts);
        }
    }
}

fn report(acts: &[Act]) -> ExitCode {
    for act in acts {
        act.report();
    }
    let broken = acts.iter().filter(|act| act.is_broken());
    Conclusion {
        broken: broken.map(Act::name).collect(),
        left: acts.iter().flat_map(Act::left).collect(),
        acknowledged: acts.iter().map(|act| act.sums().acknowledged).sum(),
        lost: acts.iter().map(|act| act.sums().lost).sum(),
    }
    .say()
}
