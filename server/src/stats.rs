//! Counters of the server since its start.

use std::time::{Duration, Instant};

use common::protocol::Reply;

use crate::batch::Batch;
use crate::distribution::Distribution;

/// Everything that the loop counts. The [figures](crate::figures::Figures) and the
/// [snapshot](crate::snapshot::Snapshot) are made from it.
#[derive(Clone, Debug)]
pub struct Stats {
    /// When counting began.
    pub started: Instant,
    /// Turns of the loop.
    pub turns: u64,
    /// Messages that are in the log.
    pub committed: u64,
    /// Messages whose `ok` the kernel has taken.
    pub acknowledged: u64,
    /// Error replies.
    pub errors: ErrorReplies,
    /// Clients that were served and those that were not.
    pub clients: ClientStats,
    /// Commits of the log.
    pub commits: CommitStats,
}

/// Error replies.
#[derive(Clone, Debug)]
pub struct ErrorReplies {
    /// Those that the kernel has taken, by code.
    pub by_code: [(&'static str, u64); Reply::ERROR_CODES.len()],
    /// Those that were not sent because the server sends no replies.
    pub suppressed: u64,
}

/// Clients whose first message arrived, and those turned away, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Clients whose first bytes were taken as messages, including those still connected.
    pub served: u64,
    /// Over the limit of connected clients.
    pub over_limit: u64,
    /// Not within `-allow`.
    pub not_allowed: u64,
    /// A PROXY header that is required but missing, malformed or late.
    pub proxy_malformed: u64,
    /// A PROXY header from an address that is not trusted with one.
    pub proxy_untrusted: u64,
    /// HTTP requests.
    pub http: u64,
    /// No TLS where it is required, or TLS where it is not supported.
    pub tls_mismatched: u64,
    /// TLS handshakes that succeeded.
    pub handshakes: u64,
    /// TLS handshakes that failed or timed out.
    pub handshakes_failed: u64,
}

/// Commits of the log.
#[derive(Clone, Debug)]
pub struct CommitStats {
    /// Bytes of the records committed.
    pub bytes: u64,
    /// The longest time to write (and sync) a batch.
    pub longest: Duration,
    /// The durations of commits, in seconds.
    pub seconds: Distribution,
    /// The sizes of committed batches, in bytes.
    pub batch_bytes: Distribution,
    /// When the log was last written.
    pub last: Option<Instant>,
}

impl Stats {
    /// All counters are zero.
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            turns: 0,
            committed: 0,
            acknowledged: 0,
            errors: ErrorReplies {
                by_code: Reply::ERROR_CODES.map(|code| (code, 0)),
                suppressed: 0,
            },
            clients: ClientStats::default(),
            commits: CommitStats {
                bytes: 0,
                longest: Duration::ZERO,
                seconds: Distribution::new(SECONDS),
                batch_bytes: Distribution::new(BYTES),
                last: None,
            },
        }
    }

    /// Counts a batch that is in the log since `at`.
    pub fn count_commit(&mut self, batch: &Batch, at: Option<Instant>) {
        let bytes = batch.records().len();
        self.committed += batch.messages();
        self.commits.bytes += bytes as u64;
        self.commits.batch_bytes.observe(bytes as f64);
        self.commits.last = at;
    }

    /// Counts replies that the kernel has taken.
    pub fn count_sent(&mut self, reply: Reply, count: u32) {
        if reply == Reply::Ok {
            self.acknowledged += u64::from(count);
            return;
        }
        let mut codes = self.errors.by_code.iter_mut();
        let known = codes.find(|(code, _)| *code == reply.code());
        debug_assert!(known.is_some(), "ERROR_CODES has the code of {reply:?}");
        if let Some((_, sent)) = known {
            *sent += u64::from(count);
        }
    }
}

impl ErrorReplies {
    /// All error replies, those suppressed included.
    pub fn total(&self) -> u64 {
        let sent: u64 = self.by_code.iter().map(|(_, count)| count).sum();
        sent + self.suppressed
    }
}

impl ClientStats {
    /// All clients that were not admitted, except those over the limit.
    pub fn turned_away(&self) -> u64 {
        self.not_allowed
            + self.proxy_malformed
            + self.proxy_untrusted
            + self.http
            + self.tls_mismatched
            + self.handshakes_failed
    }
}

/// In seconds: from a write into the page cache to a disk that hangs.
const SECONDS: &[f64] =
    &[0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// In bytes: from one record to a full batch.
const BYTES: &[f64] = &[128.0, 1024.0, 8192.0, 65_536.0, 262_144.0, 1_048_576.0, 2_097_152.0];
