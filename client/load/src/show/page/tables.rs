//! Tables of the page: a row for each figure or setting, a column for each run.

use std::fmt::Write as _;

use crate::drive::figures::Latency;
use crate::report::{Counted, EndedBy, Loop, Report};
use crate::show::text::{self, percent};
use crate::verify::Verification;
use common::html::escaped;
use common::units::{byte_rate, count, latency, rate, seconds};

/// A row: its name and its value for a run.
type Row = (&'static str, Value);

/// The value of a run in a row. `None` if it does not apply to the run.
enum Value {
    Text(fn(&Report) -> Option<String>),
    /// A number, by which runs are compared, and its format.
    Number(fn(&Report) -> Option<f64>, fn(f64) -> String),
}

use Value::{Number, Text};

impl Value {
    fn text(&self, run: &Report) -> Option<String> {
        match self {
            Text(text) => text(run),
            Number(number, show) => number(run).map(show),
        }
    }

    /// The ratio of this run's number to the first run's.
    fn ratio(&self, first: &Report, run: &Report) -> Option<String> {
        let Number(number, _) = self else {
            return None;
        };
        let ratio = number(run)? / number(first)?;
        ratio.is_finite().then(|| format!("× {ratio:.2}"))
    }
}

pub(crate) fn tables(html: &mut String, runs: &[Report]) {
    verdicts(html, runs);
    // The tables of one run are narrow enough to be side by side.
    let class = if runs.len() == 1 { "narrow" } else { "" };
    _ = writeln!(html, "<div class=\"{class}\">");
    table(html, "Figures", runs, FIGURES);
    table(html, "Settings", runs, SETTINGS);
    table(html, "Load generator", runs, LOAD_GENERATOR);
    table(html, "Verification", runs, VERIFICATION);
    html.push_str("</div>\n");
}

/// Rows and tables without any value are left out. Later runs have an extra column with the ratio
/// to the first run.
fn table(html: &mut String, caption: &str, runs: &[Report], rows: &[Row]) {
    let is_filled = |row: &&Row| runs.iter().any(|run| row.1.text(run).is_some());
    let filled: Vec<_> = rows.iter().filter(is_filled).collect();
    let Some((first, later)) = runs.split_first().filter(|_| !filled.is_empty()) else {
        return;
    };
    let has_ratio = |run: &Report| filled.iter().any(|row| row.1.ratio(first, run).is_some());
    _ = writeln!(
        html,
        "<section>\n<h2>{caption}</h2>\n<div class=\"wide\"><table aria-label=\"{caption}\">"
    );
    if !later.is_empty() {
        _ = write!(
            html,
            "<tr><td></td><th scope=\"col\">{}</th>",
            escaped(first.name())
        );
        for run in later {
            _ = write!(html, "<th scope=\"col\">{}</th>", escaped(run.name()));
            if has_ratio(run) {
                html.push_str("<th scope=\"col\">÷ first</th>");
            }
        }
        html.push_str("</tr>\n");
    }
    for (name, value) in &filled {
        _ = write!(html, "<tr><th scope=\"row\">{name}</th>");
        let cell = |html: &mut String, text: Option<String>| {
            let text = text.map_or("–".to_owned(), |text| escaped(&text));
            _ = write!(html, "<td>{text}</td>");
        };
        cell(html, value.text(first));
        for run in later {
            cell(html, value.text(run));
            if has_ratio(run) {
                let ratio = value.ratio(first, run).unwrap_or_default();
                _ = write!(html, "<td class=\"ratio\">{ratio}</td>");
            }
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
        for threshold_result in &run.thresholds {
            let run = match runs {
                [_] => String::new(),
                _ => format!("{}: ", run.name()),
            };
            let text = format!("{run}{}", text::threshold_result(threshold_result).trim());
            let class = if threshold_result.failed {
                "failed"
            } else {
                "passed"
            };
            _ = writeln!(html, "<li class=\"{class}\">{}</li>", escaped(&text));
        }
    }
    html.push_str("</ul>\n");
}

const FIGURES: &[Row] = &[
    ("sent", Text(|run| Some(count(run.messages.sent)))),
    (
        "acknowledged",
        Text(|run| {
            let messages = &run.messages;
            let share = percent(messages.acknowledged, messages.sent);
            Some(format!("{} ({share} %)", count(messages.acknowledged)))
        }),
    ),
    ("errors", Text(|run| Some(count(run.messages.errors)))),
    ("error replies", Text(|run| counted(&run.errors))),
    ("timeouts", Text(|run| Some(count(run.messages.timeouts)))),
    (
        "unanswered",
        Text(|run| Some(count(run.messages.unanswered))),
    ),
    (
        "never sent",
        Text(|run| Some(run.messages.never_sent).filter(|&n| n > 0).map(count)),
    ),
    (
        "messages/s",
        Number(|run| Some(run.throughput.messages_per_s), rate),
    ),
    (
        "out",
        Number(|run| Some(run.throughput.sent_bytes_per_s), byte_rate),
    ),
    (
        "in",
        Number(|run| Some(run.throughput.received_bytes_per_s), byte_rate),
    ),
    ("latency min", Number(|run| time(run, |l| l.min), latency)),
    ("mean", Number(|run| time(run, |l| l.mean), latency)),
    ("p50", Number(|run| time(run, |l| l.p50), latency)),
    ("p90", Number(|run| time(run, |l| l.p90), latency)),
    ("p99", Number(|run| time(run, |l| l.p99), latency)),
    ("p99.9", Number(|run| time(run, |l| l.p99_9), latency)),
    ("p99.99", Number(|run| time(run, |l| l.p99_99), latency)),
    ("max", Number(|run| time(run, |l| l.max), latency)),
];

const VERIFICATION: &[Row] = &[
    (
        "verdict",
        Text(|run| {
            let found = run.verification.as_ref()?;
            Some(if found.passed { "passed" } else { "FAILED" }.to_owned())
        }),
    ),
    (
        "log",
        Text(|run| Some(text::files(&run.verification.as_ref()?.logs))),
    ),
    ("records", Text(|run| found(run, |found| found.records))),
    (
        "acknowledged",
        Text(|run| found(run, |found| found.acknowledged)),
    ),
    ("missing", Text(|run| found(run, |found| found.missing))),
    ("repeated", Text(|run| found(run, |found| found.repeated))),
    (
        "out of order",
        Text(|run| found(run, |found| found.out_of_order)),
    ),
    ("mangled", Text(|run| found(run, |found| found.mangled))),
    ("rejected", Text(|run| found(run, |found| found.rejected))),
    (
        "of these in the log",
        Text(|run| found(run, |found| found.rejected_but_logged)),
    ),
    (
        "unanswered",
        Text(|run| found(run, |found| found.unanswered)),
    ),
    (
        "of these in the log",
        Text(|run| found(run, |found| found.unanswered_and_logged)),
    ),
];

const LOAD_GENERATOR: &[Row] = &[
    (
        "connections made in",
        Text(|run| Some(seconds(run.connections.ready_s))),
    ),
    (
        "each, p50",
        Text(|run| Some(latency(run.connections.connect_ns.as_ref()?.p50 as f64))),
    ),
    (
        "each, max",
        Text(|run| Some(latency(run.connections.connect_ns.as_ref()?.max as f64))),
    ),
    (
        "connections lost",
        Text(|run| Some(count(run.connections.lost))),
    ),
    ("why", Text(|run| counted(&run.connections.losses))),
    (
        "sent late, p99",
        Text(|run| {
            let lag = run.open_loop.as_ref()?.lag_ns.as_ref()?;
            Some(latency(lag.p99 as f64))
        }),
    ),
    (
        "held back",
        Text(|run| Some(count(run.open_loop.as_ref()?.held))),
    ),
    (
        "never sent",
        Text(|run| Some(count(run.open_loop.as_ref()?.never_sent))),
    ),
    (
        "CPU time",
        Text(|run| Some(seconds(run.load_generator.cpu_s))),
    ),
    (
        "per message",
        Number(|run| run.load_generator.cpu_ns_per_message, latency),
    ),
    (
        "threads busy",
        Text(|run| {
            let threads = run.load_generator.threads.iter();
            let busy = threads.map(|thread| format!("{:.0} %", thread.busy * 100.0));
            Some(busy.collect::<Vec<_>>().join(", "))
        }),
    ),
    ("system", Text(|run| Some(run.machine.system.clone()))),
    (
        "CPUs",
        Text(|run| Some(format!("{} × {}", run.machine.cpus, run.machine.cpu))),
    ),
    (
        "memory",
        Text(|run| Some(format!("{:.1} GB", run.machine.memory_bytes as f64 / 1e9))),
    ),
];

const SETTINGS: &[Row] = &[
    ("started", Text(|run| Some(run.started.clone()))),
    ("measured", Text(|run| Some(seconds(run.measured_s)))),
    (
        "ended by",
        Text(|run| {
            let ended_by = match run.ended_by {
                EndedBy::Duration => "time",
                EndedBy::Messages => "number of messages",
                EndedBy::Interrupt => "interrupt",
                EndedBy::Error => "error reply",
                EndedBy::ConnectionsLost => "loss of all connections",
            };
            Some(ended_by.to_owned())
        }),
    ),
    (
        "server",
        Text(|run| {
            let settings = &run.settings;
            Some(format!(
                "{} ({}:{})",
                settings.address, settings.host, settings.port
            ))
        }),
    ),
    (
        "loop",
        Text(|run| {
            let kind = match run.settings.kind {
                Loop::Closed => "closed: latency from sending",
                Loop::Open => "open: latency from the planned time",
            };
            Some(kind.to_owned())
        }),
    ),
    (
        "planned messages/s",
        Text(|run| run.settings.rate.map(rate)),
    ),
    (
        "connections",
        Text(|run| Some(count(run.settings.connections))),
    ),
    (
        "unanswered each",
        Text(|run| Some(count(u64::from(run.settings.pipeline)))),
    ),
    ("threads", Text(|run| Some(count(run.settings.threads)))),
    ("duration", Text(|run| run.settings.duration_s.map(seconds))),
    ("messages", Text(|run| run.settings.messages.map(count))),
    ("warm-up", Text(|run| Some(seconds(run.settings.warmup_s)))),
    ("message", Text(|run| Some(run.settings.message.clone()))),
    ("good reply", Text(|run| Some(run.settings.reply.clone()))),
    ("hello", Text(|run| run.settings.hello.clone())),
    ("run", Text(|run| Some(run.run.clone()))),
    ("measured with", Text(|run| Some(run.program.clone()))),
];

fn time(run: &Report, pick: fn(&Latency) -> u64) -> Option<f64> {
    run.latency_ns.as_ref().map(|l| pick(l) as f64)
}

fn found(run: &Report, pick: fn(&Verification) -> u64) -> Option<String> {
    run.verification.as_ref().map(|found| count(pick(found)))
}

fn counted(kinds: &[Counted]) -> Option<String> {
    let text = |kind: &Counted| format!("{} × {}", count(kind.count), kind.first);
    (!kinds.is_empty()).then(|| kinds.iter().map(text).collect::<Vec<_>>().join("; "))
}
