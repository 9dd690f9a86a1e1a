//! What the coordinator gives the workers, and what they tell it.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use mio::Waker;
use tls::Connector;

use crate::drive::clock::{Clock, Nanos};
use crate::drive::counters::Counters;
use crate::drive::figures::Interval;
use crate::drive::replies::Expected;
use crate::drive::schedule::{Pace, Quota, Schedule};
use crate::drive::usage::{Served, Usage};
use crate::message::ack_log::AckLog;
use crate::message::template::Template;

/// What the workers of a run have to do; the same for all.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) clock: Clock,
    /// The server, as it was named.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Speaks TLS.
    pub(crate) connector: Option<Connector>,
    pub(crate) workers: usize,
    pub(crate) connections: usize,
    /// Unanswered messages per connection.
    pub(crate) pipeline: u32,
    pub(crate) message: Template,
    pub(crate) hello: Option<Template>,
    /// Lines that the server says before the first message.
    pub(crate) greeting: u32,
    pub(crate) expected: Expected,
    pub(crate) stop_on_error: bool,
    pub(crate) timeout: Nanos,
    /// Make lost connections anew.
    pub(crate) reconnect: bool,
    /// Connections per second, all workers together.
    pub(crate) connect_rate: f64,
    /// Messages per second, all workers together; none: the closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) warmup: Nanos,
    pub(crate) duration: Option<Nanos>,
    pub(crate) messages: Option<u64>,
    /// The server's processes.
    pub(crate) pids: Vec<u32>,
    /// Note which messages were rejected, for the verification.
    pub(crate) keep: bool,
}

impl Plan {
    /// Worker `number`'s share of `total` things: every so-many-th, beginning with its number.
    pub(crate) fn share(&self, total: u64, number: usize) -> u64 {
        let (workers, number) = (self.workers as u64, number as u64);
        (total + workers - 1 - number) / workers
    }

    /// The number, among all, of a worker's `index`-th connection.
    pub(crate) fn connection_number(&self, worker: usize, index: usize) -> u64 {
        (index * self.workers + worker) as u64
    }
}

/// How coordinator and workers speak to each other while a run lasts.
#[derive(Debug)]
pub(crate) struct Control {
    /// What the host's name led to.
    pub(crate) address: SocketAddr,
    /// The open loop's, made when the run begins.
    pub(crate) schedule: OnceLock<Schedule>,
    /// The closed loop's.
    pub(crate) quota: Quota,
    /// By worker.
    pub(crate) wakers: OnceLock<Vec<Waker>>,
    /// The number of the next connection that is made anew.
    pub(crate) next_connection: AtomicU64,
    /// When to begin; 0: not yet.
    pub(crate) start: AtomicU64,
    /// Send no more.
    pub(crate) stop: AtomicBool,
    /// Wait for replies no longer than this; 0: as long as `-timeout` allows.
    pub(crate) give_up_at: AtomicU64,
    /// The run will not take place.
    pub(crate) abort: AtomicBool,
    /// Connections made so far.
    pub(crate) connected: AtomicUsize,
    /// Messages acknowledged so far.
    pub(crate) acknowledged: AtomicU64,
    /// An error reply has ended the run.
    pub(crate) error_seen: AtomicBool,
}

impl Control {
    pub(crate) fn new(plan: &Plan, address: SocketAddr) -> Self {
        Self {
            address,
            schedule: OnceLock::new(),
            quota: Quota::new(plan.messages),
            wakers: OnceLock::new(),
            next_connection: AtomicU64::new(plan.connections as u64),
            start: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            give_up_at: AtomicU64::new(0),
            abort: AtomicBool::new(false),
            connected: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
            error_seen: AtomicBool::new(false),
        }
    }

    /// Wakes all workers. One whose wake-up is lost looks by itself within a second.
    pub(crate) fn wake(&self) {
        for waker in self.wakers.get().into_iter().flatten() {
            _ = waker.wake();
        }
    }
}

/// What a worker tells the coordinator.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
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
pub(crate) struct Done {
    pub(crate) worker: usize,
    pub(crate) counters: Counters,
    /// Only in the open loop.
    pub(crate) pace: Option<Pace>,
    /// With the connections' numbers.
    pub(crate) ack_logs: Vec<(u64, AckLog)>,
    /// When sending ended.
    pub(crate) sent_until: Nanos,
    /// Connections that were open at the end.
    pub(crate) alive: usize,
    /// CPU time at the measurement's begin and end.
    pub(crate) usage: (Usage, Usage),
    /// The same of the server, if this worker was to look.
    pub(crate) served: Option<(Served, Served)>,
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
