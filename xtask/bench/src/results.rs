//! The results of all rounds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::LOADS;
use crate::metric::{METRICS, Metric};
use crate::sample::Sample;
use crate::system::SYSTEMS;

/// All samples, by the indexes of load and system in [`LOADS`] and [`SYSTEMS`].
#[derive(Debug, Default)]
pub(crate) struct Results {
    samples: BTreeMap<(usize, usize), Vec<Sample>>,
}

/// One system at one load, all rounds together.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) server: &'static str,
    /// The number of rounds that count: the undisturbed ones, or all if every round was disturbed.
    rounds: usize,
    disturbed_rounds: usize,
    /// By the keys of the metrics.
    #[serde(flatten)]
    values: BTreeMap<&'static str, f64>,
}

impl Results {
    pub(crate) fn add(&mut self, load: usize, system: usize, sample: Sample) {
        self.samples.entry((load, system)).or_default().push(sample);
    }

    /// The figures of all systems at a load.
    pub(crate) fn at(&self, load: usize) -> Vec<Figures> {
        let of_load = self.samples.range((load, 0)..=(load, usize::MAX));
        let figures = |(&(_, system), samples): (&(_, usize), &Vec<Sample>)| {
            Figures::of(SYSTEMS[system].name, samples)
        };
        of_load.map(figures).collect()
    }

    /// The figures of a system at the first load that `load` means.
    pub(crate) fn figures(&self, system: &str, load: &str) -> Option<Figures> {
        let load = LOADS.iter().position(|it| it.is_called(load))?;
        let mut all = self.at(load).into_iter();
        all.find(|figures| figures.server == system)
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> + Clone {
        self.samples.values().flatten()
    }
}

impl Figures {
    fn of(server: &'static str, all: &[Sample]) -> Self {
        // Disturbance is measured on the machine: samples are not selected by their results.
        let calm: Vec<_> = all.iter().filter(|sample| !sample.is_disturbed()).collect();
        let disturbed_rounds = all.len() - calm.len();
        let counted = if calm.is_empty() { all.iter().collect() } else { calm };
        let value = |metric: &Metric| Some((metric.key, (metric.of)(&counted)?));
        Self {
            server,
            rounds: counted.len(),
            disturbed_rounds,
            values: METRICS.iter().filter_map(value).collect(),
        }
    }

    pub(crate) fn get(&self, metric: &Metric) -> Option<f64> {
        self.values.get(metric.key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(messages: f64, disturbance: f64) -> Sample {
        Sample { disturbance, ..Sample::of_test(messages, 7.0) }
    }

    #[test]
    fn disturbed_rounds_count_only_if_there_are_no_others() {
        let counts = |samples: &[Sample]| {
            let figures = Figures::of("x", samples);
            let rate = figures.values["messages_per_s"];
            (figures.rounds, figures.disturbed_rounds, rate)
        };
        let disturbed = sample(100.0, 0.5);
        let both = [disturbed.clone(), sample(200.0, 0.0)];
        assert_eq!(counts(&both), (1, 1, 400.0));
        assert_eq!(counts(&[disturbed]), (1, 1, 200.0));
    }

    #[test]
    fn figures_are_found_by_name() {
        let mut results = Results::default();
        results.add(1, 0, sample(100.0, 0.0));
        results.add(1, 2, sample(200.0, 0.0));
        let found = results.figures(SYSTEMS[2].name, LOADS[1].name).unwrap();
        assert_eq!(found.get(&METRICS[0]), Some(400.0));
        assert_eq!(results.at(1).len(), 2);
        assert!(results.figures(SYSTEMS[2].name, LOADS[0].name).is_none());
        assert!(results.figures(SYSTEMS[1].name, LOADS[1].name).is_none());
    }
}
