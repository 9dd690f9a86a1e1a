//! Command-line options of `client read`.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use common::args::{ArgValue, Command, Opt, UsageError, switch};
use nats::options::{Options as Nodes, SharedOptions};
use nats::stream_options::{self, StreamOptions};

use crate::output::{Form, Show};

pub(crate) const COMMAND: Command<Options> = Command {
    name: "client read",
    usage: "[options] [FILE...]",
    about: "Prints the messages in logs of the server: the exact bytes of each, and LF. Files \
            are read in the given order, rotated files of one log in the order of their numbers; \
            '-' is standard input. With -stream it reads a NATS stream.",
    commands: &[],
    options: &[
        Opt {
            names: &["null"],
            value: "",
            help: "end each message with NUL instead of LF, since a message may contain LF",
            take: |o, _| {
                o.show.form = Form::Nul;
                Ok(())
            },
        },
        Opt {
            names: &["json"],
            value: "",
            help: "print one JSON object per message: time, peer, message (or bytes, in base64), \
                   with -id or -once also id and seq",
            take: |o, _| {
                o.show.form = Form::Json;
                Ok(())
            },
        },
        Opt {
            names: &["with-time"],
            value: "",
            help: "print the time before each message",
            take: |o, _| switch(&mut o.show.time),
        },
        Opt {
            names: &["with-peer"],
            value: "",
            help: "print the client's address before each message",
            take: |o, _| switch(&mut o.show.peer),
        },
        Opt {
            names: &["peer"],
            value: "ADDRESS",
            help: "only messages from this address, with or without a port (default: all)",
            take: |o, v| v.text().map(|it| o.peer = Some(it)),
        },
        Opt {
            names: &["id"],
            value: "NAME",
            help: "only messages of '{client} send -id NAME' (default: all)",
            take: |o, v| v.text().map(|it| o.id = Some(it)),
        },
        Opt {
            names: &["since"],
            value: "TIME",
            help: "only messages from this time on: 2026-11-25T03:35:12+01:00, or 10m for ten \
                   minutes ago (default: all)",
            take: |o, v| o.parse_time(v).map(|it| o.since = Some(it)),
        },
        Opt {
            names: &["until"],
            value: "TIME",
            help: "only messages up to this time (default: all)",
            take: |o, v| o.parse_time(v).map(|it| o.until = Some(it)),
        },
        Opt {
            names: &["utc"],
            value: "",
            help: "times without a zone are UTC: the server ran with -utc",
            take: |o, _| switch(&mut o.utc),
        },
        Opt {
            names: &["last"],
            value: "N",
            help: "only the last N messages (default: all)",
            take: |o, v| {
                v.number("a number of messages", 1..=10_000_000).map(|it| o.last = Some(it))
            },
        },
        Opt {
            names: &["follow"],
            value: "",
            help: "keep reading as the log grows, also when it is renamed",
            take: |o, _| switch(&mut o.follow),
        },
        Opt {
            names: &["once"],
            value: "",
            help: "print each '@NAME:NUMBER' of '{client} send -id' once, without the tag and in \
                   order, from all logs together; exit 4 if a number is missing",
            take: |o, _| switch(&mut o.once),
        },
        Opt {
            names: &["hold"],
            value: "N",
            help: "with -once: maximum number of messages of one sender that are held back for \
                   earlier ones (default 65536)",
            take: |o, v| v.number("a number of messages", 1..=100_000_000).map(|it| o.hold = it),
        },
        Opt {
            names: &["strict"],
            value: "",
            help: "exit 1 if a line is not a record",
            take: |o, _| switch(&mut o.strict),
        },
        Opt {
            names: &["stream"],
            value: "NAME",
            help: "read this NATS stream instead of files (default: files)",
            take: |o, v| stream_options::name(v).map(|it| o.stream.name = Some(it)),
        },
        SharedOptions::NATS,
        SharedOptions::CREDENTIALS,
        SharedOptions::CA,
        SharedOptions::CERT,
        SharedOptions::KEY,
    ],
    operand: Some(|o, v| v.path().map(|it| o.files.push(it))),
    check: Options::check,
    examples: &[
        (
            "{client} read -since 10m -with-peer logging.log",
            "messages of the last ten minutes, with the clients' addresses",
        ),
        ("{client} read logging*.log", "a log with its rotated files"),
        (
            "{client} read -once a/logging.log b/logging.log > lines",
            "every line once, from the logs of two servers",
        ),
        (
            "{client} read -stream LOG -last 10 -follow -nats nats://a,nats://b",
            "the last ten messages of a stream, and all that follow",
        ),
    ],
    notes: "Exit codes: 0 all was read, 1 a log could not be read (-strict: or a line is not a \
            record), 2 bad options, 4 a number is missing (-once).",
};

/// A point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) time::OffsetDateTime);

/// The parsed command line.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option")]
pub(crate) struct Options {
    pub(crate) show: Show,
    pub(crate) peer: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) since: Option<Moment>,
    pub(crate) until: Option<Moment>,
    pub(crate) utc: bool,
    pub(crate) last: Option<usize>,
    pub(crate) follow: bool,
    pub(crate) once: bool,
    pub(crate) hold: usize,
    pub(crate) strict: bool,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) stream: StreamOptions,
    now: time::OffsetDateTime,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            show: Show::default(),
            peer: None,
            id: None,
            since: None,
            until: None,
            utc: false,
            last: None,
            follow: false,
            once: false,
            hold: 65_536,
            strict: false,
            files: Vec::new(),
            stream: StreamOptions::default(),
            now: time::OffsetDateTime::now_utc(),
        }
    }
}

impl AsMut<Nodes> for Options {
    fn as_mut(&mut self) -> &mut Nodes {
        &mut self.stream.nodes
    }
}

impl Options {
    fn check(&mut self) -> Result<(), UsageError> {
        self.stream.check()?;
        if self.stream.name.is_some() {
            return match self.files.as_slice() {
                [] => Ok(()),
                _ => Err(UsageError::new("-stream and FILE are two logs: give one")),
            };
        }
        if self.files.is_empty() {
            if io::stdin().is_terminal() {
                return Err(UsageError::new("expected FILE, the server's log"));
            }
            self.files.push(PathBuf::from("-"));
        }
        if self.follow && (self.files.len() > 1 || self.files[0].as_os_str() == "-") {
            return Err(UsageError::new("-follow goes with one FILE"));
        }
        Ok(())
    }

    /// Whether a filter may leave out some of a sender's lines.
    pub(crate) fn is_partial(&self) -> bool {
        self.since.is_some() || self.until.is_some() || self.peer.is_some()
    }

    fn parse_time(&self, arg: &ArgValue) -> Result<Moment, UsageError> {
        let text = arg.text()?;
        let format = &time::format_description::well_known::Rfc3339;
        if let Ok(time) = time::OffsetDateTime::parse(&text, format) {
            return Ok(Moment(time));
        }
        let ago = arg.time(std::time::Duration::ZERO..=common::args::MAX_TIME);
        let ago = ago.map_err(|_| {
            arg.unexpected("a time such as 2026-11-25T03:35:12Z, or how long ago: 10m")
        })?;
        Ok(Moment(self.now - ago))
    }
}

#[cfg(test)]
mod tests {
    use common::args::Parsed;

    use super::*;

    fn options(args: &[&str]) -> Result<Options, String> {
        match COMMAND.parse(Options::default(), args) {
            Ok(Parsed::Run(options)) => Ok(options),
            Ok(Parsed::Print(text)) => panic!("{text}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn times_are_moments_or_ages() {
        let since = options(&["-since", "2026-11-25T03:35:12+01:00", "a"]).unwrap();
        assert_eq!(since.since.unwrap().0.unix_timestamp(), 1_795_574_112);
        let ago = options(&["-until", "10m", "a"]).unwrap();
        assert_eq!((ago.now - ago.until.unwrap().0).whole_seconds(), 600);
        for text in ["yesterday", "", "2026-11-25"] {
            assert!(options(&["-since", text, "a"]).is_err(), "{text}");
        }
    }

    #[test]
    fn one_file_is_followed() {
        assert!(options(&["-follow", "a"]).is_ok());
        for args in [["-follow", "a", "b"].as_slice(), &["-follow", "-"]] {
            assert!(options(args).is_err(), "{args:?}");
        }
        assert!(COMMAND.help_of(80).lines().all(|line| line.chars().count() <= 80));
    }
}
