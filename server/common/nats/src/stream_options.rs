//! Command-line options of a log that is a stream: its name, and the nodes that have it.
//!
//! Servers that log to a stream publish batches to it. A message holds records, one a line. The log is the
//! concatenation of all messages.

use std::time::Duration;

use common::args::{ArgValue, UsageError};

use crate::options::Options as Nodes;
use crate::protocol::is_word;
use crate::pull::{Pull, Start};

/// The values of the options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// `-stream`: the name of the stream.
    pub name: Option<String>,
    /// `-nats` and the other options of the NATS nodes.
    pub nodes: Nodes,
}

impl StreamOptions {
    /// Checks how options combine.
    ///
    /// # Errors
    ///
    /// An option needs another that is missing.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.name.is_none() && self.nodes.are_given() {
            let why = "-nats and its kind are about a stream: -stream names it";
            return Err(UsageError::new(why));
        }
        self.nodes.check()
    }

    /// Opens the stream, if one was given. `who` is the name of this program in the connection
    /// lists of the nodes. A later outage may last for `patience`; `None` means no limit.
    ///
    /// # Errors
    ///
    /// The text says in one line what is wrong with the nodes or the stream.
    pub fn open(
        &self,
        who: &str,
        start: Start,
        patience: Option<Duration>,
    ) -> Result<Option<Pull>, String> {
        let Some(name) = &self.name else {
            return Ok(None);
        };
        Pull::open(self.nodes.clone(), who, name, start, patience).map(Some)
    }
}

/// Parses the value of `-stream`.
///
/// # Errors
///
/// The value is not a valid stream name.
pub fn name(arg: &ArgValue) -> Result<String, UsageError> {
    let name = arg.text()?;
    if is_word(&name) {
        return Ok(name);
    }
    Err(arg.unexpected("the name of a stream (letters, digits, - and _)"))
}

#[cfg(test)]
mod tests {
    use common::args::{Command, Opt, Parsed};

    use super::*;
    use crate::options::SharedOptions;

    const COMMAND: Command<StreamOptions> = Command {
        name: "demo",
        usage: "[options]",
        about: "Shows how a stream is typed.",
        commands: &[],
        options: &[
            Opt::new(&["stream"], "NAME", "the stream", |o, v| name(v).map(|it| o.name = Some(it))),
            SharedOptions::NATS,
            SharedOptions::CREDENTIALS,
            SharedOptions::CA,
            SharedOptions::CERT,
            SharedOptions::KEY,
        ],
        operand: None,
        check: |options| options.check(),
        examples: &[],
        notes: "",
    };

    impl AsMut<Nodes> for StreamOptions {
        fn as_mut(&mut self) -> &mut Nodes {
            &mut self.nodes
        }
    }

    fn typed(args: &str) -> Result<StreamOptions, String> {
        match COMMAND.parse(StreamOptions::default(), args.split_whitespace()) {
            Ok(Parsed::Run(options)) => Ok(options),
            Ok(Parsed::Print(text)) => panic!("{text}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn no_stream_is_no_log() {
        assert_eq!(typed(""), Ok(StreamOptions::default()));
        let opened = StreamOptions::default().open("demo", Start::First, None);
        assert!(opened.is_ok_and(|pull| pull.is_none()));
    }

    #[test]
    fn a_stream_and_where_it_is() {
        let options = typed("-stream LOG-1 -nats nats://a,b -nats-creds c").unwrap();
        assert_eq!(options.name.as_deref(), Some("LOG-1"));
        assert!(options.nodes.are_given());
        for (args, expected) in [
            ("-stream a.b", "-stream: expected the name of a stream"),
            ("-nats a", "-nats and its kind are about a stream"),
            ("-stream a -nats-cert c", "-nats-cert and -nats-key need"),
        ] {
            let error = typed(args).unwrap_err();
            assert!(error.starts_with(expected), "{args}: {error}");
        }
    }
}
