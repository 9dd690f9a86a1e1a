//! Report as text.

use std::fmt::Write as _;

use crate::drive::figures::Latency;
use crate::drive::replies::ErrorKind;
use crate::drive::usage::Cpu;
use crate::report::threshold::is_time;
use crate::report::{Connections, EndedBy, LoadGenerator, Loop, Report, ThresholdResult};
use crate::verify::Verification;
use common::units::{byte_rate, count, latency, plural, rate, seconds};

/// The width of the longest bar, in columns.
const BAR: usize = 40;

/// The whole report, ended by a newline.
pub(crate) fn text(report: &Report) -> String {
    let mut out = String::new();
    let text = &mut out;
    heading(text, report);
    let messages = &report.messages;
    line(text, "sent", &count(messages.sent));
    let acknowledged = match messages.sent {
        0 => "0".to_owned(),
        sent => format!(
            "{}  ({} %)",
            count(messages.acknowledged),
            percent(messages.acknowledged, sent)
        ),
    };
    line(text, "acknowledged", &acknowledged);
    line(text, "errors", &count(messages.errors));
    kinds(text, &report.errors);
    line(text, "timeouts", &count(messages.timeouts));
    line(text, "unanswered", &count(messages.unanswered));
    if messages.never_sent > 0 {
        line(text, "never sent", &count(messages.never_sent));
    }
    let throughput = &report.throughput;
    line(
        text,
        "rate",
        &format!(
            "{} messages/s, {} out, {} in",
            rate(throughput.messages_per_s),
            byte_rate(throughput.sent_bytes_per_s),
            byte_rate(throughput.received_bytes_per_s)
        ),
    );
    if let Some(figures) = &report.latency_ns {
        latencies(text, figures);
        distribution(text, report);
    }
    text.push('\n');
    connections(text, &report.connections);
    load_generator(text, report);
    for warning in &report.warnings {
        _ = writeln!(text, "  warning: {warning}");
    }
    if let Some(found) = &report.verification {
        text.push('\n');
        text.push_str(&verification(found));
    }
    out
}

fn heading(text: &mut String, report: &Report) {
    let settings = &report.settings;
    let name = report.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
    let load = match settings.rate {
        Some(per_second) => format!(
            "open loop, {} messages/s planned, latency from the planned time",
            rate(per_second)
        ),
        None => "closed loop, latency from sending".to_owned(),
    };
    _ = writeln!(
        text,
        "{name}{}, {} x {} unanswered, {}",
        settings.address,
        plural(settings.connections, "connection"),
        count(u64::from(settings.pipeline)),
        plural(settings.threads, "thread"),
    );
    let ended = match report.ended_by {
        EndedBy::Duration | EndedBy::Messages => "",
        EndedBy::Interrupt => ", interrupted",
        EndedBy::Error => ", ended by an error reply",
        EndedBy::ConnectionsLost => ", ended because all connections were lost",
    };
    let warmup = match settings.warmup_s {
        s if s > 0.0 => format!(" after a warm-up of {}", seconds(s)),
        _ => String::new(),
    };
    _ = writeln!(text, "{load}\nmeasured {}{warmup}{ended}\n", seconds(report.measured_s));
}

fn line(text: &mut String, name: &str, value: &str) {
    _ = writeln!(text, "  {name:<13} {value}");
}

fn kinds(text: &mut String, kinds: &[ErrorKind]) {
    for kind in kinds {
        _ = writeln!(text, "  {:13} {:>9}  {}", "", count(kind.count), kind.first);
    }
}

fn latencies(text: &mut String, figures: &Latency) {
    _ = write!(text, "\n  latency  ");
    for (name, _) in Latency::FIGURES {
        _ = write!(text, "{name:>7} ");
    }
    _ = write!(text, "\n           ");
    for (_, pick) in Latency::FIGURES {
        _ = write!(text, "{:>7} ", latency(pick(figures) as f64));
    }
    text.push('\n');
}

fn distribution(text: &mut String, report: &Report) {
    text.push('\n');
    let all = report.messages.acknowledged;
    let most = report.distribution.iter().map(|bar| bar.1).max().unwrap_or(1);
    for &(bound, messages) in &report.distribution {
        let eighths = (messages as f64 / most as f64 * (BAR * 8) as f64).round() as usize;
        _ = writeln!(
            text,
            "  to {:>7} {:<BAR$} {:>7} %",
            latency(bound as f64).replace(".00 ", " ").replace(".0 ", " "),
            bar(eighths.max(usize::from(messages > 0))),
            percent(messages, all),
        );
    }
}

/// A bar of this many eighths of a column.
fn bar(eighths: usize) -> String {
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8) {
        bar.push_str(part);
    }
    bar
}

pub(crate) fn percent(part: u64, all: u64) -> String {
    let percent = part as f64 * 100.0 / all.max(1) as f64;
    match percent {
        // A share below all must not round to 100 %, and one above nothing must not round to 0.
        p if part < all && p >= 99.995 => "99.99".to_owned(),
        p if part > 0 && p < 0.005 => "<0.01".to_owned(),
        p if part == all => format!("{p:.0}"),
        p => format!("{p:.2}"),
    }
}

fn connections(text: &mut String, connections: &Connections) {
    let mut made = format!("{} made in {}", count(connections.made), seconds(connections.ready_s));
    if let Some(connect) = &connections.connect_ns {
        _ = write!(
            made,
            " (each p50 {}, max {})",
            latency(connect.p50 as f64),
            latency(connect.max as f64)
        );
    }
    if connections.lost > 0 {
        _ = write!(made, ", {} lost", count(connections.lost));
    }
    if connections.reconnected > 0 {
        _ = write!(made, ", {} made anew", count(connections.reconnected));
    }
    line(text, "connections", &made);
    kinds(text, &connections.losses);
}

fn load_generator(text: &mut String, report: &Report) {
    if report.settings.kind == Loop::Open
        && let Some(open) = &report.open_loop
    {
        let lag = open.lag_ns.as_ref();
        let lag = lag.map_or("none".to_owned(), |lag| {
            format!(
                "p50 {}, p99 {}, max {} after the planned time",
                latency(lag.p50 as f64),
                latency(lag.p99 as f64),
                latency(lag.max as f64)
            )
        });
        line(text, "send lag", &lag);
    }
    let generator = &report.load_generator;
    let figures = format!("{}; threads busy {}", cpu(&generator.cpu), busy(generator));
    line(text, "generator", &figures);
    if let Some(server) = &report.server {
        let figures = format!(
            "{} ({:.0} % of it the kernel's); {} MiB of memory at most",
            cpu(&server.cpu),
            100.0 * server.cpu.system_s / server.cpu.total_s.max(f64::MIN_POSITIVE),
            server.peak_memory_bytes >> 20,
        );
        line(text, "server", &figures);
    }
}

/// The share of time that each thread was busy.
pub(crate) fn busy(generator: &LoadGenerator) -> String {
    let threads = generator.threads.iter();
    let busy = threads.map(|thread| format!("{:.0} %", thread.busy * 100.0));
    busy.collect::<Vec<_>>().join(", ")
}

fn cpu(cpu: &Cpu) -> String {
    let each = cpu.ns_per_message;
    let each = each.map_or(String::new(), |ns| format!(", {} per message", latency(ns)));
    format!("{} of CPU{each}", seconds(cpu.total_s))
}

/// The result of one `-fail-if`.
pub(crate) fn threshold_result(threshold_result: &ThresholdResult) -> String {
    let word = if threshold_result.failed { "FAILED" } else { "passed" };
    let value = match threshold_result.value {
        None => "there is no such figure".to_owned(),
        Some(ns) if is_time(&threshold_result.expression) => latency(ns),
        Some(value) if value.fract() == 0.0 => count(value as u64),
        Some(value) => rate(value),
    };
    format!("  {word}: fail if {}: it is {value}\n", threshold_result.expression)
}

/// The files of a log, in short form.
pub(crate) fn files(logs: &[String]) -> String {
    match logs {
        [first, _, _, .., last] => format!("{} files, {first} to {last}", count(logs.len() as u64)),
        logs => logs.join(", "),
    }
}

/// The result of a verification.
pub(crate) fn verification(found: &Verification) -> String {
    let mut out = String::new();
    let text = &mut out;
    let word = if found.passed { "passed" } else { "FAILED" };
    _ = writeln!(
        text,
        "  verification {word}: {} in {}",
        plural(found.records, "record"),
        files(&found.logs)
    );
    line(text, "acknowledged", &count(found.acknowledged));
    line(text, "missing", &count(found.missing));
    line(text, "repeated", &count(found.repeated));
    line(text, "out of order", &count(found.out_of_order));
    line(text, "mangled", &count(found.mangled));
    let share = |there: u64, all: u64| format!("{} ({} in the log)", count(all), count(there));
    line(text, "rejected", &share(found.rejected_but_logged, found.rejected));
    line(text, "unanswered", &share(found.unanswered_and_logged, found.unanswered));
    if found.torn > 0 {
        line(text, "torn", &format!("{}, cut short", plural(found.torn, "record")));
    }
    for example in &found.examples {
        _ = writeln!(text, "    {example}");
    }
    out
}
