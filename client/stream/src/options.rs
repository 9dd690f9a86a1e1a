//! Command-line options of a stream.

use std::time::Duration;

use common::args::UsageError;

use crate::{Nodes, Pull, Start};

/// The values of the options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-stream`: the name of the stream.
    pub name: Option<String>,
    /// `-nats` and the other options of the NATS nodes.
    pub servers: Nodes,
}

impl Options {
    /// Checks how options combine.
    ///
    /// # Errors
    ///
    /// An option needs another that is missing.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.name.is_none() && self.servers.are_given() {
            let why = "-nats and its kind are about a stream: -stream names it";
            return Err(UsageError::new(why));
        }
        self.servers.check()
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
        Pull::open(self.servers.clone(), who, name, start, patience).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use common::args::{Command, Opt, Parsed};

    use super::*;
    use crate::SharedOptions;

    const COMMAND: Command<Options> = Command {
        name: "demo",
        usage: "[options]",
        about: "Shows how a stream is typed.",
        commands: &[],
        options: &[
            Opt::new(&["stream"], "NAME", "the stream", |o, v| {
                crate::name(v).map(|it| o.name = Some(it))
            }),
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

    impl AsMut<Nodes> for Options {
        fn as_mut(&mut self) -> &mut Nodes {
            &mut self.servers
        }
    }

    fn typed(args: &str) -> Result<Options, String> {
        match COMMAND.parse(Options::default(), args.split_whitespace()) {
            Ok(Parsed::Run(options)) => Ok(options),
            Ok(Parsed::Print(text)) => panic!("{text}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn no_stream_is_no_log() {
        assert_eq!(typed(""), Ok(Options::default()));
        let opened = Options::default().open("demo", Start::First, None);
        assert!(opened.is_ok_and(|pull| pull.is_none()));
    }

    #[cfg(feature = "nats")]
    #[test]
    fn a_stream_and_where_it_is() {
        let options = typed("-stream LOG-1 -nats nats://a,b -nats-creds c").unwrap();
        assert_eq!(options.name.as_deref(), Some("LOG-1"));
        assert!(options.servers.are_given());
        for (args, expected) in [
            ("-stream a.b", "-stream: expected the name of a stream"),
            ("-nats a", "-nats and its kind are about a stream"),
            ("-stream a -nats-cert c", "-nats-cert and -nats-key need"),
        ] {
            let error = typed(args).unwrap_err();
            assert!(error.starts_with(expected), "{args}: {error}");
        }
    }

    #[cfg(not(feature = "nats"))]
    #[test]
    fn what_was_left_out_is_said() {
        for row in COMMAND.options {
            let option = format!("-{}", row.names[0]);
            let error = typed(&format!("{option} x")).unwrap_err();
            let expected = format!("{option}: this program was built without streams");
            assert_eq!(error, expected);
        }
    }
}
