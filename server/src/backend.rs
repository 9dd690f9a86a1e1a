//! Where records are kept: what the loop needs of a log, be it a [file](file::LogFile) or something
//! that takes its time.

pub mod file;
#[cfg_attr(not(feature = "stream"), path = "backend/stream_none.rs")]
pub mod stream;

use std::io;
use std::time::Instant;

use common::protocol::Reply;
use mio::{Registry, Token};

use crate::batch::Batch;

/// The most bytes that a batch holds unless a back end wants less, and what one message or one
/// write of replies that begins within it brings.
pub const BATCH_BYTES: usize = 2 << 20;

/// A log as the loop sees it: batches are submitted, and some time later finished, strictly in the
/// order of submission.
///
/// Nothing here may block for longer than the log itself takes. A back end that finishes batches in
/// a later turn has that told through the poll.
pub trait BackEnd {
    /// Whether the log has records of replies, too, beside those of messages.
    const RECORDS_REPLIES: bool = true;

    /// The most bytes that a batch is to hold.
    fn batch_bytes(&self) -> usize {
        BATCH_BYTES
    }

    /// Has `token` told of whatever this waits for.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        _ = (registry, token);
        Ok(())
    }

    /// The poll has told of the token.
    fn on_event(&mut self) {}

    /// Goes on with what the poll has told of, or what is due by now.
    fn advance(&mut self, now: Instant) {
        _ = now;
    }

    /// When it wants to go on, if nothing is told of before.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether another batch may be submitted.
    fn has_room(&self) -> bool;

    /// Takes a batch to be written. Only to be called when there is room.
    fn submit(&mut self, batch: Batch, now: Instant);

    /// The next batch that is finished, and what became of it.
    fn finished(&mut self) -> Option<Finished>;

    /// Opens the log by its name again, as after a rotation, behind what was submitted.
    fn reopen(&mut self, now: Instant);

    /// A commit takes so long that it is worth another look at the poll, for others to share it.
    fn is_worth_sharing(&self) -> bool {
        false
    }

    /// A commit takes so long that it is worth a short delay, for more messages to share it.
    fn delays_commits(&self) -> bool {
        false
    }

    /// Looks after what no event reports; called about once a second.
    fn run_periodic_tasks(&mut self, now: Instant);

    /// Whether periodic tasks are due even while nothing else happens.
    fn needs_periodic_tasks(&self) -> bool;

    /// When they will be, if that can be told.
    fn periodic_tasks_due(&self) -> Option<Instant> {
        None
    }

    /// How the log is doing.
    fn space(&self) -> LogSpace {
        LogSpace::default()
    }

    /// How often the log was rotated, since the start.
    fn rotations(&self) -> u64 {
        0
    }
}

/// The log, and what room it has, as far as that is known.
#[derive(Clone, Debug, Default)]
pub struct LogSpace {
    /// Its length in bytes.
    pub length: Option<u64>,
    /// Bytes that are free on its disk, for those who are not root.
    pub free: Option<u64>,
    /// How often it was opened anew by its name, since the start.
    pub reopened: u64,
    /// When and why messages could last not be written, if none have been since.
    pub failure: Option<(Instant, String)>,
    /// Of a stream: how it is reached.
    pub stream: Option<StreamFigures>,
}

/// What was counted on the way to a stream, since the start.
#[derive(Clone, Debug, Default)]
pub struct StreamFigures {
    /// There is a connection to one of its servers.
    pub connected: bool,
    /// Connections that could be used.
    pub connections: u64,
    /// Attempts to have a batch stored; more than batches if some had to be repeated.
    pub attempts: u64,
    /// Messages of which nobody knows whether they are stored.
    pub unknown: u64,
}

/// A batch that the log has decided about.
#[derive(Debug)]
pub struct Finished {
    /// The batch as it was submitted.
    pub batch: Batch,
    /// Whether it is in the log.
    pub outcome: CommitOutcome,
}

/// Whether a batch is in the log.
#[derive(Debug)]
pub enum CommitOutcome {
    /// All of it is.
    Committed,
    /// None of it is or will be. Its messages get this reply; the next batch may be committed.
    Rejected(Reply),
    /// It may be in the log or not. Its clients are closed without a reply.
    Unknown,
    /// It may be in the log or not, and no later outcome can be trusted. The server ends for this
    /// reason, and sends nothing more.
    Fatal(String),
}
