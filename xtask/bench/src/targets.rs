//! Targets for the server, and the figures that it reached.

use serde::Serialize;

use crate::results::{Cell, Results, percentile};
use crate::setting::Setting;
use crate::system::{BATCHES, STREAMING};

/// A target and the figure that was reached, if it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct TargetResult {
    pub(crate) what: &'static str,
    pub(crate) at: &'static str,
    #[serde(flatten)]
    pub(crate) limit: Limit,
    pub(crate) reached: Option<f64>,
    pub(crate) met: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// How a figure is computed from the results.
enum Ratio {
    /// CPU time per message of the first server divided by that of the second.
    Cpu(&'static str, &'static str),
    /// The same for throughput.
    Rate(&'static str, &'static str),
    /// The same for the p99 of the latency.
    P99(&'static str, &'static str),
    /// p99 of the latency of the first server divided by the median of the second's.
    P99ByMedian(&'static str, &'static str),
    /// p99 of a light client under load from flooders, on the server with a stream, divided by the median
    /// of the named server.
    P99Beside(&'static str),
    /// This server's CPU time per message at the target's setting divided by that at this setting.
    CpuOf(&'static str),
    /// The same for throughput.
    RateOf(&'static str),
    /// No ratio: the server's anonymous memory in bytes per idle client.
    IdleBytes,
    /// The turn-taking client: throughput of five threads divided by that of one.
    Turns,
    /// No ratio: full handshakes per second of the server's CPU time, with client certificates or without.
    Handshakes(bool),
    /// No ratio: the server's anonymous memory in bytes per idle client over TLS, in the same two cases.
    SecureIdleBytes(bool),
    /// No ratio: p99 in milliseconds of a client during 200 handshakes per second, in the same two cases.
    P99BesideHandshakes(bool),
}

use Limit::{AtLeast, AtMost};
use Ratio::{
    Cpu, CpuOf, Handshakes, IdleBytes, P99, P99Beside, P99BesideHandshakes, P99ByMedian, Rate,
    RateOf, SecureIdleBytes, Turns,
};

/// All of them for messages of 21 bytes.
const TARGETS: &[(&str, &str, Ratio, Limit)] = &[
    (
        "CPU per message / baseline",
        "50x1",
        Cpu("server", "baseline"),
        AtMost(1.05),
    ),
    (
        "CPU per message / baseline",
        "1000x1",
        Cpu("server", "baseline"),
        AtMost(1.05),
    ),
    (
        "CPU per message / baseline",
        "50x16",
        Cpu("server", "baseline"),
        AtMost(1.15),
    ),
    (
        "CPU per message / baseline",
        "50x128",
        Cpu("server", "baseline"),
        AtMost(2.0),
    ),
    (
        "throughput / baseline",
        "50x1",
        Rate("server", "baseline"),
        AtLeast(0.95),
    ),
    (
        "CPU per message / Redis everysec",
        "50x1",
        Cpu("server", "redis-everysec"),
        AtMost(0.85),
    ),
    (
        "p99 / Redis everysec",
        "50x1",
        P99("server", "redis-everysec"),
        AtMost(0.8),
    ),
    (
        "throughput / Redis everysec",
        "50x16",
        Rate("server", "redis-everysec"),
        AtLeast(2.8),
    ),
    (
        "throughput / Redis everysec",
        "50x128",
        Rate("server", "redis-everysec"),
        AtLeast(7.0),
    ),
    (
        "-sync: throughput / Redis always",
        "50x1",
        Rate("server-sync", "redis-always"),
        AtLeast(1.2),
    ),
    (
        "-sync: throughput / Redis always",
        "50x16",
        Rate("server-sync", "redis-always"),
        AtLeast(2.0),
    ),
    (
        "-sync: throughput / Redis always",
        "50x128",
        Rate("server-sync", "redis-always"),
        AtLeast(5.0),
    ),
    (
        "throughput / memcached",
        "50x1",
        Rate("server", "memcached"),
        AtLeast(1.0),
    ),
    (
        "throughput / rsyslog RELP",
        "50x16",
        Rate("server", "rsyslog"),
        AtLeast(10.0),
    ),
    (
        "throughput / Python",
        "50x16",
        Rate("server", "python"),
        AtLeast(100.0),
    ),
    (
        "CPU per message / 50x1",
        "10000x1",
        CpuOf("50x1"),
        AtMost(1.6),
    ),
    (
        "throughput / 50x1 alone",
        "50x1+18000",
        RateOf("50x1"),
        AtLeast(0.95),
    ),
    (
        "bytes of user memory per idle client",
        "50x1+18000",
        IdleBytes,
        AtMost(80.0),
    ),
    (
        "stalled terminal: throughput / -quiet",
        "50x1",
        Rate("server-stalled", "server-quiet"),
        AtLeast(0.95),
    ),
    (
        "stalled terminal: throughput / -quiet",
        "50x16",
        Rate("server-stalled", "server-quiet"),
        AtLeast(0.95),
    ),
    (
        "stalled terminal: throughput / -quiet",
        "50x128",
        Rate("server-stalled", "server-quiet"),
        AtLeast(0.95),
    ),
    (
        "turn-taking client: -nt 5 / -nt 1",
        "1x1",
        Turns,
        AtLeast(0.95),
    ),
    (
        "TLS: CPU per message / without",
        "50x1",
        Cpu("server-tls", "server"),
        AtMost(1.5),
    ),
    (
        "TLS: CPU per message / without",
        "50x16",
        Cpu("server-tls", "server"),
        AtMost(2.5),
    ),
    (
        "TLS: CPU per message / without",
        "50x128",
        Cpu("server-tls", "server"),
        AtMost(5.0),
    ),
    (
        "TLS: CPU per message / HAProxy and server",
        "50x16",
        Cpu("server-tls", "haproxy-tls"),
        AtMost(0.5),
    ),
    (
        "full handshakes/s on a core",
        "1x1",
        Handshakes(false),
        AtLeast(3500.0),
    ),
    (
        "the same with client certificate",
        "1x1",
        Handshakes(true),
        AtLeast(2400.0),
    ),
    (
        "ms, p99 beside 200 handshakes/s",
        "1x1",
        P99BesideHandshakes(true),
        AtMost(10.0),
    ),
    (
        "TLS: bytes per idle client",
        "1x1+10000",
        SecureIdleBytes(false),
        AtMost(4096.0),
    ),
    (
        "the same with client certificate",
        "1x1+10000",
        SecureIdleBytes(true),
        AtMost(5120.0),
    ),
    (
        "stream: throughput / a message per line",
        "50x128",
        Rate(STREAMING, "nats-lines-r3"),
        AtLeast(10.0),
    ),
    (
        "stream: throughput / bare batches",
        "50x128",
        Rate(STREAMING, BATCHES),
        AtLeast(0.7),
    ),
    (
        "stream: p99 / a bare batch (p50)",
        "50x1",
        P99ByMedian(STREAMING, BATCHES),
        AtMost(2.0),
    ),
    (
        "stream: CPU per message / log file",
        "50x128",
        Cpu(STREAMING, "server"),
        AtMost(2.0),
    ),
    (
        "stream, beside flooders: p99 / bare batch",
        "50x128",
        P99Beside(BATCHES),
        AtMost(3.0),
    ),
];

/// Every target with the figure that was reached. A `quick` run is too short to judge: `met` is none.
pub(crate) fn judge(results: &Results, quick: bool) -> Vec<TargetResult> {
    let result = |(what, at, ratio, limit): &(&'static str, &'static str, Ratio, Limit)| {
        let reached = reached(results, at, ratio);
        TargetResult {
            what,
            at,
            limit: *limit,
            reached,
            met: reached
                .filter(|_| !quick)
                .map(|reached| limit.allows(reached)),
        }
    };
    TARGETS.iter().map(result).collect()
}

fn reached(results: &Results, at: &str, ratio: &Ratio) -> Option<f64> {
    let cell = |at: &str, server| {
        let mut settings = Setting::all().into_iter();
        let setting = settings.find(|setting| setting.bytes == 21 && setting.is_called(at))?;
        results.cell(setting, server)
    };
    let ratio_of = |part: fn(&Cell) -> f64, first: Option<Cell>, second: Option<Cell>| {
        Some(part(&first?) / part(&second?))
    };
    let rate = |cell: &Cell| cell.messages_per_s;
    match *ratio {
        Cpu(first, second) => ratio_of(Cell::cpu_ns, cell(at, first), cell(at, second)),
        Rate(first, second) => ratio_of(rate, cell(at, first), cell(at, second)),
        P99(first, second) => {
            ratio_of(|cell| cell.p99_ns as f64, cell(at, first), cell(at, second))
        }
        P99ByMedian(first, second) => {
            Some(cell(at, first)?.p99_ns as f64 / cell(at, second)?.p50_ns as f64)
        }
        P99Beside(second) => {
            Some(percentile(&results.fairness(), 990)? as f64 / cell(at, second)?.p50_ns as f64)
        }
        CpuOf(other) => ratio_of(Cell::cpu_ns, cell(at, "server"), cell(other, "server")),
        RateOf(other) => ratio_of(rate, cell(at, "server"), cell(other, "server")),
        IdleBytes => cell(at, "server")?.bytes_per_idle_client,
        Turns => results.turns_ratio(),
        Handshakes(certificate) => Some(results.secure(certificate)?.handshakes_per_s),
        SecureIdleBytes(certificate) => results.secure(certificate)?.bytes_per_idle_client,
        P99BesideHandshakes(certificate) => Some(results.secure(certificate)?.p99_ns / 1e6),
    }
}

impl Limit {
    fn allows(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
        }
    }
}
