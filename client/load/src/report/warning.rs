//! Warnings about the figures of a run.

use std::fmt;

use crate::report::Report;
use common::program::named;
use common::units::{count, latency, plural};

/// A thread that is busy for a larger share of the time is out of CPU.
const BUSY: f64 = 0.95;

/// If a thread is on a run queue for a larger share of the time, its figures partly measure the
/// machine.
const WAITED: f64 = 0.1;

/// Maximum difference between planned and actual send time at p99, in nanoseconds.
const LATE: u64 = 1_000_000;

/// A reason to doubt the figures of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Warning {
    NothingAcknowledged,
    /// The p99 of how late messages were sent, in nanoseconds.
    SentLate(u64),
    /// Messages of the open loop that were planned and not sent.
    RateNotReached(u64),
    /// Messages of `-messages` that were not sent.
    FellShort(u64),
    /// Messages that waited for a free connection.
    Held(u64),
    /// The share of time that a thread was on a CPU, and how many threads to try.
    OutOfCpu(f64, Option<usize>),
    /// The share of time that a thread waited for a CPU.
    ShortOfCpu(f64),
    /// Connections lost, connections made.
    Lost(u64, u64),
    Unasked(u64),
    WarmupErrors(u64),
    /// The process of `-pid` does not exist.
    NoProcess(u32),
    VerificationCutShort,
}

impl Warning {
    /// A stable name, for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NothingAcknowledged => "nothing-acknowledged",
            Self::SentLate(_) => "sent-late",
            Self::RateNotReached(_) => "rate-not-reached",
            Self::FellShort(_) => "fell-short",
            Self::Held(_) => "held",
            Self::OutOfCpu(..) => "out-of-cpu",
            Self::ShortOfCpu(_) => "short-of-cpu",
            Self::Lost(..) => "connections-lost",
            Self::Unasked(_) => "unasked-replies",
            Self::WarmupErrors(_) => "warmup-errors",
            Self::NoProcess(_) => "no-process",
            Self::VerificationCutShort => "verification-cut-short",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NothingAcknowledged => {
                f.write_str("no message was acknowledged: there is nothing to measure")
            }
            Self::SentLate(p99) => write!(
                f,
                "the load generator was late: it sent 1 % of the messages {} or more after the planned \
                 time, which their latency includes",
                latency(p99 as f64)
            ),
            Self::RateNotReached(n) => write!(
                f,
                "the rate was not reached: when the run ended, {} planned messages had not been \
                 sent; they are in no latency",
                count(n)
            ),
            Self::FellShort(n) => write!(
                f,
                "the run fell short: when it ended, {} of its messages had not been sent",
                count(n)
            ),
            Self::Held(n) => write!(
                f,
                "{} messages waited for a free connection, which their latency includes; if the \
                 server is not to blame, give more -connections or -pipeline",
                count(n)
            ),
            Self::OutOfCpu(busy, threads) => {
                write!(
                    f,
                    "the load generator was out of CPU: a thread was busy {:.0} % of the time; the \
                     server may be faster than this",
                    busy * 100.0
                )?;
                threads.map_or(Ok(()), |threads| write!(f, ", try -nt {threads}"))
            }
            Self::ShortOfCpu(waited) => write!(
                f,
                "the machine was short of CPU: a worker thread waited {:.0} % of the \
                 time for its turn, which latencies include",
                waited * 100.0
            ),
            Self::Lost(lost, made) => write!(
                f,
                "{} of {} lost before the end",
                count(lost),
                plural(made, "connection")
            ),
            Self::Unasked(n) => write!(
                f,
                "{} that no message was waiting for: are -reply-lines, -hello-lines and -ignore \
                 right?",
                match n {
                    1 => "a reply came".to_owned(),
                    n => format!("{} replies came", count(n)),
                }
            ),
            Self::WarmupErrors(n) => write!(
                f,
                "{} error replies during the warm-up are in no figure",
                count(n)
            ),
            Self::VerificationCutShort => write!(
                f,
                "the verification was cut short by Ctrl-C: the log was not read to its end; -save \
                 keeps a run for '{}'",
                named("client verify")
            ),
            Self::NoProcess(pid) => {
                write!(f, "there is no process {pid} on this machine to look at")
            }
        }
    }
}

/// The warnings that follow from the figures of a report.
pub(crate) fn warnings(report: &Report) -> Vec<Warning> {
    let messages = &report.messages;
    let open = report.open_loop.as_ref();
    let lag = open.and_then(|open| open.lag_ns.as_ref());
    let held = open.map_or(0, |open| open.held);
    let threads = &report.load_generator.threads;
    let busiest = threads.iter().map(|thread| thread.busy).fold(0.0, f64::max);
    let waited = threads.iter().filter_map(|thread| thread.waited);
    let waited = waited.fold(0.0, f64::max);
    // Leave one CPU for the server.
    let more = (threads.len() as u64 + 1 < report.machine.cpus).then_some(threads.len() + 1);
    let connections = &report.connections;
    let all = [
        (messages.acknowledged == 0).then_some(Warning::NothingAcknowledged),
        lag.filter(|lag| lag.p99 > LATE)
            .map(|lag| Warning::SentLate(lag.p99)),
        (messages.never_sent > 0).then_some(match open {
            Some(_) => Warning::RateNotReached(messages.never_sent),
            None => Warning::FellShort(messages.never_sent),
        }),
        (held * 100 > messages.sent).then_some(Warning::Held(held)),
        (busiest > BUSY).then_some(Warning::OutOfCpu(busiest, more)),
        (waited > WAITED).then_some(Warning::ShortOfCpu(waited)),
        (connections.lost > 0).then_some(Warning::Lost(connections.lost, connections.made)),
        (messages.unasked_replies > 0).then_some(Warning::Unasked(messages.unasked_replies)),
        (messages.warmup_errors > 0).then_some(Warning::WarmupErrors(messages.warmup_errors)),
    ];
    all.into_iter().flatten().collect()
}
