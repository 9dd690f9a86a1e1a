//! Log that is a NATS stream.

use std::time::{Duration, Instant};

use common::output::report;
use nats::pull::{Pull, Start};
use nats::stream_options::StreamOptions;

/// How long an outage may last: longer than a cluster takes to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to check for an interrupt.
const LOOK: Duration = Duration::from_millis(250);

/// The messages of a stream that may hold records of a run.
#[derive(Debug)]
pub(crate) struct StreamLog {
    /// The command that reads it, for warnings.
    command: &'static str,
    pub(crate) name: String,
    pull: Pull,
}

impl StreamLog {
    /// Opens the stream of `-stream` at `start`, if that was given.
    pub(crate) fn open(
        options: &StreamOptions,
        command: &'static str,
        start: Start,
    ) -> Result<Option<Self>, String> {
        let pull = options.open(command, start, Some(PATIENCE))?;
        Ok(options.name.clone().zip(pull).map(|(name, pull)| Self { command, name, pull }))
    }

    /// Extends the log by what was stored up to now.
    pub(crate) fn extend(&mut self) {
        self.pull.extend();
    }

    /// Whether there is more to read.
    pub(crate) fn has_more(&self) -> bool {
        !self.pull.is_done()
    }

    /// The next batch of records, or `None` if none comes within 250 ms.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        let delivered = self.pull.next(Instant::now() + LOOK)?;
        for notice in self.pull.notices() {
            report(self.command, &notice);
        }
        Ok(delivered.map(|delivered| delivered.message.payload))
    }
}
