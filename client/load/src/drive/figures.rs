//! What is counted and timed while a run lasts: workers fill an [`Interval`] a second, the
//! coordinator adds them up to [`Figures`].

use std::collections::BTreeMap;
use std::ops::AddAssign;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// How long an interval lasts, in nanoseconds.
pub(crate) const INTERVAL: u64 = 1_000_000_000;

/// The longest latency that is told apart, an hour; longer ones count as this.
const LONGEST: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds, three significant digits.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order")
}

/// Messages and bytes. `sent` is the sum of `acknowledged`, `errors`, `timeouts` and `unanswered`
/// once a run is over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) errors: u64,
    /// Messages whose connection was given up because no reply came for `-timeout`.
    pub(crate) timeouts: u64,
    /// Messages whose connection ended, or the run, before their reply.
    pub(crate) unanswered: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.errors += other.errors;
        self.timeouts += other.timeouts;
        self.unanswered += other.unanswered;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
    }
}

/// One worker's figures of one second.
#[derive(Debug)]
pub(crate) struct Interval {
    /// Seconds since the measurement began.
    pub(crate) index: u64,
    pub(crate) counts: Counts,
    /// Latency of the acknowledged messages, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Interval {
    pub(crate) fn new(index: u64) -> Self {
        Self {
            index,
            counts: Counts::default(),
            latency: new_histogram(),
        }
    }
}

/// Latency in nanoseconds, three significant digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    pub(crate) min: u64,
    pub(crate) mean: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) p99_99: u64,
    pub(crate) max: u64,
}

impl Latency {
    /// None if nothing was recorded.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile).min(histogram.max());
        (!histogram.is_empty()).then(|| Self {
            min: histogram.min(),
            mean: histogram.mean().round() as u64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max(),
        })
    }
}

/// One second of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Second {
    /// Seconds since the measurement began.
    pub(crate) from_s: f64,
    pub(crate) to_s: f64,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) errors: u64,
    pub(crate) latency_ns: Option<Latency>,
}

/// All figures of a run so far.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) counts: Counts,
    pub(crate) latency: Histogram<u64>,
    workers: usize,
    /// Seconds that not all workers have reported, with how many have.
    open: BTreeMap<u64, (usize, Interval)>,
    /// The last full second, kept in case a short rest is to be added.
    last: Option<Interval>,
    seconds: Vec<Second>,
}

impl Figures {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            counts: Counts::default(),
            latency: new_histogram(),
            workers,
            open: BTreeMap::new(),
            last: None,
            seconds: Vec::new(),
        }
    }

    /// Adds what a worker counted in one second; returns that second's row if it is now whole.
    pub(crate) fn add(&mut self, interval: Interval) -> Option<Second> {
        let index = interval.index;
        if self.keep_open(interval) < self.workers {
            return None;
        }
        let (_, whole) = self.open.remove(&index)?;
        Some(self.close(whole, (index + 1) as f64))
    }

    /// Adds what a worker counted in the second in which it ended.
    pub(crate) fn add_rest(&mut self, interval: Interval) {
        self.keep_open(interval);
    }

    /// The rows of the whole run, which measured for `measured_s` seconds. A rest of less than
    /// half a second belongs to the second before it: a rate over a few milliseconds is noise.
    pub(crate) fn finish(&mut self, measured_s: f64) -> Vec<Second> {
        while let Some((index, (_, interval))) = self.open.pop_first() {
            let to_s = measured_s.min((index + 1) as f64);
            let is_short = to_s - (index as f64) < 0.5;
            let Some(mut last) = self.last.take_if(|_| is_short) else {
                self.close(interval, to_s);
                continue;
            };
            self.total(&interval);
            merge(&mut last, &interval);
            self.seconds.pop();
            self.seconds
                .push(row(&last, measured_s.max(last.index as f64 + 1.0)));
            self.last = Some(last);
        }
        std::mem::take(&mut self.seconds)
    }

    /// Returns how many workers have reported this second.
    fn keep_open(&mut self, interval: Interval) -> usize {
        if let Some((reported, open)) = self.open.get_mut(&interval.index) {
            merge(open, &interval);
            *reported += 1;
            return *reported;
        }
        self.open.insert(interval.index, (1, interval));
        1
    }

    fn close(&mut self, interval: Interval, to_s: f64) -> Second {
        self.total(&interval);
        let second = row(&interval, to_s);
        self.seconds.push(second.clone());
        self.last = Some(interval);
        second
    }

    fn total(&mut self, interval: &Interval) {
        self.counts += interval.counts;
        add(&mut self.latency, &interval.latency);
    }
}

fn row(interval: &Interval, to_s: f64) -> Second {
    Second {
        from_s: interval.index as f64,
        to_s,
        sent: interval.counts.sent,
        acknowledged: interval.counts.acknowledged,
        errors: interval.counts.errors,
        latency_ns: Latency::of(&interval.latency),
    }
}

fn merge(into: &mut Interval, from: &Interval) {
    into.counts += from.counts;
    add(&mut into.latency, &from.latency);
}

/// Adds one histogram to another; all have the same bounds.
pub(crate) fn add(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    let added = into.add(from);
    debug_assert!(added.is_ok(), "histograms of one shape add up");
}

/// The percentile curve: `(percentile, nanoseconds)`, denser towards 100.
pub(crate) fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    // Steps of a tenth of a nine, up to what the number of messages can tell.
    let nines = (histogram.len() as f64).log10();
    let steps = (nines * 10.0).floor() as u32;
    let at = |step: u32| {
        let quantile = 1.0 - 10f64.powf(-f64::from(step) / 10.0);
        let value = histogram.value_at_quantile(quantile).min(histogram.max());
        (quantile * 100.0, value)
    };
    let mut curve: Vec<_> = (0..=steps).map(at).collect();
    curve.push((100.0, histogram.max()));
    curve
}

/// The distribution for a bar chart: `(upper bound in nanoseconds, messages up to it)`, bounds in
/// the steps 1, 2, 5; empty ranges at both ends are left out.
pub(crate) fn distribution(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut bars: Vec<(u64, u64)> = Vec::new();
    let mut bound: u64 = 1;
    let mut values = histogram.iter_recorded().peekable();
    while values.peek().is_some() {
        let mut count = 0;
        while let Some(value) = values.next_if(|value| value.value_iterated_to() <= bound) {
            count += value.count_since_last_iteration();
        }
        if count > 0 || !bars.is_empty() {
            bars.push((bound, count));
        }
        bound = next_bound(bound);
    }
    bars
}

/// 1, 2, 5, 10, 20, 50, …
fn next_bound(bound: u64) -> u64 {
    let power = 10u64.pow(bound.ilog10());
    match bound / power {
        1 => 2 * power,
        2 => 5 * power,
        _ => 10 * power,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(index: u64, latencies: &[u64]) -> Interval {
        let mut interval = Interval::new(index);
        for &ns in latencies {
            interval.latency.saturating_record(ns);
            interval.counts.acknowledged += 1;
        }
        interval
    }

    #[test]
    fn a_second_is_whole_when_all_workers_have_reported_it() {
        let mut figures = Figures::new(2);
        assert_eq!(figures.add(interval(0, &[1000])), None);
        assert_eq!(figures.add(interval(1, &[4000])), None);
        let second = figures.add(interval(0, &[3000])).unwrap();
        assert_eq!((second.acknowledged, second.to_s), (2, 1.0));
        let latency = second.latency_ns.unwrap();
        assert_eq!((latency.min, latency.p50), (1000, 1000));
        assert!(latency.max.abs_diff(3000) <= 2, "{latency:?}");
        let seconds = figures.finish(1.75);
        assert_eq!(seconds.len(), 2);
        assert_eq!((seconds[1].from_s, seconds[1].to_s), (1.0, 1.75));
        assert_eq!(figures.counts.acknowledged, 3);
        assert_eq!(figures.latency.len(), 3);
    }

    #[test]
    fn a_short_rest_belongs_to_the_second_before() {
        let mut figures = Figures::new(1);
        figures.add(interval(0, &[1000, 2000]));
        figures.add(interval(1, &[9000]));
        figures.add_rest(interval(2, &[50_000]));
        let seconds = figures.finish(2.01);
        assert_eq!(seconds.len(), 2);
        assert_eq!((seconds[1].acknowledged, seconds[1].to_s), (2, 2.01));
        assert_eq!(figures.counts.acknowledged, 4);
    }

    #[test]
    fn a_curve_ends_at_what_the_count_can_tell() {
        let mut histogram = new_histogram();
        assert!(curve(&histogram).is_empty());
        assert!(distribution(&histogram).is_empty());
        for n in 1..=1000 {
            histogram.saturating_record(n * 1000);
        }
        let curve = curve(&histogram);
        assert_eq!(curve.len(), 32);
        assert!(curve[0].0 < 1e-9);
        assert!((curve[10].0 - 90.0).abs() < 1e-9);
        assert!(curve[10].1.abs_diff(900_000) < 2000, "{:?}", curve[10]);
        assert_eq!(curve[31], (100.0, histogram.max()));
        assert!(curve.is_sorted());
    }

    #[test]
    fn a_distribution_has_every_message_once() {
        let mut histogram = new_histogram();
        for (ns, n) in [(900, 5), (1500, 10), (70_000, 1)] {
            histogram.saturating_record_n(ns, n);
        }
        let bars = distribution(&histogram);
        assert_eq!(bars[0], (1000, 5));
        assert_eq!(bars[1], (2000, 10));
        assert_eq!(*bars.last().unwrap(), (100_000, 1));
        assert_eq!(bars.iter().map(|bar| bar.1).sum::<u64>(), 16);
    }
}
