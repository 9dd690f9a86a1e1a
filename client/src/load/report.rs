//! A finished run as one object: what `-json` prints, what the text and the page are made of.
//!
//! docs/load-json.md describes every field; `VERSION` counts changes that break readers.

use serde::{Deserialize, Serialize};

use super::figures::{Latency, Second};
use super::verify::Verification;

/// What [`Report::format`] says.
pub(super) const FORMAT: &str = "client-load";

/// The version of the object described here.
pub(super) const VERSION: u32 = 1;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) program: String,
    /// The run's name, which its messages carry.
    pub(super) run: String,
    /// What the user calls it.
    pub(super) label: Option<String>,
    /// UTC, RFC 3339.
    pub(super) started: String,
    pub(super) ended_by: EndedBy,
    pub(super) settings: Settings,
    pub(super) machine: Machine,
    /// From the first measured message to the last reply, at least `-duration`.
    pub(super) measured_s: f64,
    pub(super) messages: Messages,
    pub(super) errors: Vec<Counted>,
    pub(super) throughput: Throughput,
    /// Of acknowledged messages.
    pub(super) latency_ns: Option<Latency>,
    /// `(percentile, nanoseconds)`.
    pub(super) curve: Vec<(f64, u64)>,
    /// `(at most so many nanoseconds, messages)`.
    pub(super) distribution: Vec<(u64, u64)>,
    pub(super) series: Vec<Second>,
    pub(super) connections: Connections,
    /// Only in the open loop.
    pub(super) open_loop: Option<OpenLoop>,
    pub(super) instrument: Instrument,
    /// Only with `-pid`.
    pub(super) server: Option<Server>,
    pub(super) warnings: Vec<String>,
    pub(super) thresholds: Vec<Verdict>,
    pub(super) verification: Option<Verification>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EndedBy {
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
pub(super) enum Loop {
    /// The next message follows a reply; latency counts from its sending.
    Closed,
    /// Messages are planned; latency counts from the planned time.
    Open,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) host: String,
    pub(super) port: u16,
    /// The address the host's name led to.
    pub(super) address: String,
    #[serde(rename = "loop")]
    pub(super) kind: Loop,
    pub(super) connections: u64,
    pub(super) threads: u64,
    pub(super) pipeline: u32,
    pub(super) rate: Option<f64>,
    pub(super) duration_s: Option<f64>,
    pub(super) messages: Option<u64>,
    pub(super) warmup_s: f64,
    pub(super) timeout_s: f64,
    pub(super) connect_rate: f64,
    pub(super) message: String,
    pub(super) reply: String,
    pub(super) reply_lines: u32,
    pub(super) ignore: Vec<String>,
    pub(super) hello: Option<String>,
    pub(super) hello_lines: u32,
    pub(super) on_error: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Machine {
    pub(super) system: String,
    pub(super) cpu: String,
    pub(super) cpus: u64,
    pub(super) memory_bytes: u64,
}

/// `sent` is the sum of the four after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Messages {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) errors: u64,
    pub(super) timeouts: u64,
    pub(super) unanswered: u64,
    /// Replies that came while none was owed.
    pub(super) unasked_replies: u64,
    pub(super) warmup_errors: u64,
}

/// Something counted by what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counted {
    pub(super) kind: String,
    pub(super) count: u64,
    /// The first of them.
    pub(super) first: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Throughput {
    /// Acknowledged.
    pub(super) messages_per_s: f64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes_per_s: f64,
    pub(super) received_bytes_per_s: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connections {
    pub(super) made: u64,
    /// How long making one took, greeting excluded.
    pub(super) connect_ns: Option<Latency>,
    /// Until all were ready.
    pub(super) ready_s: f64,
    /// Ended by the server, or given up, before the run's end.
    pub(super) lost: u64,
    pub(super) losses: Vec<Counted>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenLoop {
    /// How late the instrument sent: real less planned time, of messages that had a free
    /// connection.
    pub(super) lag_ns: Option<Latency>,
    /// Messages that had to wait for a free connection.
    pub(super) held: u64,
    /// Messages planned but not sent when the time was up.
    pub(super) never_sent: u64,
}

/// What the measuring took, from the end of the warm-up on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instrument {
    pub(super) cpu_s: f64,
    /// Of `cpu_s`, in the program; to 10 ms.
    pub(super) user_s: f64,
    /// Of `cpu_s`, in the kernel on the program's behalf.
    pub(super) system_s: f64,
    pub(super) cpu_ns_per_message: Option<f64>,
    pub(super) threads: Vec<Thread>,
}

/// What the server's process used, from the end of the warm-up on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) cpu_s: f64,
    /// Of `cpu_s`, in the program; to 10 ms.
    pub(super) user_s: f64,
    /// Of `cpu_s`, in the kernel on the program's behalf.
    pub(super) system_s: f64,
    pub(super) cpu_ns_per_message: Option<f64>,
    /// The most it ever had resident.
    pub(super) peak_memory_bytes: u64,
}

/// Shares of the measured time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Thread {
    pub(super) busy: f64,
    /// Ready to run, but another had the CPU.
    pub(super) waited: Option<f64>,
}

/// What became of a `-fail-if`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verdict {
    pub(super) expression: String,
    /// None if there is no such figure; that fails, too.
    pub(super) value: Option<f64>,
    pub(super) failed: bool,
}

impl Report {
    /// Reads what `-json` printed; errors say what is wrong with it.
    pub(super) fn from_json(text: &[u8]) -> Result<Self, String> {
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

    /// How the run is called in a comparison.
    pub(super) fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.run)
    }

    /// The exit code that this run asks for.
    pub(super) fn exit_code(&self) -> u8 {
        let verification = self.verification.as_ref();
        if verification.is_some_and(|verification| !verification.passed) {
            return super::EXIT_VERIFICATION;
        }
        match self.ended_by {
            EndedBy::Interrupt => super::EXIT_INTERRUPTED,
            EndedBy::Error | EndedBy::ConnectionsLost => super::EXIT_FAILURE,
            _ if self.thresholds.iter().any(|verdict| verdict.failed) => super::EXIT_THRESHOLD,
            _ => 0,
        }
    }
}
