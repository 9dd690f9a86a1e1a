//! Conversion of a run's result to its report.

use std::sync::atomic::Ordering;

use super::data::{
    Connections, EndedBy, FORMAT, LoadGenerator, Messages, OpenLoop, Report, Settings, Thread,
    Throughput, VERSION,
};
use super::machine::machine;
use super::warning::{Warning, warnings};
use crate::drive::RunResult;
use crate::drive::clock::Nanos;
use crate::drive::counters::Counters;
use crate::drive::figures::{Counts, Latency, add, curve, distribution, new_histogram};
use crate::drive::plan::Done;
use crate::drive::replies::{ErrorKind, ErrorKinds};
use crate::drive::usage::{Cpu, Served, Server};

/// The report of `outcome`, without verification and thresholds.
pub(crate) fn report(
    mut outcome: RunResult,
    settings: Settings,
    run: &str,
    started: &str,
) -> Report {
    let measured = measured(&outcome);
    let measured_s = measured as f64 / 1e9;
    let ended_by = ended_by(&outcome);
    let messages = messages(&outcome, ended_by);
    let acknowledged = messages.acknowledged;
    let (open_loop, server) =
        (open_loop(&outcome.done, messages.never_sent), server(&outcome.done, acknowledged));
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
        messages,
        errors: kinds(&mut outcome.done, |counters| &mut counters.errors),
        throughput: throughput(&outcome.figures.counts, measured),
        latency_ns: Latency::of(&outcome.figures.latency),
        curve: curve(&outcome.figures.latency),
        distribution: distribution(&outcome.figures.latency),
        connections: connections(&mut outcome),
        open_loop,
        load_generator: load_generator(&outcome.done, measured, acknowledged),
        server,
        series: outcome.figures.finish(measured_s),
        warning_names: Vec::new(),
        warnings: Vec::new(),
        thresholds: Vec::new(),
        verification: None,
    };
    let is_gone = |pid: &&u32| report.server.is_none() && Served::by(&[**pid]).is_none();
    let no_process = outcome.plan.load.pids.iter().find(is_gone);
    let no_process = no_process.map(|pid| Warning::no_process(*pid));
    for warning in warnings(&report).into_iter().chain(no_process) {
        report.warn(warning);
    }
    report
}

/// From the end of the warm-up to the last reply or the end of sending.
fn measured(outcome: &RunResult) -> Nanos {
    let begin = outcome.begin();
    let ends = outcome.done.iter();
    let ends = ends.map(|done| done.sent_until.max(done.counters.replied_at));
    ends.max().unwrap_or(begin).saturating_sub(begin)
}

fn messages(outcome: &RunResult, ended_by: EndedBy) -> Messages {
    let counts = &outcome.figures.counts;
    let sum = |pick: fn(&Counters) -> u64| outcome.done.iter().map(|d| pick(&d.counters)).sum();
    Messages {
        sent: counts.sent,
        acknowledged: counts.acknowledged,
        errors: counts.errors,
        timeouts: counts.timeouts,
        unanswered: counts.unanswered,
        never_sent: never_sent(outcome, ended_by),
        unasked_replies: sum(|counters| counters.unasked),
        warmup_errors: sum(|counters| counters.warmup_errors),
    }
}

fn throughput(counts: &Counts, measured: Nanos) -> Throughput {
    let per_second = |n: u64| match measured {
        0 => 0.0,
        measured => n as f64 / (measured as f64 / 1e9),
    };
    Throughput {
        messages_per_s: per_second(counts.acknowledged),
        sent_bytes: counts.sent_bytes,
        received_bytes: counts.received_bytes,
        sent_bytes_per_s: per_second(counts.sent_bytes),
        received_bytes_per_s: per_second(counts.received_bytes),
    }
}

fn connections(outcome: &mut RunResult) -> Connections {
    let mut connect_times = new_histogram();
    for &took in &outcome.connect_times {
        connect_times.saturating_record(took);
    }
    let sum = |pick: fn(&Counters) -> u64| outcome.done.iter().map(|d| pick(&d.counters)).sum();
    Connections {
        made: outcome.connect_times.len() as u64,
        connect_ns: Latency::of(&connect_times),
        ready_s: outcome.ready_in.as_secs_f64(),
        lost: sum(|counters| counters.lost),
        reconnected: sum(|counters| counters.reconnected),
        losses: kinds(&mut outcome.done, |counters| &mut counters.losses),
    }
}

/// Takes the errors of all workers.
fn kinds(done: &mut [Done], pick: fn(&mut Counters) -> &mut ErrorKinds) -> Vec<ErrorKind> {
    let mut all = ErrorKinds::default();
    for done in done {
        all.merge(std::mem::take(pick(&mut done.counters)));
    }
    all.into_sorted()
}

fn ended_by(outcome: &RunResult) -> EndedBy {
    if outcome.interrupted {
        return EndedBy::Interrupt;
    }
    if outcome.control.error_seen.load(Ordering::Relaxed) {
        return EndedBy::Error;
    }
    if outcome.plan.load.messages == Some(outcome.figures.counts.sent) {
        return EndedBy::Messages;
    }
    let end = outcome.plan.load.duration.map_or(Nanos::MAX, |d| outcome.begin().saturating_add(d));
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
        (None, _) => outcome.plan.load.messages.unwrap_or(0),
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
    Some(OpenLoop { lag_ns: Latency::of(&lag), held, never_sent })
}

fn server(done: &[Done], acknowledged: u64) -> Option<Server> {
    let (first, last) = done.iter().find_map(|done| done.served)?;
    Some(last.since(&first, acknowledged))
}

fn load_generator(done: &[Done], measured: Nanos, acknowledged: u64) -> LoadGenerator {
    let first = done.iter().map(|done| done.usage.0).min_by_key(|usage| usage.process);
    let last = done.iter().map(|done| done.usage.1).max_by_key(|usage| usage.process);
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
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
        cpu: Cpu::new(last.process - first.process, first.ticks.zip(last.ticks), acknowledged),
        threads: threads.collect(),
    }
}
