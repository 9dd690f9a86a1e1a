//! The report of a run.

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::load::LOADS;
use crate::options::Options;
use crate::results::{Figures, Results};
use crate::targets::{self, Target};

/// All of it is in the JSON; docs/performance.md describes that.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    format: &'static str,
    version: u32,
    /// UTC, to the minute.
    pub(crate) date: String,
    pub(crate) machine: Value,
    /// The run was too short to judge targets by.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
    pub(crate) measurements: usize,
    /// The number of disturbed measurements.
    pub(crate) disturbed: usize,
    pub(crate) servers: Vec<Measured>,
    /// The systems that were not measured, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) settings: Vec<AtLoad>,
    pub(crate) targets: Vec<Target>,
}

/// A system that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) promise: &'static str,
}

/// The figures of all systems at one load.
#[derive(Debug, Serialize)]
pub(crate) struct AtLoad {
    pub(crate) setting: &'static str,
    pub(crate) title: &'static str,
    pub(crate) servers: Vec<Figures>,
}

impl Report {
    /// A report without results.
    pub(crate) fn begin(options: &Options) -> Self {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
        Self {
            format: "bench",
            version: 2,
            // Formatting fails for no value of now.
            date: OffsetDateTime::now_utc().format(format).unwrap_or_default(),
            quick: options.quick,
            rounds: options.rounds,
            seconds: options.time.as_secs_f64(),
            seed: options.seed,
            ..Self::default()
        }
    }

    pub(crate) fn complete(&mut self, results: &Results) {
        let samples = results.samples();
        let mut machines = samples.clone().map(|it| &it.machine);
        let machine = machines.find(|it| !it.is_null());
        self.machine = machine.cloned().unwrap_or_default();
        self.measurements = samples.clone().count();
        self.disturbed = samples.filter(|it| it.is_disturbed()).count();
        for (index, load) in LOADS.iter().enumerate() {
            let (setting, title, servers) = (load.name, load.title, results.at(index));
            if !servers.is_empty() {
                self.settings.push(AtLoad { setting, title, servers });
            }
        }
        self.targets = targets::judge(results, self.quick);
    }
}
