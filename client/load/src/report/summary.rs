//! Makes the report of a run that is over, and says what is doubtful about its figures.

use crate::commands::options::Options;
use crate::drive::Outcome;
use crate::drive::clock::Nanos;
use crate::drive::figures::{Latency, add, curve, distribution, new_histogram};
use crate::drive::plan::Done;
use crate::drive::replies::{ErrorKind, ErrorKinds};
use crate::report::machine::machine;
use crate::report::{
    Connections, Counted, EndedBy, FORMAT, Instrument, Loop, Messages, OpenLoop, Report, Server,
    Settings, Thread, Throughput, VERSION,
};
use crate::units::{count, latency, plural};

/// A thread that used more of its time had hardly any to spare.
const BUSY: f64 = 0.95;

/// More of its time on a run queue, and a thread's figures are partly the machine's.
const WAITED: f64 = 0.1;

/// Planned and real send times should not differ by more, at p99.
const LATE: u64 = 1_000_000;

/// The report of `outcome`, its verification and thresholds still to be added.
pub(crate) fn report(options: &Options, run: &str, started: &str, mut outcome: Outcome) -> Report {
    let begin = outcome.begin();
    let end = outcome
        .done
        .iter()
        .map(|done| done.sent_until.max(done.tally.replied_at));
    let measured = end.max().unwrap_or(begin).saturating_sub(begin);
    let measured_s = measured as f64 / 1e9;
    let mut errors = ErrorKinds::default();
    let mut losses = ErrorKinds::default();
    let (mut lost, mut unasked, mut warmup_errors) = (0, 0, 0);
    for done in &mut outcome.done {
        let tally = &mut done.tally;
        outcome.figures.add_rest(tally.roll());
        errors.merge(std::mem::take(&mut tally.errors));
        losses.merge(std::mem::take(&mut tally.losses));
        lost += tally.lost;
        unasked += tally.unasked;
        warmup_errors += tally.warmup_errors;
    }
    let series = outcome.figures.finish(measured_s);
    let counts = outcome.figures.counts;
    let per_second = |n: u64| {
        if measured > 0 {
            n as f64 / measured_s
        } else {
            0.0
        }
    };
    let mut connect_times = new_histogram();
    for &took in &outcome.connect_times {
        connect_times.saturating_record(took);
    }
    let mut report = Report {
        format: FORMAT.to_owned(),
        version: VERSION,
        program: concat!("client load ", env!("CARGO_PKG_VERSION")).to_owned(),
        run: run.to_owned(),
        label: options.label.clone(),
        started: started.to_owned(),
        ended_by: ended_by(&outcome),
        settings: settings(options, &outcome),
        machine: machine(),
        measured_s,
        messages: Messages {
            sent: counts.sent,
            acknowledged: counts.acknowledged,
            errors: counts.errors,
            timeouts: counts.timeouts,
            unanswered: counts.unanswered,
            unasked_replies: unasked,
            warmup_errors,
        },
        errors: kinds(errors),
        throughput: Throughput {
            messages_per_s: per_second(counts.acknowledged),
            sent_bytes: counts.sent_bytes,
            received_bytes: counts.received_bytes,
            sent_bytes_per_s: per_second(counts.sent_bytes),
            received_bytes_per_s: per_second(counts.received_bytes),
        },
        latency_ns: Latency::of(&outcome.figures.latency),
        curve: curve(&outcome.figures.latency),
        distribution: distribution(&outcome.figures.latency),
        series,
        connections: Connections {
            made: outcome.connect_times.len() as u64,
            connect_ns: Latency::of(&connect_times),
            ready_s: outcome.ready_in.as_secs_f64(),
            lost,
            losses: kinds(losses),
        },
        open_loop: open_loop(&outcome.done),
        instrument: instrument(&outcome.done, measured, counts.acknowledged),
        server: server(&outcome.done, counts.acknowledged),
        warnings: Vec::new(),
        thresholds: Vec::new(),
        verification: None,
    };
    report.warnings = warnings(&report);
    if let Some(pid) = options.pid.filter(|_| report.server.is_none()) {
        let warning = format!("there is no process {pid} on this machine to look at");
        report.warnings.push(warning);
    }
    report
}

fn ended_by(outcome: &Outcome) -> EndedBy {
    if outcome.interrupted {
        return EndedBy::Interrupt;
    }
    if outcome.error_seen {
        return EndedBy::Error;
    }
    let has_quota_left = outcome.done.iter().any(|done| done.quota_left > 0);
    if outcome.plan.messages.is_some() && !has_quota_left {
        return EndedBy::Messages;
    }
    let end = outcome
        .plan
        .duration
        .map_or(Nanos::MAX, |d| outcome.begin() + d);
    if outcome.done.iter().all(|done| done.sent_until < end) {
        return EndedBy::ConnectionsLost;
    }
    EndedBy::Duration
}

fn settings(options: &Options, outcome: &Outcome) -> Settings {
    Settings {
        host: options.host.clone(),
        port: options.port,
        address: outcome.plan.address.to_string(),
        kind: match options.rate {
            Some(_) => Loop::Open,
            None => Loop::Closed,
        },
        connections: options.connections as u64,
        threads: options.threads as u64,
        pipeline: options.pipeline,
        rate: options.rate,
        duration_s: options.duration.map(|d| d.as_secs_f64()),
        messages: options.messages,
        warmup_s: options.warmup.as_secs_f64(),
        timeout_s: options.timeout.as_secs_f64(),
        connect_rate: options.connect_rate,
        message: options.message.typed.clone(),
        reply: options.reply.clone(),
        reply_lines: options.reply_lines,
        ignore: options.ignore.clone(),
        hello: options.hello.as_ref().map(|hello| hello.typed.clone()),
        hello_lines: options.greeting(),
        on_error: if options.stop_on_error {
            "stop"
        } else {
            "count"
        }
        .to_owned(),
    }
}

fn open_loop(done: &[Done]) -> Option<OpenLoop> {
    let mut lag = new_histogram();
    let mut held = 0;
    for done in done {
        let schedule = done.schedule.as_ref()?;
        add(&mut lag, &schedule.lag);
        held += schedule.held;
    }
    Some(OpenLoop {
        lag_ns: Latency::of(&lag),
        held,
        never_sent: done.iter().map(|done| done.never_sent).sum(),
    })
}

fn server(done: &[Done], acknowledged: u64) -> Option<Server> {
    let (first, last) = done.iter().find_map(|done| done.served)?;
    Some(last.since(&first, acknowledged))
}

fn instrument(done: &[Done], measured: Nanos, acknowledged: u64) -> Instrument {
    let first = done
        .iter()
        .map(|done| done.usage.0)
        .min_by_key(|usage| usage.process);
    let last = done
        .iter()
        .map(|done| done.usage.1)
        .max_by_key(|usage| usage.process);
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let cpu = (last.process - first.process) as f64;
    let ticks = first.ticks.zip(last.ticks);
    let user_share = ticks.map_or(0.5, |(first, last)| {
        let (user, system) = (last.0 - first.0, last.1 - first.1);
        user as f64 / (user + system).max(1) as f64
    });
    let share = |ns: u64| ns as f64 / measured.max(1) as f64;
    let threads = done.iter().map(|done| {
        let (first, last) = done.usage;
        let waited = first.waited.zip(last.waited);
        Thread {
            busy: share(last.thread - first.thread).min(1.0),
            waited: waited.map(|(first, last)| share(last - first).min(1.0)),
        }
    });
    Instrument {
        cpu_s: cpu / 1e9,
        user_s: cpu / 1e9 * user_share,
        system_s: cpu / 1e9 * (1.0 - user_share),
        cpu_ns_per_message: (acknowledged > 0).then(|| cpu / acknowledged as f64),
        threads: threads.collect(),
    }
}

fn kinds(kinds: ErrorKinds) -> Vec<Counted> {
    let kinds = kinds.into_sorted().into_iter();
    let kind = |ErrorKind { kind, count, first }| Counted { kind, count, first };
    kinds.map(kind).collect()
}

/// What a reader of the figures has to know before trusting them.
fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |text: String| warnings.push(text);
    if report.messages.acknowledged == 0 {
        warn("no message was acknowledged: there is nothing to measure".to_owned());
    }
    let open = report.open_loop.as_ref();
    let lag = open.and_then(|open| open.lag_ns.as_ref());
    if let Some(lag) = lag.filter(|lag| lag.p99 > LATE) {
        warn(format!(
            "the instrument was late: it sent 1 % of the messages {} or more after the planned \
             time, which their latency includes",
            latency(lag.p99 as f64)
        ));
    }
    if let Some(open) = open.filter(|open| open.never_sent > 0) {
        warn(format!(
            "the rate was not reached: when time was up, {} planned messages had not been sent; they \
             are in no latency",
            count(open.never_sent)
        ));
    }
    if let Some(open) = open.filter(|open| open.held * 100 > report.messages.sent) {
        warn(format!(
            "{} messages waited for a free connection, which their latency includes; if the \
             server is not to blame, give more -connections or -pipeline",
            count(open.held)
        ));
    }
    let threads = &report.instrument.threads;
    let busiest = threads.iter().map(|thread| thread.busy).fold(0.0, f64::max);
    if busiest > BUSY {
        // The server needs a CPU, too.
        let more = if threads.len() as u64 + 1 < report.machine.cpus {
            format!(", try -nt {}", threads.len() + 1)
        } else {
            String::new()
        };
        warn(format!(
            "the instrument was out of CPU: a thread was busy {:.0} % of the time; the server may \
             be faster than this{more}",
            busiest * 100.0
        ));
    }
    let waited = threads
        .iter()
        .filter_map(|thread| thread.waited)
        .fold(0.0, f64::max);
    if waited > WAITED {
        warn(format!(
            "the machine was short of CPU: a thread of the instrument waited {:.0} % of the time \
             for its turn, which latencies include",
            waited * 100.0
        ));
    }
    if report.connections.lost > 0 {
        warn(format!(
            "{} of {} lost before the end",
            count(report.connections.lost),
            plural(report.connections.made, "connection")
        ));
    }
    if report.messages.unasked_replies > 0 {
        warn(format!(
            "{} replies came that no message was waiting for: are -reply-lines, -hello-lines and \
             -ignore right?",
            count(report.messages.unasked_replies)
        ));
    }
    if report.messages.warmup_errors > 0 {
        warn(format!(
            "{} error replies during the warm-up are in no figure",
            count(report.messages.warmup_errors)
        ));
    }
    warnings
}
