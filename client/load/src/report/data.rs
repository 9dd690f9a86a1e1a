//! The report of a run: what `-json` prints.
//!
//! docs/load-json.md describes every field. `VERSION` counts incompatible changes.

use serde::{Deserialize, Serialize};

use crate::drive::figures::{Latency, Second};
use crate::drive::replies::ErrorKind;
use crate::drive::usage::{Cpu, Server};
use crate::verify::Verification;

/// The value of [`Report::format`].
pub(super) const FORMAT: &str = "client-load";

/// The value of [`Report::version`].
pub(super) const VERSION: u32 = 1;

/// The report of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) program: String,
    /// The run's name, which is part of its messages.
    pub(crate) run: String,
    /// The name given by the user.
    pub(crate) label: Option<String>,
    /// UTC, RFC 3339.
    pub(crate) started: String,
    pub(crate) ended_by: EndedBy,
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
    /// From the first measured message to the last reply, at least `-duration`.
    pub(crate) measured_s: f64,
    pub(crate) messages: Messages,
    pub(crate) errors: Vec<ErrorKind>,
    pub(crate) throughput: Throughput,
    /// Latency of acknowledged messages.
    pub(crate) latency_ns: Option<Latency>,
    /// `(percentile, nanoseconds)`.
    pub(crate) curve: Vec<(f64, u64)>,
    /// `(upper bound in nanoseconds, messages)`.
    pub(crate) distribution: Vec<(u64, u64)>,
    pub(crate) series: Vec<Second>,
    pub(crate) connections: Connections,
    /// Only in the open loop.
    pub(crate) open_loop: Option<OpenLoop>,
    #[serde(rename = "instrument")]
    pub(crate) load_generator: LoadGenerator,
    /// Only with `-pid`.
    pub(crate) server: Option<Server>,
    /// The names of the warnings, in the order of `warnings`.
    #[serde(default)]
    pub(crate) warning_names: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) thresholds: Vec<ThresholdResult>,
    pub(crate) verification: Option<Verification>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EndedBy {
    Duration,
    Messages,
    /// Ctrl-C.
    Interrupt,
    /// The first error reply, with `-on-error stop`.
    Error,
    /// The last connection was lost.
    ConnectionsLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Loop {
    /// A reply triggers the next message. Latency counts from the send.
    Closed,
    /// Messages have planned times. Latency counts from the planned time.
    Open,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The resolved address of the host.
    pub(crate) address: String,
    #[serde(rename = "loop")]
    pub(crate) kind: Loop,
    pub(crate) connections: u64,
    pub(crate) threads: u64,
    pub(crate) pipeline: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) duration_s: Option<f64>,
    pub(crate) messages: Option<u64>,
    pub(crate) warmup_s: f64,
    pub(crate) timeout_s: f64,
    /// Whether lost connections were replaced.
    #[serde(default)]
    pub(crate) reconnect: bool,
    pub(crate) connect_rate: f64,
    #[serde(default)]
    pub(crate) framing: String,
    pub(crate) message: String,
    pub(crate) reply: String,
    pub(crate) reply_lines: u32,
    pub(crate) ignore: Vec<String>,
    pub(crate) hello: Option<String>,
    pub(crate) hello_lines: u32,
    pub(crate) on_error: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) system: String,
    pub(crate) cpu: String,
    pub(crate) cpus: u64,
    pub(crate) memory_bytes: u64,
}

/// `sent` is the sum of the four fields after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Messages {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) errors: u64,
    pub(crate) timeouts: u64,
    pub(crate) unanswered: u64,
    /// Measured messages that were planned and not sent.
    #[serde(default)]
    pub(crate) never_sent: u64,
    /// Replies that came while no message waited for one.
    pub(crate) unasked_replies: u64,
    pub(crate) warmup_errors: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Throughput {
    /// Acknowledged messages.
    pub(crate) messages_per_s: f64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes_per_s: f64,
    pub(crate) received_bytes_per_s: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) made: u64,
    /// The time to make a connection, without the greeting.
    pub(crate) connect_ns: Option<Latency>,
    /// Time until all were ready, in seconds.
    pub(crate) ready_s: f64,
    /// Closed by the server or timed out before the end of the run.
    pub(crate) lost: u64,
    /// Replaced after they were lost (`-reconnect`).
    #[serde(default)]
    pub(crate) reconnected: u64,
    pub(crate) losses: Vec<ErrorKind>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenLoop {
    /// The delay of the load generator: actual minus planned send time, of messages that had a free
    /// connection.
    pub(crate) lag_ns: Option<Latency>,
    /// Messages that waited for a free connection.
    pub(crate) held: u64,
    /// The same as [`Messages::never_sent`].
    pub(crate) never_sent: u64,
}

/// The usage of the load generator, from the end of the warm-up on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadGenerator {
    #[serde(flatten)]
    pub(crate) cpu: Cpu,
    pub(crate) threads: Vec<Thread>,
}

/// Shares of the measured time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub(crate) busy: f64,
    /// Ready to run, but without a CPU.
    pub(crate) waited: Option<f64>,
}

/// The result of a `-fail-if`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThresholdResult {
    pub(crate) expression: String,
    /// `None` if there is no such figure. Then the condition counts as failed.
    pub(crate) value: Option<f64>,
    pub(crate) failed: bool,
}

impl Report {
    /// Parses what `-json` printed.
    ///
    /// # Errors
    ///
    /// The text says what is wrong with it.
    pub(crate) fn from_json(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = serde_json::from_slice(text)
            .map_err(|error| format!("not the JSON of a run: {error}"))?;
        if head.format != FORMAT || head.version != VERSION {
            let Head { format, version } = head;
            return Err(format!(
                "expected {FORMAT} version {VERSION}, found '{format}' version {version}"
            ));
        }
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// The name of the run in a comparison.
    pub(crate) fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.run)
    }
}
