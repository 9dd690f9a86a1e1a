//! The open loop: when each message is planned, whatever the server does meanwhile.

use hdrhistogram::Histogram;

use crate::drive::clock::Nanos;
use crate::drive::figures::new_histogram;

/// One worker's share of evenly spaced messages: of all messages, numbered from 0, it sends every
/// `stride`-th, beginning with number `offset`.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Nanos,
    /// Messages planned from here on are measured.
    begin: Nanos,
    /// Nothing is planned from here on.
    end: Nanos,
    /// Nanoseconds between two messages of all workers.
    period: f64,
    stride: u64,
    offset: u64,
    /// The share's next message.
    next: u64,
    /// Messages planned up to here found no free connection: that they are late is the server's
    /// doing.
    blocked_at: Nanos,
    /// Messages that waited for a free connection.
    pub(crate) held: u64,
    /// How late the others were sent, in nanoseconds: the instrument's doing.
    pub(crate) lag: Histogram<u64>,
}

impl Schedule {
    /// The share of worker `offset` of `stride`; `rate` is of all together.
    pub(crate) fn new(
        (start, begin, end): (Nanos, Nanos, Nanos),
        rate: f64,
        stride: usize,
        offset: usize,
    ) -> Self {
        Self {
            start,
            begin,
            end,
            period: 1e9 / rate,
            stride: stride as u64,
            offset: offset as u64,
            next: 0,
            blocked_at: 0,
            held: 0,
            lag: new_histogram(),
        }
    }

    /// When the next message is planned, if there is one.
    pub(crate) fn next_at(&self) -> Option<Nanos> {
        let at = self.planned(self.next);
        (at < self.end).then_some(at)
    }

    /// How many messages are planned up to `now` and not sent.
    pub(crate) fn due(&self, now: Nanos) -> u64 {
        let until = now.min(self.end);
        if self.next_at().is_none_or(|at| at > until) {
            return 0;
        }
        let planned = (until - self.start) as f64 / self.period - self.offset as f64;
        let planned = (planned / self.stride as f64).floor() as u64 + 1;
        // At least the next one, whatever the rounding made of it.
        planned.saturating_sub(self.next).max(1)
    }

    /// Takes the next message and returns when it was planned; it is sent at `now`.
    pub(crate) fn take(&mut self, now: Nanos) -> Nanos {
        let planned = self.planned(self.next);
        self.next += 1;
        if planned < self.begin {
            return planned;
        }
        if planned <= self.blocked_at {
            self.held += 1;
        } else {
            self.lag.saturating_record(now.saturating_sub(planned));
        }
        planned
    }

    /// No connection was free at `now`.
    pub(crate) fn block(&mut self, now: Nanos) {
        self.blocked_at = now;
    }

    fn planned(&self, n: u64) -> Nanos {
        let number = n * self.stride + self.offset;
        self.start + (number as f64 * self.period) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_workers_share_an_even_spacing() {
        let mut first = Schedule::new((1000, 1000, 5000), 1e6, 2, 0);
        let mut second = Schedule::new((1000, 1000, 5000), 1e6, 2, 1);
        assert_eq!(first.due(999), 0);
        assert_eq!((first.due(1000), second.due(1000)), (1, 0));
        assert_eq!((first.due(4999), second.due(4999)), (2, 2));
        let mut planned = Vec::new();
        for schedule in [&mut first, &mut second] {
            while schedule.due(u64::MAX) > 0 {
                planned.push(schedule.take(5000));
            }
        }
        planned.sort_unstable();
        assert_eq!(planned, [1000, 2000, 3000, 4000]);
        assert_eq!((first.next_at(), second.next_at()), (None, None));
    }

    #[test]
    fn due_agrees_with_the_planned_times_at_odd_rates() {
        for rate in [0.3, 7.0, 33_333.0, 1_234_567.8] {
            let mut schedule = Schedule::new((0, 0, u64::MAX), rate, 3, 2);
            for _ in 0..1000 {
                let at = schedule.next_at().unwrap();
                assert_eq!(schedule.due(at), 1, "{rate}");
                assert_eq!(schedule.due(at.saturating_sub(2)), 0, "{rate}");
                schedule.take(at);
            }
        }
    }

    #[test]
    fn lateness_is_blamed_on_who_caused_it() {
        let mut schedule = Schedule::new((0, 1000, u64::MAX), 1e6, 1, 0);
        schedule.take(500_000);
        schedule.block(2500);
        for late_at in [9000, 9000, 3100, 9000] {
            schedule.take(late_at);
        }
        assert_eq!(schedule.held, 2);
        assert_eq!((schedule.lag.len(), schedule.lag.min()), (2, 100));
        assert!(schedule.lag.max().abs_diff(5000) < 8);
    }
}
