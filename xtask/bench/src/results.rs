//! Results of all rounds: sums and spread.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::fairness::Waited;
use crate::measure::{DISTURBED, Sample};
use crate::nodes::Seen;
use crate::secure::Secure;
use crate::setting::Setting;
use crate::system::{BASELINE, SYSTEMS};

/// All samples, by setting and by the system's index in [`SYSTEMS`].
#[derive(Debug, Default)]
pub(crate) struct Results {
    samples: BTreeMap<(Setting, usize), Vec<Sample>>,
    /// Messages per second of the turn-taking client with one thread and with five, by round.
    pub(crate) turns: Vec<(f64, f64)>,
    /// The cost of TLS, by round.
    pub(crate) secure: Vec<Secure>,
    /// The latency of a light client under load from flooders, by round.
    pub(crate) fairness: Vec<Waited>,
}

/// The cost of TLS, all rounds together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecureCell {
    pub(crate) handshakes_per_s: f64,
    pub(crate) bytes_per_idle_client: Option<f64>,
    pub(crate) p99_ns: f64,
}

/// One server at one setting, all rounds together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) server: &'static str,
    /// The number of rounds that count: the undisturbed ones, or all if every round was disturbed.
    pub(crate) rounds: usize,
    pub(crate) disturbed_rounds: usize,
    pub(crate) messages: u64,
    /// All messages divided by all seconds.
    pub(crate) messages_per_s: f64,
    /// Half of the difference between the fastest round and the slowest, as a share of the mean.
    pub(crate) spread: f64,
    /// The server's CPU time per message, in nanoseconds.
    pub(crate) user_ns: f64,
    pub(crate) system_ns: f64,
    /// Latency in nanoseconds: the median over the rounds.
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p99_9_ns: u64,
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) bytes_per_idle_client: Option<f64>,
    /// Of a stream: the mean length of its messages, and the CPU time of its nodes per line in nanoseconds.
    pub(crate) stream_message_bytes: Option<f64>,
    pub(crate) nodes_ns: Option<f64>,
}

impl Results {
    pub(crate) fn add(&mut self, setting: Setting, system: usize, sample: Sample) {
        let samples = self.samples.entry((setting, system)).or_default();
        samples.push(sample);
    }

    /// The settings with results, in order.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let all = Setting::all().into_iter();
        all.filter(|setting| !self.at(*setting).is_empty())
            .collect()
    }

    /// The servers with results at `setting`.
    pub(crate) fn at(&self, setting: Setting) -> Vec<Cell> {
        let range = (setting, 0)..=(setting, usize::MAX);
        let cells = self.samples.range(range);
        cells
            .map(|((_, system), samples)| Cell::of(SYSTEMS[*system].name, samples))
            .collect()
    }

    /// One server at one setting.
    pub(crate) fn cell(&self, setting: Setting, server: &str) -> Option<Cell> {
        let system = SYSTEMS.iter().position(|system| system.name == server)?;
        let samples = self.samples.get(&(setting, system))?;
        Some(Cell::of(SYSTEMS[system].name, samples))
    }

    pub(crate) fn baseline(&self, setting: Setting) -> Option<Cell> {
        self.cell(setting, BASELINE)
    }

    /// The turn-taking client: throughput of five threads divided by that of one, for as many messages.
    pub(crate) fn turns_ratio(&self) -> Option<f64> {
        // Every round sends as many messages, so the sums of the times are compared.
        let time =
            |rate: fn(&(f64, f64)) -> f64| self.turns.iter().map(|t| 1.0 / rate(t)).sum::<f64>();
        let (one, five) = (time(|turns| turns.0), time(|turns| turns.1));
        (five > 0.0).then(|| one / five)
    }

    /// Medians over the rounds without, or with, client certificates.
    pub(crate) fn secure(&self, with_certificate: bool) -> Option<SecureCell> {
        let all = self.secure.iter();
        let all: Vec<_> = all
            .filter(|it| it.with_certificate == with_certificate)
            .collect();
        let median = |part: fn(&Secure) -> f64| {
            let mut values: Vec<_> = all.iter().map(|it| part(it)).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(SecureCell {
            handshakes_per_s: median(|it| it.handshakes_per_s)?,
            bytes_per_idle_client: all.iter().find_map(|it| it.bytes_per_idle_client),
            p99_ns: median(|it| it.p99_ns as f64)?,
        })
    }

    /// The latencies of a light client under load from flooders, in nanoseconds, in ascending order.
    /// Undisturbed rounds count, or all if every round was disturbed.
    pub(crate) fn fairness(&self) -> Vec<u64> {
        let is_calm = |round: &&Waited| round.disturbance <= DISTURBED;
        let any_calm = self.fairness.iter().any(|round| is_calm(&round));
        let rounds = self.fairness.iter();
        let counted = rounds.filter(|round| !any_calm || is_calm(round));
        let mut waited: Vec<_> = counted.flat_map(|round| round.ns.clone()).collect();
        waited.sort_unstable();
        waited
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> + Clone {
        self.samples.values().flatten()
    }
}

impl Cell {
    fn of(server: &'static str, all: &[Sample]) -> Self {
        // Disturbance is measured on the machine: samples are not selected by their results.
        let calm: Vec<_> = all.iter().filter(|sample| !sample.is_disturbed()).collect();
        let disturbed_rounds = all.len() - calm.len();
        let samples = if calm.is_empty() {
            all.iter().collect()
        } else {
            calm
        };
        let messages: u64 = samples.iter().map(|sample| sample.messages).sum();
        let sum = |part: fn(&Sample) -> f64| samples.iter().copied().map(part).sum::<f64>();
        let per_message = |seconds: f64| seconds * 1e9 / messages.max(1) as f64;
        let rates = samples
            .iter()
            .map(|sample| sample.messages as f64 / sample.seconds);
        let (slowest, fastest) = rates.fold((f64::MAX, 0.0), |(low, high), rate| {
            (rate.min(low), rate.max(high))
        });
        let messages_per_s = messages as f64 / sum(|sample| sample.seconds);
        let idle = samples.iter().filter_map(|sample| sample.per_idle_client);
        Self {
            server,
            rounds: samples.len(),
            disturbed_rounds,
            messages,
            messages_per_s,
            spread: (fastest - slowest) / 2.0 / messages_per_s,
            user_ns: per_message(sum(|sample| sample.user)),
            system_ns: per_message(sum(|sample| sample.system)),
            p50_ns: median(&samples, |sample| sample.p50),
            p99_ns: median(&samples, |sample| sample.p99),
            p99_9_ns: median(&samples, |sample| sample.p99_9),
            peak_memory_bytes: samples.iter().filter_map(|s| s.peak_memory).max(),
            bytes_per_idle_client: idle.max_by(f64::total_cmp),
            stream_message_bytes: mean(&samples, |nodes| nodes.message_bytes),
            nodes_ns: mean(&samples, |nodes| nodes.busy_cpus)
                .map(|cpus| cpus * 1e9 / messages_per_s),
        }
    }

    /// The server's CPU time per message, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> f64 {
        self.user_ns + self.system_ns
    }
}

/// The mean of a figure of the nodes; none without nodes.
fn mean(samples: &[&Sample], part: fn(&Seen) -> f64) -> Option<f64> {
    let seen: Vec<_> = samples.iter().filter_map(|it| it.nodes.as_ref()).collect();
    let sum: f64 = seen.iter().map(|seen| part(seen)).sum();
    (!seen.is_empty()).then(|| sum / seen.len() as f64)
}

/// The value at this per-mille rank of sorted values; none for an empty slice.
pub(crate) fn percentile(sorted: &[u64], per_mille: usize) -> Option<u64> {
    sorted.get(sorted.len() * per_mille / 1000).copied()
}

fn median(samples: &[&Sample], part: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().copied().map(part).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(messages: u64, p50: u64, disturbance: f64) -> Sample {
        Sample {
            seconds: 0.5,
            messages,
            user: 0.1,
            system: 0.3,
            p50,
            p99: 2 * p50,
            p99_9: 3 * p50,
            peak_memory: Some(messages),
            per_idle_client: None,
            disturbance,
            nodes: Some(Seen {
                message_bytes: messages as f64,
                busy_cpus: 1.5,
            }),
            machine: None,
        }
    }

    #[test]
    fn rounds_are_summed() {
        let cell = Cell::of(
            "x",
            &[
                sample(100, 7, 0.0),
                sample(200, 9, 0.0),
                sample(300, 8, 0.0),
            ],
        );
        assert_eq!((cell.rounds, cell.messages, cell.p50_ns), (3, 600, 8));
        assert_eq!((cell.p99_ns, cell.peak_memory_bytes), (16, Some(300)));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6 * b;
        assert!(close(cell.messages_per_s, 400.0) && close(cell.spread, 0.5));
        assert!(close(cell.stream_message_bytes.unwrap(), 200.0));
        assert!(close(cell.nodes_ns.unwrap(), 1.5e9 / 400.0));
        assert!(close(cell.user_ns, 0.3e9 / 600.0) && close(cell.cpu_ns(), 1.2e9 / 600.0));
    }

    #[test]
    fn what_was_disturbed_counts_only_if_there_is_nothing_else() {
        let cell = Cell::of("x", &[sample(100, 7, 0.5), sample(200, 9, 0.0)]);
        assert_eq!(
            (cell.rounds, cell.disturbed_rounds, cell.messages),
            (1, 1, 200)
        );
        let cell = Cell::of("x", &[sample(100, 7, 0.5)]);
        assert_eq!(
            (cell.rounds, cell.disturbed_rounds, cell.messages),
            (1, 1, 100)
        );
    }

    #[test]
    fn who_waits_beside_flooders_is_told_of_all_rounds_that_count() {
        let round = |ns: &[u64], disturbance| Waited {
            ns: ns.to_vec(),
            disturbance,
        };
        let rounds = [(&[5, 3], 0.0), (&[9, 9], 0.5), (&[4, 1], 0.05)];
        let mut results = Results {
            fairness: rounds
                .map(|(ns, disturbance)| round(ns, disturbance))
                .into(),
            ..Results::default()
        };
        assert_eq!(results.fairness(), [1, 3, 4, 5]);
        results.fairness = vec![round(&[8, 2], 0.5)];
        assert_eq!(results.fairness(), [2, 8], "there is nothing else");
        let thousand: Vec<_> = (0..1000).collect();
        assert_eq!(percentile(&thousand, 990), Some(990));
        assert_eq!(percentile(&[], 990), None);
    }

    #[test]
    fn turns_are_compared_by_the_time_they_took() {
        let results = Results {
            turns: vec![(10.0, 20.0), (40.0, 20.0)],
            ..Results::default()
        };
        // One thread: 1/10 + 1/40 of a second a message; five: 1/20 + 1/20.
        assert!((results.turns_ratio().unwrap() - 1.25).abs() < 1e-9);
        assert_eq!(Results::default().turns_ratio(), None);
    }
}
