//! The page's tables: a row for each figure or setting, a column for each run.

use std::fmt::Write as _;

use super::escaped;
use crate::drive::figures::Latency;
use crate::report::{Counted, EndedBy, Loop, Report};
use crate::show::text::{self, percent};
use crate::verify::Verification;
use common::units::{byte_rate, count, latency, rate, seconds};

/// A row: its name and what a run has there; nothing where that has no meaning for it.
type Row = (&'static str, fn(&Report) -> Option<String>);

pub(crate) fn tables(html: &mut String, runs: &[Report]) {
    verdicts(html, runs);
    // One run's tables are narrow enough to stand side by side.
    let class = if runs.len() == 1 { "narrow" } else { "" };
    _ = writeln!(html, "<div class=\"{class}\">");
    table(html, "Figures", runs, FIGURES);
    table(html, "Settings", runs, SETTINGS);
    table(html, "Instrument", runs, INSTRUMENT);
    table(html, "Verification", runs, VERIFICATION);
    html.push_str("</div>\n");
}

/// Rows and tables that no run has anything for are left out.
fn table(html: &mut String, caption: &str, runs: &[Report], rows: &[Row]) {
    let filled: Vec<(&str, Vec<Option<String>>)> = rows
        .iter()
        .map(|(name, value)| (*name, runs.iter().map(value).collect()))
        .filter(|(_, values): &(_, Vec<_>)| values.iter().any(Option::is_some))
        .collect();
    if filled.is_empty() {
        return;
    }
    _ = writeln!(
        html,
        "<section>\n<h2>{caption}</h2>\n<div class=\"wide\"><table>"
    );
    if runs.len() > 1 {
        html.push_str("<tr><th></th>");
        for run in runs {
            _ = write!(html, "<th>{}</th>", escaped(run.name()));
        }
        html.push_str("</tr>\n");
    }
    for (name, values) in filled {
        _ = write!(html, "<tr><th>{name}</th>");
        for value in values {
            let value = value.map_or("–".to_owned(), |value| escaped(&value));
            _ = write!(html, "<td>{value}</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n</section>\n");
}

fn verdicts(html: &mut String, runs: &[Report]) {
    if runs.iter().all(|run| run.thresholds.is_empty()) {
        return;
    }
    html.push_str("<h2>Thresholds</h2>\n<ul>\n");
    for run in runs {
        for verdict in &run.thresholds {
            let run = match runs {
                [_] => String::new(),
                _ => format!("{}: ", run.name()),
            };
            let text = format!("{run}{}", text::verdict(verdict).trim());
            let class = if verdict.failed { "failed" } else { "passed" };
            _ = writeln!(html, "<li class=\"{class}\">{}</li>", escaped(&text));
        }
    }
    html.push_str("</ul>\n");
}

const FIGURES: &[Row] = &[
    ("sent", |run| Some(count(run.messages.sent))),
    ("acknowledged", |run| {
        let messages = &run.messages;
        let share = percent(messages.acknowledged, messages.sent);
        Some(format!("{} ({share} %)", count(messages.acknowledged)))
    }),
    ("errors", |run| Some(count(run.messages.errors))),
    ("error replies", |run| counted(&run.errors)),
    ("timeouts", |run| Some(count(run.messages.timeouts))),
    ("unanswered", |run| Some(count(run.messages.unanswered))),
    ("messages/s", |run| {
        Some(rate(run.throughput.messages_per_s))
    }),
    ("out", |run| {
        Some(byte_rate(run.throughput.sent_bytes_per_s))
    }),
    ("in", |run| {
        Some(byte_rate(run.throughput.received_bytes_per_s))
    }),
    ("latency min", |run| time(run, |l| l.min)),
    ("mean", |run| time(run, |l| l.mean)),
    ("p50", |run| time(run, |l| l.p50)),
    ("p90", |run| time(run, |l| l.p90)),
    ("p99", |run| time(run, |l| l.p99)),
    ("p99.9", |run| time(run, |l| l.p99_9)),
    ("p99.99", |run| time(run, |l| l.p99_99)),
    ("max", |run| time(run, |l| l.max)),
];

const VERIFICATION: &[Row] = &[
    ("verdict", |run| {
        let found = run.verification.as_ref()?;
        Some(if found.passed { "passed" } else { "FAILED" }.to_owned())
    }),
    ("log", |run| {
        Some(run.verification.as_ref()?.logs.join(", "))
    }),
    ("records", |run| found(run, |found| found.records)),
    ("acknowledged", |run| found(run, |found| found.acknowledged)),
    ("missing", |run| found(run, |found| found.missing)),
    ("repeated", |run| found(run, |found| found.repeated)),
    ("out of order", |run| found(run, |found| found.out_of_order)),
    ("mangled", |run| found(run, |found| found.mangled)),
    ("rejected", |run| found(run, |found| found.rejected)),
    ("of these in the log", |run| {
        found(run, |found| found.rejected_but_logged)
    }),
    ("unanswered", |run| found(run, |found| found.unanswered)),
    ("of these in the log", |run| {
        found(run, |found| found.unanswered_and_logged)
    }),
];

const INSTRUMENT: &[Row] = &[
    ("connections made in", |run| {
        Some(seconds(run.connections.ready_s))
    }),
    ("each, p50", |run| {
        Some(latency(run.connections.connect_ns.as_ref()?.p50 as f64))
    }),
    ("each, max", |run| {
        Some(latency(run.connections.connect_ns.as_ref()?.max as f64))
    }),
    ("connections lost", |run| Some(count(run.connections.lost))),
    ("why", |run| counted(&run.connections.losses)),
    ("sent late, p99", |run| {
        let lag = run.open_loop.as_ref()?.lag_ns.as_ref()?;
        Some(latency(lag.p99 as f64))
    }),
    ("held back", |run| Some(count(run.open_loop.as_ref()?.held))),
    ("never sent", |run| {
        Some(count(run.open_loop.as_ref()?.never_sent))
    }),
    ("CPU time", |run| Some(seconds(run.instrument.cpu_s))),
    ("per message", |run| {
        run.instrument.cpu_ns_per_message.map(latency)
    }),
    ("threads busy", |run| {
        let threads = run.instrument.threads.iter();
        let busy = threads.map(|thread| format!("{:.0} %", thread.busy * 100.0));
        Some(busy.collect::<Vec<_>>().join(", "))
    }),
    ("system", |run| Some(run.machine.system.clone())),
    ("CPUs", |run| {
        Some(format!("{} × {}", run.machine.cpus, run.machine.cpu))
    }),
    ("memory", |run| {
        Some(format!("{:.1} GB", run.machine.memory_bytes as f64 / 1e9))
    }),
];

const SETTINGS: &[Row] = &[
    ("started", |run| Some(run.started.clone())),
    ("measured", |run| Some(seconds(run.measured_s))),
    ("ended by", |run| {
        let ended_by = match run.ended_by {
            EndedBy::Duration => "time",
            EndedBy::Messages => "number of messages",
            EndedBy::Interrupt => "interrupt",
            EndedBy::Error => "error reply",
            EndedBy::ConnectionsLost => "loss of all connections",
        };
        Some(ended_by.to_owned())
    }),
    ("server", |run| {
        let settings = &run.settings;
        Some(format!(
            "{} ({}:{})",
            settings.address, settings.host, settings.port
        ))
    }),
    ("loop", |run| {
        let kind = match run.settings.kind {
            Loop::Closed => "closed: latency from sending",
            Loop::Open => "open: latency from the planned time",
        };
        Some(kind.to_owned())
    }),
    ("planned messages/s", |run| run.settings.rate.map(rate)),
    ("connections", |run| Some(count(run.settings.connections))),
    ("unanswered each", |run| {
        Some(count(u64::from(run.settings.pipeline)))
    }),
    ("threads", |run| Some(count(run.settings.threads))),
    ("duration", |run| run.settings.duration_s.map(seconds)),
    ("messages", |run| run.settings.messages.map(count)),
    ("warm-up", |run| Some(seconds(run.settings.warmup_s))),
    ("message", |run| Some(run.settings.message.clone())),
    ("good reply", |run| Some(run.settings.reply.clone())),
    ("hello", |run| run.settings.hello.clone()),
    ("run", |run| Some(run.run.clone())),
    ("measured with", |run| Some(run.program.clone())),
];

fn time(run: &Report, pick: fn(&Latency) -> u64) -> Option<String> {
    run.latency_ns.as_ref().map(|l| latency(pick(l) as f64))
}

fn found(run: &Report, pick: fn(&Verification) -> u64) -> Option<String> {
    run.verification.as_ref().map(|found| count(pick(found)))
}

fn counted(kinds: &[Counted]) -> Option<String> {
    let text = |kind: &Counted| format!("{} × {}", count(kind.count), kind.first);
    (!kinds.is_empty()).then(|| kinds.iter().map(text).collect::<Vec<_>>().join("; "))
}
