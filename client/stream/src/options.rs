//! What was typed about a stream.

use std::time::Duration;

use common::args::UsageError;

use crate::{Pull, Servers, Start};

/// What was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-stream`: the log is this stream.
    pub name: Option<String>,
    /// `-nats` and what else is about the servers that have it.
    pub servers: Servers,
}

impl Options {
    /// What no option says alone.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.name.is_none() && self.servers.are_given() {
            let why = "options about NATS say where a stream is: -stream NAME asks for one";
            return Err(UsageError::new(why));
        }
        self.servers.check()
    }

    /// Looks for the stream, if one was typed; `who` is this program, for the servers' lists. Trouble that
    /// comes later may last as long as `patience`, or for ever.
    ///
    /// # Errors
    /// A line that says what is wrong with the servers or the stream.
    pub fn open(
        &self,
        who: &str,
        start: Start,
        patience: Option<Duration>,
    ) -> Result<Option<Pull>, String> {
        let Some(name) = &self.name else {
            return Ok(None);
        };
        Pull::open(self.servers.clone(), who, name, start, patience).map(Some)
    }
}
