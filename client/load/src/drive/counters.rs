//! Counters of one worker.

use crate::drive::clock::Nanos;
use crate::drive::connection::Pending;
use crate::drive::figures::Interval;
use crate::drive::replies::ErrorKinds;
use crate::message::ack_log::AckLog;

/// The counters of one worker. They exclude the warm-up: messages whose latency counts from before
/// `begin`, the end of the warm-up.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) begin: Nanos,
    pub(crate) interval: Interval,
    /// Error replies by kind, including unsolicited ones.
    pub(crate) errors: ErrorKinds,
    /// The reasons why connections were lost.
    pub(crate) losses: ErrorKinds,
    pub(crate) lost: u64,
    /// How many lost connections were replaced.
    pub(crate) reconnected: u64,
    /// Error replies to messages of the warm-up.
    pub(crate) warmup_errors: u64,
    /// Replies that came while no message waited for one.
    pub(crate) unasked: u64,
    /// Messages without a reply on open connections.
    pub(crate) owed: u64,
    /// When the last reply came.
    pub(crate) replied_at: Nanos,
    /// Messages acknowledged since the last report to the coordinator, warm-up included.
    pub(crate) progress: u64,
    /// Whether to record which messages were rejected.
    keep: bool,
}

impl Counters {
    pub(crate) fn new(keep: bool) -> Self {
        Self {
            begin: Nanos::MAX,
            interval: Interval::new(0),
            errors: ErrorKinds::default(),
            losses: ErrorKinds::default(),
            lost: 0,
            reconnected: 0,
            warmup_errors: 0,
            unasked: 0,
            owed: 0,
            replied_at: 0,
            progress: 0,
            keep,
        }
    }

    /// Counts `n` sent messages of `bytes` bytes in total. Their latency counts from `time`.
    pub(crate) fn sent(&mut self, time: Nanos, n: u32, bytes: usize) {
        self.owed += u64::from(n);
        if time >= self.begin {
            self.interval.counts.sent += u64::from(n);
            self.interval.counts.sent_bytes += bytes as u64;
        }
    }

    pub(crate) fn received(&mut self, bytes: usize, now: Nanos) {
        if now >= self.begin {
            self.interval.counts.received_bytes += bytes as u64;
        }
    }

    /// Counts `n` good replies in a row.
    pub(crate) fn acknowledge(
        &mut self,
        pending: &mut Pending,
        ack_log: &mut AckLog,
        n: u32,
        now: Nanos,
    ) {
        let answered = n.min(pending.count);
        self.unasked += u64::from(n - answered);
        if answered == 0 {
            return;
        }
        self.owed -= u64::from(answered);
        self.progress += u64::from(answered);
        self.replied_at = now;
        ack_log.acknowledge(answered);
        let (begin, interval) = (self.begin, &mut self.interval);
        pending.take(answered, |time, n| {
            if time >= begin {
                let n = u64::from(n);
                interval.counts.acknowledged += n;
                interval.latency.saturating_record_n(now.saturating_sub(time), n);
            }
        });
    }

    /// Counts an error reply.
    pub(crate) fn reject(
        &mut self,
        pending: &mut Pending,
        ack_log: &mut AckLog,
        line: &[u8],
        now: Nanos,
    ) {
        if pending.count == 0 {
            self.unasked += 1;
            self.errors.count(line);
            return;
        }
        self.owed -= 1;
        self.replied_at = now;
        ack_log.reject(self.keep);
        if self.take_measured(pending, 1) == 1 {
            self.interval.counts.errors += 1;
            self.errors.count(line);
        } else {
            self.warmup_errors += 1;
        }
    }

    /// Counts a lost connection and its unanswered messages.
    pub(crate) fn lose(&mut self, pending: &mut Pending, why: &str) {
        self.lost += 1;
        self.losses.add(why);
        self.leave(pending);
    }

    /// Counts messages that will get no reply as unanswered.
    pub(crate) fn leave(&mut self, pending: &mut Pending) {
        self.owed -= u64::from(pending.count);
        self.interval.counts.unanswered += self.take_measured(pending, u32::MAX);
    }

    /// Counts messages whose connection was silent for `-timeout`.
    pub(crate) fn time_out(&mut self, pending: &mut Pending) {
        self.owed -= u64::from(pending.count);
        self.interval.counts.timeouts += self.take_measured(pending, u32::MAX);
    }

    fn take_measured(&self, pending: &mut Pending, n: u32) -> u64 {
        let mut measured = 0;
        pending.take(n, |time, n| {
            if time >= self.begin {
                measured += u64::from(n);
            }
        });
        measured
    }

    /// Begins the next interval and returns the one that ended.
    pub(crate) fn roll(&mut self) -> Interval {
        let next = Interval::new(self.interval.index + 1);
        std::mem::replace(&mut self.interval, next)
    }
}
