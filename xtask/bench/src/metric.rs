//! The metrics: how the samples of all rounds become a figure. A row each.

use common::units::{latency, rate};

use crate::sample::Sample;

/// A metric; it has no value if the samples lack something.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The name in the JSON.
    pub(crate) key: Name,
    /// The head of its column, and its name in the targets.
    pub(crate) name: Name,
    pub(crate) unit: Unit,
    pub(crate) of: Of,
}

type Name = &'static str;

/// Shows a value.
type Unit = fn(f64) -> String;

/// Computes a value from the samples that count.
type Of = fn(&[&Sample]) -> Option<f64>;

/// All of them, in the order of the columns. Percentiles are medians over the rounds.
pub(crate) const METRICS: &[Metric] = &[
    metric("messages_per_s", THROUGHPUT, rate, throughput),
    metric("spread", "±", percent, spread),
    metric("cpu_ns", CPU, latency, cpu_ns),
    metric("p50_ns", "p50", latency, |of| median(of, |it| it.p50)),
    metric("p99_ns", "p99", latency, |of| median(of, |it| it.p99)),
    metric("p99_9_ns", "p99.9", latency, |of| median(of, |it| it.p99_9)),
    metric("peak_memory_bytes", "memory", bytes, |of| max(of, |it| it.peak_memory)),
    metric("bytes_per_idle_client", "per idle client", bytes, |of| {
        max(of, |it| it.bytes_per_idle_client)
    }),
    metric("nodes_ns", "nodes' CPU", latency, nodes_ns),
];

const THROUGHPUT: &str = "messages/s";
const CPU: &str = "CPU/message";

const fn metric(key: Name, name: Name, unit: Unit, of: Of) -> Metric {
    Metric { key, name, unit, of }
}

impl Metric {
    /// Whether its ratio to the baseline is shown.
    pub(crate) fn is_compared(&self) -> bool {
        [THROUGHPUT, CPU].contains(&self.name)
    }
}

/// All messages divided by all seconds.
fn throughput(samples: &[&Sample]) -> Option<f64> {
    let seconds = samples.iter().map(|it| it.seconds).sum::<f64>();
    (seconds > 0.0).then(|| messages(samples) / seconds)
}

fn messages(samples: &[&Sample]) -> f64 {
    samples.iter().map(|it| it.messages).sum()
}

/// Half of the difference between the fastest round and the slowest, as a share of the mean.
fn spread(samples: &[&Sample]) -> Option<f64> {
    let rates = samples.iter().map(|it| it.messages / it.seconds);
    let (low, high) =
        rates.fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)));
    Some((high - low) / 2.0 / throughput(samples)?)
}

/// The server's CPU time per message.
fn cpu_ns(samples: &[&Sample]) -> Option<f64> {
    let used: Option<f64> = samples.iter().map(|it| it.cpu).sum();
    Some(used? * 1e9 / messages(samples).max(1.0))
}

/// The CPU time of the NATS nodes per line.
fn nodes_ns(samples: &[&Sample]) -> Option<f64> {
    let busy: Option<f64> = samples.iter().map(|it| it.nodes_cpus).sum();
    Some(busy? / samples.len() as f64 * 1e9 / throughput(samples)?)
}

fn median(samples: &[&Sample], part: fn(&Sample) -> f64) -> Option<f64> {
    let mut values: Vec<_> = samples.iter().copied().map(part).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn max(samples: &[&Sample], part: fn(&Sample) -> Option<f64>) -> Option<f64> {
    let values = samples.iter().copied().filter_map(part);
    values.max_by(f64::total_cmp)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn bytes(bytes: f64) -> String {
    match bytes {
        ..1e4 => format!("{bytes:.0} B"),
        ..1e6 => format!("{:.1} KiB", bytes / 1024.0),
        _ => format!("{:.1} MiB", bytes / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(samples: &[Sample], key: &str) -> Option<f64> {
        let metric = METRICS.iter().find(|it| it.key == key).unwrap();
        (metric.of)(&samples.iter().collect::<Vec<_>>())
    }

    #[test]
    fn rounds_are_summed() {
        let rounds = [(100.0, 7.0), (200.0, 9.0), (300.0, 8.0)];
        let samples = rounds.map(|(messages, p50)| Sample::of_test(messages, p50));
        for (key, expected) in [
            ("messages_per_s", 400.0),
            ("spread", 0.5),
            ("cpu_ns", 1.2e9 / 600.0),
            ("p50_ns", 8.0),
            ("p99_ns", 16.0),
            ("peak_memory_bytes", 300.0),
            ("nodes_ns", 1.5e9 / 400.0),
        ] {
            let value = value(&samples, key).unwrap();
            assert!((value - expected).abs() < 1e-6 * expected, "{key}: {value}");
        }
        assert_eq!(value(&samples, "bytes_per_idle_client"), None);
    }

    #[test]
    fn cpu_time_that_others_caused_is_not_shown() {
        let mut shared = Sample::of_test(100.0, 7.0);
        shared.cpu = None;
        assert_eq!(value(&[shared], "cpu_ns"), None);
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!([71.7, 3.5e5, 4e6].map(bytes), ["72 B", "341.8 KiB", "3.8 MiB"]);
    }
}
