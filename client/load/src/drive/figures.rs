//! Figures of a running measurement. Workers fill an [`Interval`] a second. The coordinator adds
//! them up to [`Figures`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Length of an interval, in nanoseconds.
pub(crate) const INTERVAL: u64 = 1_000_000_000;

/// Maximum latency in nanoseconds, an hour. A longer one counts as this.
const MAX: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds with three significant digits.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX, 3).expect("the bounds are in order")
}

/// Counts of messages and bytes. When a run is over, `sent` is the sum of `acknowledged`, `errors`,
/// `timeouts` and `unanswered`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) errors: u64,
    /// Messages whose connection was closed because no reply came for `-timeout`.
    pub(crate) timeouts: u64,
    /// Messages whose connection or run ended before their reply.
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

/// The figures of one worker in one second.
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
        Self { index, counts: Counts::default(), latency: new_histogram() }
    }
}

/// Selects a figure of a latency.
pub(crate) type Pick = fn(&Latency) -> u64;

/// Latency in nanoseconds, with three significant digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The figures by name, in the order of reports.
    pub(crate) const FIGURES: [(&str, Pick); 8] = [
        ("min", |l| l.min),
        ("mean", |l| l.mean),
        ("p50", |l| l.p50),
        ("p90", |l| l.p90),
        ("p99", |l| l.p99),
        ("p99.9", |l| l.p99_9),
        ("p99.99", |l| l.p99_99),
        ("max", |l| l.max),
    ];

    /// `None` if the histogram is empty.
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

/// The figures of one second of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Seconds since the measurement began.
    pub(crate) from_s: f64,
    pub(crate) to_s: f64,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) errors: u64,
    pub(crate) latency_ns: Option<Latency>,
}

/// The figures of a run so far.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) counts: Counts,
    pub(crate) latency: Histogram<u64>,
    /// Workers that have not ended.
    workers: usize,
    /// Seconds that some workers have not reported yet.
    open: BTreeMap<u64, Open>,
    /// The last two seconds with events. They are kept, since a short remainder may be added to the
    /// last.
    recent: VecDeque<Interval>,
    /// The number of idle seconds after those. They may be after the end of the measurement.
    idle: u64,
    seconds: Vec<Second>,
}

/// A second that some workers have not reported yet.
#[derive(Debug)]
struct Open {
    interval: Interval,
    /// How many workers have not reported it.
    awaited: usize,
}

impl Figures {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            counts: Counts::default(),
            latency: new_histogram(),
            workers,
            open: BTreeMap::new(),
            recent: VecDeque::new(),
            idle: 0,
            seconds: Vec::new(),
        }
    }

    /// Adds one second of one worker. Returns the row of that second if it is now complete.
    pub(crate) fn add(&mut self, interval: Interval) -> Option<Second> {
        let index = interval.index;
        self.keep_open(interval);
        self.close_if_whole(index)
    }

    /// Adds the last second of a worker that ended. Returns the rows of the seconds that waited
    /// only for this worker.
    pub(crate) fn leave(&mut self, rest: Interval) -> Vec<Second> {
        let last = rest.index;
        self.keep_open(rest);
        self.workers -= 1;
        let mut later = Vec::new();
        for (&index, open) in self.open.range_mut(last + 1..) {
            open.awaited -= 1;
            later.push(index);
        }
        let first = self.close_if_whole(last);
        let rest = later.into_iter().filter_map(|index| self.close_if_whole(index));
        first.into_iter().chain(rest).collect()
    }

    /// The rows of the whole run, which measured for `measured_s` seconds. A remainder of less than
    /// half a second is added to the second before it: a rate over a few milliseconds is noise.
    pub(crate) fn finish(mut self, measured_s: f64) -> Vec<Second> {
        while let Some((_, open)) = self.open.pop_first() {
            self.close(open.interval);
        }
        let idle_from = self.seconds.len() + self.recent.len();
        let last_start = idle_from.saturating_sub(1) as f64;
        if measured_s - last_start < 0.5
            && self.recent.len() > 1
            && let Some(rest) = self.recent.pop_back()
            && let Some(last) = self.recent.back_mut()
        {
            merge(last, &rest);
        }
        self.seconds.extend(self.recent.iter().map(row));
        // Idle seconds are part of the series as long as the measurement lasts.
        for index in (idle_from as u64..).take(self.idle as usize) {
            let enough = if self.seconds.is_empty() { 0.0 } else { 0.5 };
            let lasts = measured_s - index as f64;
            if lasts > 0.0 && lasts >= enough {
                self.seconds.push(row(&Interval::new(index)));
            }
        }
        if let Some(last) = self.seconds.last_mut() {
            last.to_s = measured_s;
        }
        self.seconds
    }

    fn keep_open(&mut self, interval: Interval) {
        match self.open.entry(interval.index) {
            Entry::Occupied(mut open) => {
                let open = open.get_mut();
                merge(&mut open.interval, &interval);
                open.awaited -= 1;
            }
            Entry::Vacant(place) => {
                let awaited = self.workers - 1;
                place.insert(Open { interval, awaited });
            }
        }
    }

    fn close_if_whole(&mut self, index: u64) -> Option<Second> {
        if self.open.get(&index)?.awaited > 0 {
            return None;
        }
        let whole = self.open.remove(&index)?;
        Some(self.close(whole.interval))
    }

    fn close(&mut self, interval: Interval) -> Second {
        self.counts += interval.counts;
        add(&mut self.latency, &interval.latency);
        let second = row(&interval);
        let Counts { sent, acknowledged, errors, .. } = interval.counts;
        if sent + acknowledged + errors == 0 {
            self.idle += 1;
            return second;
        }
        for index in interval.index - self.idle..interval.index {
            self.remember(Interval::new(index));
        }
        self.idle = 0;
        self.remember(interval);
        second
    }

    fn remember(&mut self, interval: Interval) {
        if self.recent.len() == 2 {
            self.seconds.extend(self.recent.pop_front().as_ref().map(row));
        }
        self.recent.push_back(interval);
    }
}

fn row(interval: &Interval) -> Second {
    Second {
        from_s: interval.index as f64,
        to_s: (interval.index + 1) as f64,
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

/// Adds one histogram to another with the same bounds.
pub(crate) fn add(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    let added = into.add(from);
    debug_assert!(added.is_ok(), "histograms of one shape add up");
}

/// The percentile curve as `(percentile, nanoseconds)`, denser towards 100.
pub(crate) fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    // Steps of a tenth of a nine, as far as the number of messages supports.
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

/// The distribution for a bar chart: `(upper bound in nanoseconds, messages up to it)`. The bounds
/// go in steps of 1, 2, 5. Empty ranges at both ends are left out.
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

/// The next of 1, 2, 5, 10, 20, 50, …
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
        assert_eq!(figures.leave(interval(1, &[])).len(), 1);
        assert_eq!(figures.leave(interval(2, &[])).len(), 1);
        assert_eq!(figures.counts.acknowledged, 3);
        assert_eq!(figures.latency.len(), 3);
        let seconds = figures.finish(1.75);
        assert_eq!(seconds.len(), 2);
        assert_eq!((seconds[1].from_s, seconds[1].to_s), (1.0, 1.75));
    }

    #[test]
    fn a_short_rest_belongs_to_the_second_before() {
        let mut figures = Figures::new(1);
        figures.add(interval(0, &[1000, 2000]));
        figures.add(interval(1, &[9000]));
        figures.leave(interval(2, &[50_000]));
        assert_eq!(figures.counts.acknowledged, 4);
        let seconds = figures.finish(2.01);
        assert_eq!(seconds.len(), 2);
        assert_eq!((seconds[1].acknowledged, seconds[1].to_s), (2, 2.01));
    }

    #[test]
    fn a_series_ends_with_the_measurement() {
        // An idle time after a second with messages: the run waits for a reply that does not come.
        for (measured_s, expected) in [
            (1.5, &[(0.0, 1.0), (1.0, 1.5)][..]),
            (1.2, &[(0.0, 1.2)]),
            (3.0, &[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]),
        ] {
            let mut figures = Figures::new(1);
            figures.add(interval(0, &[1000]));
            for index in 1..6 {
                figures.add(interval(index, &[]));
            }
            figures.leave(interval(6, &[]));
            let seconds = figures.finish(measured_s);
            let seconds: Vec<_> = seconds.iter().map(|s| (s.from_s, s.to_s)).collect();
            assert_eq!(seconds, expected);
        }
        // An idle time in the middle stays.
        let mut figures = Figures::new(1);
        for (index, latencies) in [&[1000][..], &[], &[], &[2000], &[]].into_iter().enumerate() {
            figures.add(interval(index as u64, latencies));
        }
        figures.leave(interval(5, &[]));
        let seconds = figures.finish(4.0);
        let acknowledged: Vec<_> = seconds.iter().map(|s| s.acknowledged).collect();
        assert_eq!(acknowledged, [1, 0, 0, 1]);
    }

    #[test]
    fn no_second_waits_for_a_worker_that_has_ended() {
        let mut figures = Figures::new(2);
        figures.add(interval(0, &[1000]));
        figures.add(interval(1, &[1000]));
        assert_eq!(figures.leave(interval(0, &[1000])).len(), 2);
        for index in 2..100 {
            assert!(figures.add(interval(index, &[1000])).is_some());
            assert!(figures.open.is_empty() && figures.recent.len() <= 2);
        }
        assert_eq!(figures.counts.acknowledged, 101);
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
