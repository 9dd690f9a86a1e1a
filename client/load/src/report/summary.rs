//! Conversion of a run's result to its report.

use std::sync::atomic::Ordering;

use crate::drive::RunResult;
use crate::drive::clock::Nanos;
use crate::drive::figures::{Latency, add, curve, distribution, new_histogram};
use crate::drive::plan::Done;
use crate::drive::replies::{ErrorKind, ErrorKinds};
use crate::drive::usage::{Served, Server};
use crate::report::machine::machine;
use crate::report::warning::{Warning, warnings};
use crate::report::{
    Connections, Counted, EndedBy, FORMAT, LoadGenerator, Messages, OpenLoop, Report, Settings,
    Thread, Throughput, VERSION,
};

/// The report of `outcome`, without verification and thresholds.
pub(crate) fn report(
    mut outcome: RunResult,
    settings: Settings,
    run: &str,
    started: &str,
) -> Report {
    let begin = outcome.begin();
    let end = outcome
        .done
        .iter()
        .map(|done| done.sent_until.max(done.counters.replied_at));
    let measured = end.max().unwrap_or(begin).saturating_sub(begin);
    let measured_s = measured as f64 / 1e9;
    let mut errors = ErrorKinds::default();
    let mut losses = ErrorKinds::default();
    let (mut lost, mut reconnected, mut unasked, mut warmup_errors) = (0, 0, 0, 0);
    for done in &mut outcome.done {
        let counters = &mut done.counters;
        errors.merge(std::mem::take(&mut counters.errors));
        losses.merge(std::mem::take(&mut counters.losses));
        lost += counters.lost;
        reconnected += counters.reconnected;
        unasked += counters.unasked;
        warmup_errors += counters.warmup_errors;
    }
    let counts = outcome.figures.counts;
    let ended_by = ended_by(&outcome);
    let never_sent = never_sent(&outcome, ended_by);
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
        label: None,
        started: started.to_owned(),
        ended_by,
        settings,
        machine: machine(),
        measured_s,
        messages: Messages {
            sent: counts.sent,
            acknowledged: counts.acknowledged,
            errors: counts.errors,
            timeouts: counts.timeouts,
            unanswered: counts.unanswered,
            never_sent,
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
        series: Vec::new(),
        connections: Connections {
            made: outcome.connect_times.len() as u64,
            connect_ns: Latency::of(&connect_times),
            ready_s: outcome.ready_in.as_secs_f64(),
            lost,
            reconnected,
            losses: kinds(losses),
        },
        open_loop: open_loop(&outcome.done, never_sent),
        load_generator: load_generator(&outcome.done, measured, counts.acknowledged),
        server: server(&outcome.done, counts.acknowledged),
        warning_names: Vec::new(),
        warnings: Vec::new(),
        thresholds: Vec::new(),
        verification: None,
    };
    report.series = outcome.figures.finish(measured_s);
    let mut pids = outcome.plan.pids.iter().copied();
    let is_gone = |pid: &u32| Served::by(&[*pid]).is_none();
    let no_process = pids.find(|pid| report.server.is_none() && is_gone(pid));
    let no_process = no_process.map(Warning::NoProcess);
    for warning in warnings(&report).into_iter().chain(no_process) {
        report.warn(warning);
    }
    report
}

fn ended_by(outcome: &RunResult) -> EndedBy {
    if outcome.interrupted {
        return EndedBy::Interrupt;
    }
    if outcome.control.error_seen.load(Ordering::Relaxed) {
        return EndedBy::Error;
    }
    if outcome.plan.messages == Some(outcome.figures.counts.sent) {
        return EndedBy::Messages;
    }
    let end = outcome
        .plan
        .duration
        .map_or(Nanos::MAX, |d| outcome.begin().saturating_add(d));
    let is_short = |done: &Done| done.alive == 0 && done.sent_until < end;
    let left = outcome.done.iter().map(|done| done.alive).sum::<usize>();
    if left == 0 || outcome.done.iter().all(is_short) {
        return EndedBy::ConnectionsLost;
    }
    EndedBy::Duration
}

/// How many measured messages were planned and not sent. In a run that was ended by an interrupt or
/// an error, only messages planned before the end count.
fn never_sent(outcome: &RunResult, ended_by: EndedBy) -> u64 {
    let sent_until = outcome.done.iter().map(|done| done.sent_until).max();
    let planned = match (outcome.control.schedule.get(), ended_by) {
        (Some(schedule), EndedBy::Interrupt | EndedBy::Error) => {
            schedule.measured_before(Some(sent_until.unwrap_or(0)))
        }
        (Some(schedule), _) => schedule.measured_before(None),
        (None, EndedBy::Duration) => 0,
        (None, _) => outcome.plan.messages.unwrap_or(0),
    };
    planned.saturating_sub(outcome.figures.counts.sent)
}

fn open_loop(done: &[Done], never_sent: u64) -> Option<OpenLoop> {
    let mut lag = new_histogram();
    let mut held = 0;
    for done in done {
        let pace = done.pace.as_ref()?;
        add(&mut lag, &pace.lag);
        held += pace.held;
    }
    Some(OpenLoop {
        lag_ns: Latency::of(&lag),
        held,
        never_sent,
    })
}

fn server(done: &[Done], acknowledged: u64) -> Option<Server> {
    let (first, last) = done.iter().find_map(|done| done.served)?;
    Some(last.since(&first, acknowledged))
}

fn load_generator(done: &[Done], measured: Nanos, acknowledged: u64) -> LoadGenerator {
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
    LoadGenerator {
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
