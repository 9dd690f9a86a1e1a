//! The back end of the log: the interface between the loop and a [file](file::LogFile) or a stream, which
//! may take more than one turn to commit.

pub mod file;
pub mod stream;

use std::io;
use std::time::Instant;

use common::protocol::Reply;
use mio::{Registry, Token};

use crate::batch::Batch;

/// The most bytes of a batch, unless a back end requires fewer. One message or one write of replies that
/// begins below the limit may exceed it.
pub const BATCH_BYTES: usize = 2 << 20;

/// A log as the loop uses it. Batches are submitted, and finished later in the order of submission.
///
/// No method may block for longer than the log itself takes. A back end that finishes a batch in a later
/// turn wakes the loop through the poll.
pub trait BackEnd {
    /// Whether the log has records of replies besides those of messages.
    const RECORDS_REPLIES: bool = true;

    /// The most bytes of a batch.
    fn batch_bytes(&self) -> usize {
        BATCH_BYTES
    }

    /// Registers the back end's event source with `token`.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        _ = (registry, token);
        Ok(())
    }

    /// An event for the token has arrived.
    fn on_event(&mut self) {}

    /// Handles the events that arrived, and what is due at `now`.
    fn advance(&mut self, now: Instant) {
        _ = now;
    }

    /// When to call [`advance`](BackEnd::advance) even without an event.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether another batch may be submitted.
    fn has_room(&self) -> bool;

    /// Submits a batch. Call it only while there is room.
    fn submit(&mut self, batch: Batch, now: Instant);

    /// The next finished batch and its outcome.
    fn finished(&mut self) -> Option<Finished>;

    /// Reopens the log by its name, as after a rotation, once the submitted batches are written.
    fn reopen(&mut self, now: Instant);

    /// A commit takes long enough to poll once more before it, so that more messages share it.
    fn is_worth_sharing(&self) -> bool {
        false
    }

    /// A commit takes long enough to delay it for a short time, so that more messages share it.
    fn delays_commits(&self) -> bool {
        false
    }

    /// Checks what no event reports. Called about once a second.
    fn run_periodic_tasks(&mut self, now: Instant);

    /// Whether periodic tasks must run even if nothing else happens.
    fn needs_periodic_tasks(&self) -> bool;

    /// When the next periodic task is due, if that is known.
    fn periodic_tasks_due(&self) -> Option<Instant> {
        None
    }

    /// The state of the log.
    fn space(&self) -> LogSpace {
        LogSpace::default()
    }

    /// The number of rotations since the start.
    fn rotations(&self) -> u64 {
        0
    }
}

/// The state of the log and its free space, as far as known.
#[derive(Clone, Debug, Default)]
pub struct LogSpace {
    /// Its length in bytes.
    pub length: Option<u64>,
    /// Free bytes on its disk for users other than root.
    pub free: Option<u64>,
    /// How often it was reopened by name since the start.
    pub reopened: u64,
    /// When and why messages could last not be written, unless one was written since.
    pub failure: Option<(Instant, String)>,
    /// For a stream: counters of its connection.
    pub stream: Option<StreamFigures>,
}

/// Counters of the connection to a stream, since the start.
#[derive(Clone, Debug, Default)]
pub struct StreamFigures {
    /// There is a connection to one of its nodes.
    pub connected: bool,
    /// The number of connections that became usable.
    pub connections: u64,
    /// Attempts to store a batch. There are more attempts than batches if some were retried.
    pub attempts: u64,
    /// Messages whose outcome is unknown: they may or may not be stored.
    pub unknown: u64,
}

/// A batch that the log has finished.
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
    /// The whole batch is in the log.
    Committed,
    /// None of the batch is in the log, or will be. Its messages get this reply; the next batch may be
    /// committed.
    Rejected(Reply),
    /// The batch may or may not be in the log. Its clients are closed without a reply.
    Unknown,
    /// The batch may or may not be in the log, and no later outcome can be trusted. The server exits for
    /// this reason and sends nothing more.
    Fatal(String),
}
