//! A log that is a stream.

use std::time::{Duration, Instant};

use common::output::report;
use stream::{Options, Pull, Start};

/// How long an outage may last: longer than a cluster needs to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether the user wants no more.
const LOOK: Duration = Duration::from_millis(250);

/// The messages of a stream that may hold something of a run.
#[derive(Debug)]
pub(crate) struct StreamLog {
    /// Who reads it, for those who are told how that goes.
    command: &'static str,
    pub(crate) name: String,
    pull: Pull,
}

impl StreamLog {
    /// The stream that was typed, if one was, from there on.
    pub(crate) fn open(
        options: &Options,
        command: &'static str,
        start: Start,
    ) -> Result<Option<Self>, String> {
        let pull = options.open(command, start, Some(PATIENCE))?;
        Ok(options.name.clone().zip(pull).map(|(name, pull)| Self {
            command,
            name,
            pull,
        }))
    }

    /// Has what was stored by now belong to it.
    pub(crate) fn extend(&mut self) {
        self.pull.extend();
    }

    /// Whether there is more to read.
    pub(crate) fn has_more(&self) -> bool {
        !self.pull.is_done()
    }

    /// The next batch of records, or none within a moment.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        let delivered = self.pull.next(Instant::now() + LOOK)?;
        for notice in self.pull.notices() {
            report(self.command, &notice);
        }
        Ok(delivered.map(|delivered| delivered.message.payload))
    }
}
