//! Rows of the page's tables, and where their values are in a report.

use common::units::{byte_rate, count, latency, rate, seconds};
use serde_json::Value;

use crate::drive::replies::ErrorKind;
use crate::report::{EndedBy, Loop, Report};
use crate::show::text::{self, percent};

/// A report, and its JSON.
pub(super) struct Run<'a> {
    pub(super) report: &'a Report,
    json: Value,
}

impl<'a> Run<'a> {
    pub(super) fn new(report: &'a Report) -> Result<Self, String> {
        let json = serde_json::to_value(report).map_err(|error| error.to_string())?;
        Ok(Self { report, json })
    }
}

/// A row: its name, the place of its value in the report's JSON, and its format.
pub(super) type Row = (&'static str, &'static str, Format);

/// The format of a value.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Count,
    Rate,
    ByteRate,
    /// Of nanoseconds.
    Latency,
    Seconds,
    Text,
    /// The value is not in one place.
    Computed(fn(&Report) -> Option<String>),
}

use Format::{ByteRate, Computed, Count, Latency, Rate, Seconds, Text};

/// The figures by which runs are compared: how their places begin.
const COMPARED: [&str; 3] = ["/throughput/", "/latency_ns/", "/instrument/cpu_ns"];

impl Run<'_> {
    /// The value of a row. `None` if it does not apply to the run.
    pub(super) fn text(&self, (_, place, format): &Row) -> Option<String> {
        if let Computed(text) = format {
            return text(self.report);
        }
        let value = self.json.pointer(place)?;
        Some(match format {
            Count => count(value.as_u64()?),
            Rate => rate(value.as_f64()?),
            ByteRate => byte_rate(value.as_f64()?),
            Latency => latency(value.as_f64()?),
            Seconds => seconds(value.as_f64()?),
            Text | Computed(_) => value.as_str()?.to_owned(),
        })
    }

    /// The ratio of a figure to that of the first run.
    pub(super) fn ratio(&self, first: &Run<'_>, (_, place, _): &Row) -> Option<String> {
        if !COMPARED.iter().any(|start| place.starts_with(start)) {
            return None;
        }
        let number = |run: &Run<'_>| run.json.pointer(place)?.as_f64();
        let ratio = number(self)? / number(first)?;
        ratio.is_finite().then(|| format!("× {ratio:.2}"))
    }
}

pub(super) const FIGURES: &[Row] = &[
    ("sent", "/messages/sent", Count),
    ("acknowledged", "", Computed(|run| Some(acknowledged(run)))),
    ("errors", "/messages/errors", Count),
    ("error replies", "", Computed(|run| counted(&run.errors))),
    ("timeouts", "/messages/timeouts", Count),
    ("unanswered", "/messages/unanswered", Count),
    ("never sent", "", Computed(never_sent)),
    ("messages/s", "/throughput/messages_per_s", Rate),
    ("out", "/throughput/sent_bytes_per_s", ByteRate),
    ("in", "/throughput/received_bytes_per_s", ByteRate),
    ("latency min", "/latency_ns/min", Latency),
    ("mean", "/latency_ns/mean", Latency),
    ("p50", "/latency_ns/p50", Latency),
    ("p90", "/latency_ns/p90", Latency),
    ("p99", "/latency_ns/p99", Latency),
    ("p99.9", "/latency_ns/p99_9", Latency),
    ("p99.99", "/latency_ns/p99_99", Latency),
    ("max", "/latency_ns/max", Latency),
];

pub(super) const VERIFICATION: &[Row] = &[
    ("verdict", "", Computed(verdict)),
    ("log", "", Computed(log)),
    ("records", "/verification/records", Count),
    ("acknowledged", "/verification/acknowledged", Count),
    ("missing", "/verification/missing", Count),
    ("repeated", "/verification/repeated", Count),
    ("out of order", "/verification/out_of_order", Count),
    ("mangled", "/verification/mangled", Count),
    ("rejected", "/verification/rejected", Count),
    (IN_THE_LOG, "/verification/rejected_but_logged", Count),
    ("unanswered", "/verification/unanswered", Count),
    (IN_THE_LOG, "/verification/unanswered_and_logged", Count),
];

const IN_THE_LOG: &str = "of these in the log";

pub(super) const LOAD_GENERATOR: &[Row] = &[
    ("connections made in", "/connections/ready_s", Seconds),
    ("each, p50", "/connections/connect_ns/p50", Latency),
    ("each, max", "/connections/connect_ns/max", Latency),
    ("connections lost", "/connections/lost", Count),
    ("why", "", Computed(|run| counted(&run.connections.losses))),
    ("sent late, p99", "/open_loop/lag_ns/p99", Latency),
    ("held back", "/open_loop/held", Count),
    ("never sent", "/open_loop/never_sent", Count),
    ("CPU time", "/instrument/cpu_s", Seconds),
    ("per message", "/instrument/cpu_ns_per_message", Latency),
    ("threads busy", "", Computed(|run| Some(text::busy(&run.load_generator)))),
    ("system", "/machine/system", Text),
    ("CPUs", "", Computed(|run| Some(cpus(run)))),
    ("memory", "", Computed(|run| Some(memory(run)))),
];

pub(super) const SETTINGS: &[Row] = &[
    ("started", "/started", Text),
    ("measured", "/measured_s", Seconds),
    ("ended by", "", Computed(|run| Some(ended_by(run)))),
    ("server", "", Computed(|run| Some(server(run)))),
    ("loop", "", Computed(|run| Some(load(run)))),
    ("planned messages/s", "/settings/rate", Rate),
    ("connections", "/settings/connections", Count),
    ("unanswered each", "/settings/pipeline", Count),
    ("threads", "/settings/threads", Count),
    ("duration", "/settings/duration_s", Seconds),
    ("messages", "/settings/messages", Count),
    ("warm-up", "/settings/warmup_s", Seconds),
    ("message", "/settings/message", Text),
    ("good reply", "/settings/reply", Text),
    ("hello", "/settings/hello", Text),
    ("run", "/run", Text),
    ("measured with", "/program", Text),
];

fn acknowledged(run: &Report) -> String {
    let messages = &run.messages;
    let share = percent(messages.acknowledged, messages.sent);
    format!("{} ({share} %)", count(messages.acknowledged))
}

fn never_sent(run: &Report) -> Option<String> {
    Some(run.messages.never_sent).filter(|&n| n > 0).map(count)
}

fn verdict(run: &Report) -> Option<String> {
    let passed = run.verification.as_ref()?.passed;
    Some(if passed { "passed" } else { "FAILED" }.to_owned())
}

fn log(run: &Report) -> Option<String> {
    Some(text::files(&run.verification.as_ref()?.logs))
}

fn cpus(run: &Report) -> String {
    format!("{} × {}", run.machine.cpus, run.machine.cpu)
}

fn memory(run: &Report) -> String {
    format!("{:.1} GB", run.machine.memory_bytes as f64 / 1e9)
}

fn ended_by(run: &Report) -> String {
    let ended_by = match run.ended_by {
        EndedBy::Duration => "time",
        EndedBy::Messages => "number of messages",
        EndedBy::Interrupt => "interrupt",
        EndedBy::Error => "error reply",
        EndedBy::ConnectionsLost => "loss of all connections",
    };
    ended_by.to_owned()
}

fn server(run: &Report) -> String {
    let settings = &run.settings;
    let (address, host, port) = (&settings.address, &settings.host, settings.port);
    format!("{address} ({host}:{port})")
}

fn load(run: &Report) -> String {
    let load = match run.settings.kind {
        Loop::Closed => "closed: latency from sending",
        Loop::Open => "open: latency from the planned time",
    };
    load.to_owned()
}

fn counted(kinds: &[ErrorKind]) -> Option<String> {
    let text = |kind: &ErrorKind| format!("{} × {}", count(kind.count), kind.first);
    (!kinds.is_empty()).then(|| kinds.iter().map(text).collect::<Vec<_>>().join("; "))
}
