//! Targets for the server. `tables/targets.json` has a row for each.

use serde::{Deserialize, Serialize};

use crate::metric::{METRICS, Metric};
use crate::results::Results;

/// A bound on a figure, or on its ratio to another one; and what was reached.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// The name of a metric.
    metric: &'static str,
    system: &'static str,
    /// The name of a load. Without a length: messages of 21 bytes.
    pub(crate) at: &'static str,
    /// The figure is divided by that of another system, at another load, or of another metric. What is
    /// missing is the same.
    by: Option<&'static str>,
    by_load: Option<&'static str>,
    by_metric: Option<&'static str>,
    at_most: Option<f64>,
    at_least: Option<f64>,
    /// None: not measured.
    #[serde(skip_deserializing)]
    pub(crate) reached: Option<f64>,
    /// None: not measured, or by a run that was too short to judge.
    #[serde(skip_deserializing)]
    pub(crate) met: Option<bool>,
}

/// Every target with the figure that was reached.
pub(crate) fn judge(results: &Results, is_quick: bool) -> Vec<Target> {
    let mut targets = table();
    for target in &mut targets {
        target.reached = target.figure(results);
        target.met = target.reached.filter(|_| !is_quick).map(|reached| {
            target.at_most.is_none_or(|limit| reached <= limit)
                && target.at_least.is_none_or(|limit| reached >= limit)
        });
    }
    targets
}

fn table() -> Vec<Target> {
    serde_json::from_str(include_str!("../tables/targets.json")).expect("a table of targets")
}

impl Target {
    fn figure(&self, results: &Results) -> Option<f64> {
        let of = |metric, system, load| results.figures(system, load)?.get(named(metric)?);
        let figure = of(self.metric, self.system, self.at)?;
        if !self.is_ratio() {
            return Some(figure);
        }
        let (metric, system, load) = self.divisor();
        Some(figure / of(metric, system, load)?)
    }

    fn is_ratio(&self) -> bool {
        self.by.is_some() || self.by_load.is_some()
    }

    fn divisor(&self) -> (&'static str, &'static str, &'static str) {
        let metric = self.by_metric.unwrap_or(self.metric);
        let system = self.by.unwrap_or(self.system);
        (metric, system, self.by_load.unwrap_or(self.at))
    }

    /// What is bounded: `CPU/message: server / baseline`.
    pub(crate) fn what(&self) -> String {
        let divisor = [self.by, self.by_metric, self.by_load];
        let divisor: Vec<_> = divisor.into_iter().flatten().collect();
        let sign = if self.is_ratio() { " / " } else { "" };
        let (metric, system) = (self.metric, self.system);
        format!("{metric}: {system}{sign}{}", divisor.join(" "))
    }

    /// `≤ 1.05`.
    pub(crate) fn limit(&self) -> String {
        let at_most = self.at_most.map(|it| format!("≤ {}", self.shown(it)));
        let at_least = self.at_least.map(|it| format!("≥ {}", self.shown(it)));
        at_most.or(at_least).unwrap_or_default()
    }

    /// A figure of the target with its unit.
    pub(crate) fn shown(&self, figure: f64) -> String {
        match named(self.metric) {
            Some(metric) if !self.is_ratio() => (metric.unit)(figure),
            _ => format!("{figure:.2}"),
        }
    }
}

fn named(metric: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|it| it.name == metric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::LOADS;
    use crate::sample::Sample;
    use crate::system::{self, SYSTEMS};

    #[test]
    fn targets_name_systems_and_loads_that_exist() {
        for target in table() {
            let (metric, system, load) = target.divisor();
            assert!(named(target.metric).is_some() && named(metric).is_some());
            for system in [target.system, system] {
                assert!(system::named(system).is_some(), "{system}");
            }
            for load in [target.at, load] {
                let found = LOADS.iter().find(|it| it.is_called(load));
                assert!(matches!(found.unwrap().bytes, 0 | 21), "{load}");
            }
            assert_ne!(target.at_most.is_some(), target.at_least.is_some());
        }
    }

    #[test]
    fn what_is_bounded_is_named() {
        let targets: Vec<_> = table().iter().map(Target::what).collect();
        for what in [
            "CPU/message: server / baseline",
            "CPU/message: server / 50x1",
            "per idle client: server",
            "p99: server-stream-r3 / nats-batches-r3 p50",
        ] {
            assert!(targets.iter().any(|it| it == what), "{what}");
        }
    }

    #[test]
    fn ratios_are_judged_by_their_limits() {
        let mut results = Results::default();
        let at = |load: &str| LOADS.iter().position(|it| it.is_called(load)).unwrap();
        let of = |name: &str| SYSTEMS.iter().position(|it| it.name == name).unwrap();
        // 50x1: 0.95 of the throughput of the baseline; 10000x1: the same as 50x1.
        results.add(at("50x1"), of("baseline"), Sample::of_test(2000.0, 10.0));
        results.add(at("50x1"), of("server"), Sample::of_test(1900.0, 10.0));
        results.add(at("10000x1"), of("server"), Sample::of_test(1900.0, 10.0));
        let judged = |what: &str, is_quick| {
            let targets = judge(&results, is_quick);
            let target = targets.into_iter().find(|it| it.what() == what).unwrap();
            (target.reached, target.met)
        };
        assert_eq!(judged("messages/s: server / baseline", false), (Some(0.95), Some(true)));
        assert_eq!(judged("messages/s: server / baseline", true), (Some(0.95), None));
        assert_eq!(judged("CPU/message: server / 50x1", false), (Some(1.0), Some(true)));
        let (cpu, met) = judged("CPU/message: server / baseline", false);
        assert!((cpu.unwrap() - 2000.0 / 1900.0).abs() < 1e-9 && met == Some(false));
        assert_eq!(judged("messages/s: server / python", false), (None, None));
    }
}
