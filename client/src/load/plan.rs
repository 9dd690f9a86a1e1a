//! What the coordinator gives the workers, and what they tell it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use super::clock::{Clock, Nanos, Usage};
use super::figures::Interval;
use super::ledger::Ledger;
use super::replies::Expected;
use super::schedule::Schedule;
use super::served::Served;
use super::tally::Tally;
use super::template::Template;

/// What the workers of a run have to do; the same for all.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) clock: Clock,
    pub(super) address: SocketAddr,
    pub(super) workers: usize,
    pub(super) connections: usize,
    /// Unanswered messages per connection.
    pub(super) pipeline: u32,
    pub(super) message: Template,
    pub(super) hello: Option<Template>,
    /// Lines that the server says before the first message.
    pub(super) greeting: u32,
    pub(super) expected: Expected,
    pub(super) stop_on_error: bool,
    pub(super) timeout: Nanos,
    /// Connections per second, all workers together.
    pub(super) connect_rate: f64,
    /// Messages per second, all workers together; none: the closed loop.
    pub(super) rate: Option<f64>,
    pub(super) warmup: Nanos,
    pub(super) duration: Option<Nanos>,
    pub(super) messages: Option<u64>,
    /// The server's process.
    pub(super) pid: Option<u32>,
    /// Note which messages were rejected, for the verification.
    pub(super) keep: bool,
}

impl Plan {
    /// Worker `number`'s share of `total` things: every so-many-th, beginning with its number.
    pub(super) fn share(&self, total: u64, number: usize) -> u64 {
        let (workers, number) = (self.workers as u64, number as u64);
        (total + workers - 1 - number) / workers
    }

    /// The number, among all, of a worker's `index`-th connection.
    pub(super) fn connection_number(&self, worker: usize, index: usize) -> u64 {
        (index * self.workers + worker) as u64
    }
}

/// How coordinator and workers speak to each other while a run lasts.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// When to begin; 0: not yet.
    pub(super) start: AtomicU64,
    /// Send no more.
    pub(super) stop: AtomicBool,
    /// Wait for replies no longer than this; 0: as long as `-timeout` allows.
    pub(super) give_up_at: AtomicU64,
    /// The run will not take place.
    pub(super) abort: AtomicBool,
    /// Connections made so far.
    pub(super) connected: AtomicUsize,
    /// Messages acknowledged so far.
    pub(super) acknowledged: AtomicU64,
    /// An error reply has ended the run.
    pub(super) error_seen: AtomicBool,
}

/// What a worker tells the coordinator.
#[derive(Debug)]
pub(super) enum News {
    /// All its connections are made; how long each took.
    Connected(Vec<Nanos>),
    /// It cannot go on, for this reason.
    Failed(String),
    /// A second is over.
    Interval(Interval),
    Done(Box<Done>),
}

/// What a worker has when it is done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) worker: usize,
    pub(super) tally: Tally,
    pub(super) schedule: Option<Schedule>,
    /// In the order of the worker's connections.
    pub(super) ledgers: Vec<Ledger>,
    /// When sending ended.
    pub(super) sent_until: Nanos,
    /// Messages of `-messages` that were not sent.
    pub(super) quota_left: u64,
    /// Messages of the open loop that were planned but not sent.
    pub(super) never_sent: u64,
    /// CPU time at the measurement's begin and end.
    pub(super) usage: (Usage, Usage),
    /// The same of the server, if this worker was to look.
    pub(super) served: Option<(Served, Served)>,
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares_add_up() {
        for workers in 1_u64..6 {
            for total in 0..30 {
                let share = |number| (total + workers - 1 - number) / workers;
                assert_eq!((0..workers).map(share).sum::<u64>(), total);
            }
        }
    }
}
