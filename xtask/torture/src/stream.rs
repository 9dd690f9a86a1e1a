//! `cargo xtask torture -stream`: the log is a stream of real nodes, and everything from them to the
//! server is killed, stopped, filled up and deleted at random moments, under load.
//!
//! - `act`: a setting, played again and again, and what came of it
//! - `fixture`: what stands in it, and the account at the end
//! - `faults`: what is done to it
//! - `clients`, `servers`: those who send lines, and those who keep them
//! - `evidence`: what is kept when a promise is broken

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

/// In the short form, no outage is longer, as far as it is up to us.
const SHORT: Duration = Duration::from_secs(1);

/// What there is, and what is done to it.
struct Setting {
    name: &'static str,
    nodes: usize,
    /// How many servers are before them, where there may be more than one.
    servers: usize,
    /// How many bytes each node can store, if its disk is small.
    disk: Option<u64>,
    /// How often each fault comes before the account.
    rounds: u32,
    /// It is part of the short form.
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

/// What there is to play with.
struct Tools {
    /// What the nodes run.
    program: PathBuf,
    /// Something that stands before more than one server.
    balancer: bool,
    /// What mounts small disks.
    mount: bool,
    /// Each fault comes once, and no outage is long.
    short: bool,
    begun: Instant,
    /// Nothing new is begun from then on.
    deadline: Instant,
}

impl Tools {
    fn has_time(&self) -> bool {
        Instant::now() < self.deadline
    }
}

/// Plays all settings again and again, as long as there is time and nothing is wrong.
pub(crate) fn torture(options: &Options, random: &mut Rng, deadline: Instant) -> ExitCode {
    let program = match cluster::install(cluster::CURRENT) {
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
