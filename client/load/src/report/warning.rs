//! Warnings about the figures of a run.

use common::program::named;
use common::units::{count, latency, plural};

use super::data::Report;

/// A thread that is busy for a larger share of the time is out of CPU.
const BUSY: f64 = 0.95;

/// If a thread is on a run queue for a larger share of the time, its figures partly measure the
/// machine.
const WAITED: f64 = 0.1;

/// Maximum difference between planned and actual send time at p99, in nanoseconds.
const LATE: u64 = 1_000_000;

/// A reason to doubt the figures of a run.
#[derive(Clone, Debug)]
pub(crate) struct Warning {
    /// A stable name, for programs.
    name: &'static str,
    text: String,
}

impl Warning {
    fn new(name: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { name, text }
    }

    /// The process of `-pid` does not exist.
    pub(crate) fn no_process(pid: u32) -> Self {
        let text = format!("there is no process {pid} on this machine to look at");
        Self::new("no-process", text)
    }

    pub(crate) fn verification_cut_short() -> Self {
        let verify = named("client verify");
        let text = format!(
            "the verification was cut short by Ctrl-C: the log was not read to its end; -save \
             keeps a run for '{verify}'"
        );
        Self::new("verification-cut-short", text)
    }
}

impl Report {
    /// Adds a warning.
    pub(crate) fn warn(&mut self, warning: Warning) {
        self.warning_names.push(warning.name.to_owned());
        self.warnings.push(warning.text);
    }
}

/// The warnings that follow from the figures of a report.
pub(crate) fn warnings(report: &Report) -> Vec<Warning> {
    let sending = sending(report).into_iter();
    let all = sending.chain(cpu(report)).chain(replies(report));
    all.flatten().collect()
}

/// Messages that were sent late or never.
fn sending(report: &Report) -> [Option<Warning>; 5] {
    let messages = &report.messages;
    let open = report.open_loop.as_ref();
    let lag = open.and_then(|open| open.lag_ns.as_ref());
    let held = open.map_or(0, |open| open.held);
    let never_sent = count(messages.never_sent);
    [
        (messages.acknowledged == 0).then(|| {
            let text = "no message was acknowledged: there is nothing to measure";
            Warning::new("nothing-acknowledged", text)
        }),
        lag.filter(|lag| lag.p99 > LATE).map(|lag| {
            let text = format!(
                "the load generator was late: it sent 1 % of the messages {} or more after the \
                 planned time, which their latency includes",
                latency(lag.p99 as f64)
            );
            Warning::new("sent-late", text)
        }),
        (messages.never_sent > 0 && open.is_some()).then(|| {
            let text = format!(
                "the rate was not reached: when the run ended, {never_sent} planned messages had \
                 not been sent; they are in no latency"
            );
            Warning::new("rate-not-reached", text)
        }),
        (messages.never_sent > 0 && open.is_none()).then(|| {
            let text = format!(
                "the run fell short: when it ended, {never_sent} of its messages had not been sent"
            );
            Warning::new("fell-short", text)
        }),
        (held * 100 > messages.sent).then(|| {
            let text = format!(
                "{} messages waited for a free connection, which their latency includes; if the \
                 server is not to blame, give more -connections or -pipeline",
                count(held)
            );
            Warning::new("held", text)
        }),
    ]
}

/// Too little CPU for the load generator.
fn cpu(report: &Report) -> [Option<Warning>; 2] {
    let threads = &report.load_generator.threads;
    let busiest = threads.iter().map(|thread| thread.busy).fold(0.0, f64::max);
    let waited = threads.iter().filter_map(|thread| thread.waited);
    let waited = waited.fold(0.0, f64::max);
    // Leave one CPU for the server.
    let more = (threads.len() as u64 + 1 < report.machine.cpus).then_some(threads.len() + 1);
    [
        (busiest > BUSY).then(|| {
            let more = more.map_or(String::new(), |threads| format!(", try -nt {threads}"));
            let text = format!(
                "the load generator was out of CPU: a thread was busy {:.0} % of the time; the \
                 server may be faster than this{more}",
                busiest * 100.0
            );
            Warning::new("out-of-cpu", text)
        }),
        (waited > WAITED).then(|| {
            let text = format!(
                "the machine was short of CPU: a worker thread waited {:.0} % of the time for its \
                 turn, which latencies include",
                waited * 100.0
            );
            Warning::new("short-of-cpu", text)
        }),
    ]
}

/// Lost connections, and replies that are in no figure.
fn replies(report: &Report) -> [Option<Warning>; 3] {
    let (connections, messages) = (&report.connections, &report.messages);
    [
        (connections.lost > 0).then(|| {
            let made = plural(connections.made, "connection");
            let text = format!("{} of {made} lost before the end", count(connections.lost));
            Warning::new("connections-lost", text)
        }),
        (messages.unasked_replies > 0).then(|| {
            let came = match messages.unasked_replies {
                1 => "a reply came".to_owned(),
                n => format!("{} replies came", count(n)),
            };
            let text = format!(
                "{came} that no message was waiting for: are -reply-lines, -hello-lines and \
                 -ignore right?"
            );
            Warning::new("unasked-replies", text)
        }),
        (messages.warmup_errors > 0).then(|| {
            let errors = count(messages.warmup_errors);
            let text = format!("{errors} error replies during the warm-up are in no figure");
            Warning::new("warmup-errors", text)
        }),
    ]
}
