//! Metadata of a run, and the results as JSON.

use std::fmt;

use serde::Serialize;

use crate::fairness::Waited;
use crate::measure::Machine;
use crate::results::{Cell, Results};
use crate::secure::Secure;
use crate::targets::TargetResult;

/// Metadata: date, machine, rounds, servers.
#[derive(Debug, Serialize)]
pub(crate) struct About {
    /// UTC.
    pub(crate) date: String,
    pub(crate) machine: Option<Machine>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
    pub(crate) measurements: usize,
    /// The number of disturbed measurements.
    pub(crate) disturbed: usize,
    pub(crate) servers: Vec<Server>,
    /// The systems that were not measured, and why.
    pub(crate) left_out: Vec<String>,
}

/// A server that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) promise: &'static str,
}

/// Several lines, each with its newline.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            rounds,
            seconds,
            seed,
            ..
        } = self;
        let rounds = match rounds {
            1 => "1 round".to_owned(),
            n => format!("{n} rounds in shuffled order (-seed {seed})"),
        };
        writeln!(
            f,
            "{date}, {rounds}, {seconds} s each, client and server on one machine"
        )?;
        if let Some(machine) = &self.machine {
            let memory = machine.memory_bytes as f64 / f64::from(1 << 30);
            let Machine {
                system, cpu, cpus, ..
            } = machine;
            writeln!(f, "{cpu}, {cpus} CPUs, {memory:.0} GiB, {system}")?;
        }
        if self.disturbed > 0 {
            writeln!(
                f,
                "other processes disturbed {} of {} measurements",
                self.disturbed, self.measurements
            )?;
        }
        for why in &self.left_out {
            writeln!(f, "left out: {why}")?;
        }
        Ok(())
    }
}

/// All results as one JSON object; docs/performance.md describes it.
pub(crate) fn json(
    about: &About,
    results: &Results,
    results_of_targets: &[TargetResult],
) -> String {
    #[derive(Serialize)]
    struct Page<'a> {
        format: &'static str,
        version: u32,
        #[serde(flatten)]
        about: &'a About,
        settings: Vec<Measured>,
        turns: &'a [(f64, f64)],
        secure: &'a [Secure],
        fairness: &'a [Waited],
        targets: &'a [TargetResult],
    }
    #[derive(Serialize)]
    struct Measured {
        setting: String,
        servers: Vec<Cell>,
    }
    let settings = results.settings().into_iter().map(|setting| Measured {
        setting: setting.to_string(),
        servers: results.at(setting),
    });
    let page = Page {
        format: "bench",
        version: 1,
        about,
        settings: settings.collect(),
        turns: &results.turns,
        secure: &results.secure,
        fairness: &results.fairness,
        targets: results_of_targets,
    };
    // Every value can be written as JSON: this never fails.
    serde_json::to_string_pretty(&page).unwrap_or_default() + "\n"
}
