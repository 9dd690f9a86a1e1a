//! Messages and shared state between the coordinator and the workers.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use common::protocol::DEFAULT_PORT;
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

/// The load as asked for.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// The host name or address as given.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    /// Maximum number of messages without a reply per connection.
    pub(crate) pipeline: u32,
    /// Messages per second, over all workers. `None` means a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) duration: Option<Nanos>,
    pub(crate) messages: Option<u64>,
    pub(crate) warmup: Nanos,
    pub(crate) timeout: Nanos,
    /// Whether to replace lost connections.
    pub(crate) reconnect: bool,
    /// New connections per second, over all workers.
    pub(crate) connect_rate: f64,
    pub(crate) stop_on_error: bool,
    /// The process IDs of the server.
    pub(crate) pids: Vec<u32>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: DEFAULT_PORT,
            connections: 50,
            threads: 1,
            pipeline: 1,
            rate: None,
            duration: None,
            messages: None,
            warmup: 0,
            timeout: 10_000_000_000,
            reconnect: false,
            connect_rate: 5000.0,
            stop_on_error: false,
            pids: Vec::new(),
        }
    }
}

impl Load {
    /// The share of worker `number` in `total` items: every n-th item for n workers, from `number`
    /// on.
    pub(crate) fn share(&self, total: u64, number: usize) -> u64 {
        let (workers, number) = (self.threads as u64, number as u64);
        (total + workers - 1 - number) / workers
    }

    /// The number, among all connections, of connection `index` of a worker.
    pub(crate) fn connection_number(&self, worker: usize, index: usize) -> u64 {
        (index * self.threads + worker) as u64
    }
}

/// The task of the workers, the same for all.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) load: Load,
    pub(crate) clock: Clock,
    /// Makes TLS sessions. `None` means no TLS.
    pub(crate) connector: Option<Connector>,
    pub(crate) message: Template,
    pub(crate) hello: Option<Template>,
    /// The number of lines that the server sends before the first message.
    pub(crate) greeting: u32,
    pub(crate) expected: Expected,
    /// Whether to record which messages were rejected, for the verification.
    pub(crate) keep: bool,
}

/// State that the coordinator and the workers share during a run.
#[derive(Debug)]
pub(crate) struct Control {
    /// The address that the first connection reached.
    pub(crate) address: SocketAddr,
    /// The schedule of the open loop, set when the run begins.
    pub(crate) schedule: OnceLock<Schedule>,
    /// The quota of the closed loop.
    pub(crate) quota: Quota,
    /// By worker.
    pub(crate) wakers: OnceLock<Vec<Waker>>,
    /// The number of the next replacement connection.
    pub(crate) next_connection: AtomicU64,
    /// When to begin; 0 means not yet.
    pub(crate) start: AtomicU64,
    /// Whether to stop sending.
    pub(crate) stop: AtomicBool,
    /// When to stop waiting for replies; 0 means after `-timeout`.
    pub(crate) give_up_at: AtomicU64,
    /// Whether the run was cancelled before it began.
    pub(crate) abort: AtomicBool,
    /// Connections made so far.
    pub(crate) connected: AtomicUsize,
    /// Messages acknowledged so far.
    pub(crate) acknowledged: AtomicU64,
    /// Whether an error reply ended the run.
    pub(crate) error_seen: AtomicBool,
}

impl Control {
    pub(crate) fn new(plan: &Plan, address: SocketAddr) -> Self {
        Self {
            address,
            schedule: OnceLock::new(),
            quota: Quota::new(plan.load.messages),
            wakers: OnceLock::new(),
            next_connection: AtomicU64::new(plan.load.connections as u64),
            start: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            give_up_at: AtomicU64::new(0),
            abort: AtomicBool::new(false),
            connected: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
            error_seen: AtomicBool::new(false),
        }
    }

    /// Wakes all workers. A worker that misses it checks by itself within a second.
    pub(crate) fn wake(&self) {
        for waker in self.wakers.get().into_iter().flatten() {
            _ = waker.wake();
        }
    }
}

/// A message from a worker to the coordinator.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// All connections of the worker are made; holds the time that each took.
    Connected(Vec<Nanos>),
    /// The worker cannot go on, for this reason.
    Failed(String),
    /// The figures of a second that is over.
    Interval(Interval),
    Done(Box<Done>),
}

/// The result of a worker.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) worker: usize,
    pub(crate) counters: Counters,
    /// Only in the open loop.
    pub(crate) pace: Option<Pace>,
    /// With the numbers of the connections.
    pub(crate) ack_logs: Vec<(u64, AckLog)>,
    /// When sending ended.
    pub(crate) sent_until: Nanos,
    /// Connections that were open at the end.
    pub(crate) alive: usize,
    /// CPU usage at the begin and the end of the measurement.
    pub(crate) usage: (Usage, Usage),
    /// The usage of the server processes, if this worker had to measure it.
    pub(crate) served: Option<(Served, Served)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for threads in 1..6 {
            let load = Load { threads, ..Load::default() };
            for total in 0..30 {
                let shares = (0..threads).map(|number| load.share(total, number));
                assert_eq!(shares.sum::<u64>(), total);
            }
        }
    }
}
