//! Schedule and quota: the messages still to be sent. All workers share one, so that the others can
//! send the messages of a worker that loses its connections.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hdrhistogram::Histogram;

use crate::drive::clock::Nanos;
use crate::drive::figures::new_histogram;

/// Enough for counters: no other data depends on their order.
const RELAXED: Ordering = Ordering::Relaxed;

/// Two times without a free connection count as one if they are at most this far apart, in
/// nanoseconds.
const GAP: Nanos = 2_000_000;

/// Maximum number of such times that are kept.
const MAX_BLOCKED: usize = 1000;

/// The quota of the closed loop: how many of `-messages` are left to send.
#[derive(Debug)]
pub(crate) struct Quota(AtomicU64);

impl Quota {
    /// `None` means no limit.
    pub(crate) fn new(messages: Option<u64>) -> Self {
        Self(AtomicU64::new(messages.unwrap_or(u64::MAX)))
    }

    /// Takes up to `most` messages and returns how many.
    pub(crate) fn take(&self, most: u64) -> u64 {
        let less = |left| match left {
            u64::MAX => None,
            left => Some(left - most.min(left)),
        };
        self.0.fetch_update(RELAXED, RELAXED, less).map_or(most, |left| most.min(left))
    }

    /// Gives back `n` messages that were taken and not sent.
    pub(crate) fn give_back(&self, n: u64) {
        let more = |left| (left != u64::MAX).then(|| left + n);
        // A quota without limit stays unchanged.
        _ = self.0.fetch_update(RELAXED, RELAXED, more);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0.load(RELAXED) == 0
    }
}

/// The schedule of the open loop: the planned time of each message, independent of the server.
/// Messages are numbered from 0 and evenly spaced. Each is taken by one worker.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Nanos,
    /// Nanoseconds between two messages.
    period: f64,
    /// The first measured message.
    first: u64,
    /// The number after the last message.
    end: u64,
    /// The first message that was not taken.
    next: AtomicU64,
    /// Messages that were taken and not sent.
    returned: Mutex<Vec<u64>>,
    /// Whether `returned` is not empty. Saves locking it.
    has_returned: AtomicBool,
}

impl Schedule {
    /// Plans `rate` messages a second from `start` on. Messages planned before `begin` are not
    /// measured. No message is planned at or after `end`, and at most `messages` are measured.
    pub(crate) fn new(
        (start, begin, end): (Nanos, Nanos, Nanos),
        rate: f64,
        messages: Option<u64>,
    ) -> Self {
        let mut schedule = Self {
            start,
            period: 1e9 / rate,
            first: 0,
            end: 0,
            next: AtomicU64::new(0),
            returned: Mutex::default(),
            has_returned: AtomicBool::new(false),
        };
        schedule.first = schedule.before(begin);
        let last = messages.map_or(u64::MAX, |n| schedule.first.saturating_add(n));
        schedule.end = schedule.before(end).min(last);
        schedule
    }

    /// The planned time of message `number`.
    pub(crate) fn planned(&self, number: u64) -> Nanos {
        self.start.saturating_add((number as f64 * self.period) as u64)
    }

    /// How many messages are planned before `time`.
    fn before(&self, time: Nanos) -> u64 {
        let mut number = (time.saturating_sub(self.start) as f64 / self.period) as u64;
        // The division may be off by one.
        while number > 0 && self.planned(number - 1) >= time {
            number -= 1;
        }
        while self.planned(number) < time {
            number += 1;
        }
        number
    }

    /// How many measured messages are planned before `time`. `None` counts all.
    pub(crate) fn measured_before(&self, time: Option<Nanos>) -> u64 {
        let until = time.map_or(u64::MAX, |time| self.before(time));
        until.min(self.end).saturating_sub(self.first)
    }

    pub(crate) fn is_measured(&self, number: u64) -> bool {
        number >= self.first
    }

    /// Whether all messages were taken.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.next.load(RELAXED) >= self.end && !self.has_returned.load(RELAXED)
    }

    /// How many messages planned up to `now` were not taken.
    fn due(&self, now: Nanos) -> u64 {
        let due = self.before(now.saturating_add(1)).min(self.end);
        due.saturating_sub(self.next.load(RELAXED))
    }

    /// Takes up to `most` of the messages planned up to `now`.
    fn take_due(&self, now: Nanos, most: u64) -> Range<u64> {
        let due = self.before(now.saturating_add(1)).min(self.end);
        let after = |next: u64| next.saturating_add(most).min(due).max(next);
        let taken = self.next.fetch_update(RELAXED, RELAXED, |next| Some(after(next)));
        let next = taken.unwrap_or_else(|next| next);
        next..after(next)
    }

    /// Takes the next message, which may be planned for later.
    fn take_next(&self) -> Option<u64> {
        let taken =
            self.next.fetch_update(RELAXED, RELAXED, |next| (next < self.end).then_some(next + 1));
        taken.ok()
    }

    fn take_returned(&self) -> Option<u64> {
        if !self.has_returned.load(RELAXED) {
            return None;
        }
        let mut returned = self.returned.lock().ok()?;
        let number = returned.pop();
        self.has_returned.store(!returned.is_empty(), RELAXED);
        number
    }

    fn give_back(&self, number: u64) {
        if let Ok(mut returned) = self.returned.lock() {
            returned.push(number);
            self.has_returned.store(true, RELAXED);
        }
    }
}

/// The share of one worker in a [`Schedule`]: the message it waits to send, and how late its
/// messages were.
#[derive(Debug)]
pub(crate) struct Pace {
    /// A message that this worker has taken in advance, so that no other worker wakes up for it.
    claimed: Option<u64>,
    /// Times without a free connection, as long as messages planned then may be unsent. The server
    /// causes the delay of such messages.
    blocked: VecDeque<RangeInclusive<Nanos>>,
    /// Measured messages that waited for a free connection.
    pub(crate) held: u64,
    /// The delay of the other measured messages, in nanoseconds. The load generator causes it.
    pub(crate) lag: Histogram<u64>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { claimed: None, blocked: VecDeque::new(), held: 0, lag: new_histogram() }
    }

    /// How many messages this worker could send at `now`.
    pub(crate) fn due(&self, schedule: &Schedule, now: Nanos) -> u64 {
        let claimed = self.claimed.filter(|&n| schedule.planned(n) <= now);
        let returned = schedule.has_returned.load(RELAXED);
        schedule.due(now) + u64::from(claimed.is_some()) + u64::from(returned)
    }

    /// Takes up to `most` of the messages due at `now`. `most` must not be 0.
    pub(crate) fn take(&mut self, schedule: &Schedule, now: Nanos, most: u64) -> Taken {
        debug_assert!(most > 0, "there is room for a message");
        let claimed = self.claimed.take_if(|n| schedule.planned(*n) <= now);
        let first = claimed.or_else(|| schedule.take_returned());
        let rest = schedule.take_due(now, most - u64::from(first.is_some()));
        first.into_iter().chain(rest)
    }

    /// The planned time of the next message, which this worker takes. `None` if no message is left.
    pub(crate) fn next_at(&mut self, schedule: &Schedule) -> Option<Nanos> {
        if self.claimed.is_none() {
            self.claimed = schedule.take_next();
        }
        self.claimed.map(|number| schedule.planned(number))
    }

    /// Gives back the message that this worker waits to send. Returns whether there was one.
    pub(crate) fn release(&mut self, schedule: &Schedule) -> bool {
        let claimed = self.claimed.take();
        if let Some(number) = claimed {
            schedule.give_back(number);
        }
        claimed.is_some()
    }

    pub(crate) fn has_claim(&self) -> bool {
        self.claimed.is_some()
    }

    /// Records that a message planned at `planned` is sent at `now`.
    pub(crate) fn sent(&mut self, planned: Nanos, now: Nanos) {
        // Nearly all messages are sent in order.
        while self.blocked.front().is_some_and(|b| *b.end() < planned) {
            self.blocked.pop_front();
        }
        if self.blocked.front().is_some_and(|b| b.contains(&planned)) {
            self.held += 1;
        } else {
            self.lag.saturating_record(now.saturating_sub(planned));
        }
    }

    /// Records that no connection was free from `from` until `until`.
    pub(crate) fn block(&mut self, from: Nanos, until: Nanos) {
        if until <= from {
            return;
        }
        let joins = |last: &&mut RangeInclusive<Nanos>| from <= last.end().saturating_add(GAP);
        match self.blocked.back_mut().filter(joins) {
            Some(last) => *last = *last.start()..=until,
            None => self.blocked.push_back(from..=until),
        }
        // Bounds the memory of a worker that is late again and again.
        if self.blocked.len() > MAX_BLOCKED {
            self.blocked.pop_front();
        }
    }
}

/// The numbers of taken messages.
pub(crate) type Taken = std::iter::Chain<std::option::IntoIter<u64>, Range<u64>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_shared_without_rest() {
        let quota = Quota::new(Some(10));
        assert_eq!((quota.take(4), quota.take(4), quota.take(4)), (4, 4, 2));
        assert!(quota.is_spent() && quota.take(1) == 0);
        quota.give_back(2);
        assert_eq!(quota.take(4), 2);
        let endless = Quota::new(None);
        assert_eq!(endless.take(7), 7);
        endless.give_back(7);
        assert!(!endless.is_spent());
    }

    /// Lets each worker in turn take what is due, until nothing is left. Returns all planned times.
    fn drain(schedule: &Schedule, paces: &mut [Pace]) -> Vec<Nanos> {
        let mut planned = Vec::new();
        while !schedule.is_exhausted() {
            for pace in &mut *paces {
                if pace.due(schedule, u64::MAX - 1) > 0 {
                    let taken = pace.take(schedule, u64::MAX - 1, 2);
                    planned.extend(taken.map(|number| schedule.planned(number)));
                }
            }
        }
        planned.sort_unstable();
        planned
    }

    #[test]
    fn workers_share_an_even_spacing() {
        let schedule = Schedule::new((1000, 1000, 5000), 1e6, None);
        let mut paces = [Pace::new(), Pace::new()];
        assert_eq!(paces[0].due(&schedule, 999), 0);
        assert_eq!(paces[0].due(&schedule, 1000), 1);
        assert_eq!(paces[1].due(&schedule, 4999), 4);
        assert_eq!(drain(&schedule, &mut paces), [1000, 2000, 3000, 4000]);
        assert_eq!(paces[0].next_at(&schedule), None);
    }

    #[test]
    fn a_message_planned_at_the_very_end_is_none() {
        for (messages, expected) in [(None, 300), (Some(300), 300), (Some(299), 299)] {
            let end = 5_000_000 + 300_000_000;
            let schedule = Schedule::new((5_000_000, 5_000_000, end), 1000.0, messages);
            assert_eq!(schedule.measured_before(None), expected);
            assert_eq!(drain(&schedule, &mut [Pace::new()]).len() as u64, expected);
        }
        let warm = Schedule::new((0, 1_000_000_000, 3_000_000_000), 10.0, Some(5));
        assert_eq!(warm.measured_before(None), 5);
        assert_eq!(warm.measured_before(Some(1_150_000_000)), 2);
        assert_eq!(drain(&warm, &mut [Pace::new()]).len(), 15);
    }

    #[test]
    fn what_is_due_agrees_with_the_planned_times_at_odd_rates() {
        for rate in [0.3, 7.0, 33_333.0, 1_234_567.8] {
            let schedule = Schedule::new((0, 0, u64::MAX), rate, None);
            let mut pace = Pace::new();
            assert_eq!(pace.take(&schedule, 0, 1).count(), 1, "the first is due at once");
            for _ in 0..1000 {
                let at = pace.next_at(&schedule).unwrap();
                assert_eq!(pace.due(&schedule, at), 1, "{rate}");
                assert_eq!(pace.due(&schedule, at.saturating_sub(2)), 0, "{rate}");
                assert_eq!(pace.take(&schedule, at, 9).count(), 1);
            }
        }
    }

    #[test]
    fn what_one_worker_gives_back_another_sends() {
        let schedule = Schedule::new((0, 0, 3000), 1e6, None);
        let (mut ends, mut goes_on) = (Pace::new(), Pace::new());
        assert_eq!(ends.next_at(&schedule), Some(0));
        assert_eq!(goes_on.next_at(&schedule), Some(1000));
        assert_eq!(goes_on.due(&schedule, 500), 0);
        assert!(ends.release(&schedule) && !ends.release(&schedule));
        assert_eq!(goes_on.due(&schedule, 500), 1);
        assert_eq!(goes_on.take(&schedule, 500, 5).collect::<Vec<_>>(), [0]);
        assert_eq!(goes_on.take(&schedule, 9000, 5).collect::<Vec<_>>(), [1, 2]);
        assert!(schedule.is_exhausted());
    }

    #[test]
    fn lateness_is_attributed_to_server_or_generator() {
        const MS: Nanos = 1_000_000;
        let mut pace = Pace::new();
        // Blocked; then the worker did not run, so nothing is known; then blocked by its own backlog.
        pace.block(10 * MS, 20 * MS);
        pace.block(20 * MS + 1, 25 * MS);
        pace.block(60 * MS, 65 * MS);
        for (planned, is_held) in [(5, false), (10, true), (25, true), (40, false), (62, true)] {
            let held = pace.held;
            pace.sent(planned * MS, 70 * MS);
            assert_eq!(pace.held > held, is_held, "{planned} ms");
        }
        assert_eq!((pace.held, pace.lag.len()), (3, 2));
        assert!(pace.lag.max().abs_diff(65 * MS) < MS / 10);
        for n in 0..10 * MAX_BLOCKED as u64 {
            pace.block(n * 10 * MS, n * 10 * MS + 1);
        }
        assert_eq!(pace.blocked.len(), MAX_BLOCKED);
    }
}
