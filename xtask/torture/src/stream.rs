//! `cargo xtask torture -stream`: fault injection for a log that is a stream of real nodes. Nodes, servers
//! and the stream are killed, stopped, filled up and deleted at random moments, under load.
//!
//! From the bottom up:
//!
//! - `evidence`: the files that are kept when a promise is broken
//! - `fixture`: nodes, servers and clients, and the final check
//! - `faults`: the faults
//! - `settings`: the clusters, and the faults of each
//! - `runs`: runs of a setting, and its results

mod evidence;
mod faults;
mod fixture;
mod runs;
mod settings;

use std::time::Instant;

use fastrand::Rng;
use test_support::nodes::{CURRENT, install};

use crate::options::Options;
use crate::report::{FaultReport, say};
use runs::Runs;
use settings::SETTINGS;

/// Runs all settings repeatedly, until the time is up or a promise is broken.
pub(crate) fn torture(options: &Options, random: &mut Rng, deadline: Instant) -> Vec<FaultReport> {
    if let Err(why) = install(CURRENT) {
        say(&format!("skipped: {why}\n"));
        return Vec::new();
    }
    let runs_of = |setting| Runs::of(setting, options, deadline);
    let mut runs: Vec<_> = SETTINGS.iter().filter_map(runs_of).collect();
    let mut goes_on = !runs.is_empty();
    while goes_on {
        for runs in &mut runs {
            runs.run(random);
        }
        let is_broken = runs.iter().any(|runs| runs.total.is_broken());
        goes_on = Instant::now() < deadline && !options.short && !is_broken;
    }
    runs.into_iter().flat_map(Runs::reports).collect()
}
