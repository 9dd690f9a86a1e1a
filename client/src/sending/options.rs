//! Command-line options of `client send`.

use std::path::PathBuf;
use std::time::Duration;

use common::args::{ArgValue, Command, MAX_TIME, Opt, UsageError, switch};
use common::protocol::{DEFAULT_MAX_MESSAGE, DEFAULT_PORT, Framing};
use send::Config;
use tls::{Connector, SharedOptions};

/// Maximum length of the name in `-id`, in bytes.
const MAX_ID: usize = 64;

pub(crate) const COMMAND: Command<Options> = Command {
    name: "client send",
    usage: "[options] [FILE...]",
    about: "Sends the lines of standard input or of files, and exits 0 only if every line was \
            acknowledged. It keeps each line until its 'ok', and resends it when the connection \
            breaks or the server cannot log it now.",
    commands: &[],
    options: &[
        Opt {
            names: &["nhost", "host"],
            value: "HOST[:PORT],...",
            help: "servers, the preferred one first; all addresses of a name are tried (default \
                   localhost)",
            take: |o, v| hosts(v).map(|it| o.hosts = it),
        },
        Opt {
            names: &["port"],
            value: "PORT",
            help: "port of servers that are given without one (default 2005)",
            take: |o, v| v.number("a port number", 1..=65_535).map(|it| o.port = it),
        },
        Opt {
            names: &["follow"],
            value: "FILE",
            help: "follow a growing file through renames, replacement and truncation; a line is \
                   sent when it is complete (default: none)",
            take: |o, v| v.path().map(|it| o.follow = Some(it)),
        },
        Opt {
            names: &["state"],
            value: "FILE",
            help: "state file: store how far all lines are acknowledged, and resume there after \
                   a restart (default: none)",
            take: |o, v| v.path().map(|it| o.state = Some(it)),
        },
        Opt {
            names: &["begin"],
            value: "",
            help: "create the state file, which must not exist",
            take: |o, _| switch(&mut o.begin),
        },
        Opt {
            names: &["id"],
            value: "NAME",
            help: "send each line as '@NAME:NUMBER LINE', numbered from 1 without gaps, so that \
                   '{client} read -once' detects missing lines; without -state, a random suffix is \
                   added to the name (default: none)",
            take: |o, v| id(v).map(|it| o.id = Some(it)),
        },
        Opt {
            names: &["pipeline"],
            value: "N",
            help: "maximum number of unacknowledged lines (default 1024)",
            take: |o, v| v.number("a number of lines", 1..=1_000_000).map(|it| o.pipeline = it),
        },
        Opt {
            names: &["retry"],
            value: "TIME",
            help: "how long to retry while no server accepts lines; 0: do not retry (default: no \
                   limit)",
            take: |o, v| v.time(Duration::ZERO..=MAX_TIME).map(|it| o.retry = Some(it)),
        },
        Opt {
            names: &["timeout"],
            value: "TIME",
            help: "close a connection that is silent for this time while lines are \
                   unacknowledged (default 10s)",
            take: |o, v| {
                let possible = Duration::from_millis(1)..=MAX_TIME;
                v.time(possible).map(|it| o.timeout = it)
            },
        },
        Opt {
            names: &["framing"],
            value: "line|nul|octet",
            help: "framing of the server (default line)",
            take: |o, v| v.choice(FRAMINGS).map(|it| o.framing = it),
        },
        Opt {
            names: &["max-message"],
            value: "SIZE",
            help: "maximum length of a line; longer lines are reported and skipped (default 64K)",
            take: |o, v| v.size(1..=1 << 30).map(|it| o.max_message = it),
        },
        Opt {
            names: &["split"],
            value: "",
            help: "split longer lines instead",
            take: |o, _| switch(&mut o.split),
        },
        Opt {
            names: &["rejects"],
            value: "FILE",
            help: "append refused lines to this file (default: none)",
            take: |o, v| v.path().map(|it| o.rejects = Some(it)),
        },
        SharedOptions::TLS,
        SharedOptions::CA,
        SharedOptions::CERT,
        SharedOptions::KEY,
        SharedOptions::NAME,
        Opt {
            names: &["json"],
            value: "",
            help: "print the final figures as one JSON object on stdout",
            take: |o, _| switch(&mut o.json),
        },
        Opt {
            names: &["quiet"],
            value: "",
            help: "show no progress",
            take: |o, _| switch(&mut o.quiet),
        },
    ],
    operand: Some(|o, v| v.path().map(|it| o.files.push(it))),
    check: Options::check,
    examples: &[
        (
            "journalctl -f -o cat | {client} send -nhost logs.example",
            "send the output of a program",
        ),
        (
            "{client} send -follow app.log -state app.pos -begin -id shop-7 -nhost a,b:2006",
            "follow a file and number its lines, with two servers; later without -begin",
        ),
    ],
    notes: "Signals: after the first INT or TERM it waits for replies to what was sent, the \
            second ends it at once.\nExit codes: 0 every line was acknowledged, 1 some were not, \
            2 bad options, 130 interrupted with unacknowledged lines.",
};

/// `none` is missing: with it, replies have no end mark.
const FRAMINGS: &[(&str, Framing)] =
    &[("line", Framing::Line), ("nul", Framing::Nul), ("octet", Framing::Octet)];

/// The parsed command line.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option")]
pub(crate) struct Options {
    /// Each host with its port, if one was given.
    hosts: Vec<(String, Option<u16>)>,
    port: u16,
    pub(super) follow: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    pub(super) begin: bool,
    pub(super) id: Option<String>,
    pub(super) pipeline: usize,
    retry: Option<Duration>,
    timeout: Duration,
    pub(super) framing: Framing,
    pub(super) max_message: usize,
    pub(super) split: bool,
    pub(super) rejects: Option<PathBuf>,
    tls: tls::Options,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) files: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: vec![("localhost".to_owned(), None)],
            port: DEFAULT_PORT,
            follow: None,
            state: None,
            begin: false,
            id: None,
            pipeline: 1024,
            retry: None,
            timeout: Duration::from_secs(10),
            framing: Framing::Line,
            max_message: DEFAULT_MAX_MESSAGE,
            split: false,
            rejects: None,
            tls: tls::Options::default(),
            json: false,
            quiet: false,
            files: Vec::new(),
        }
    }
}

impl AsMut<tls::Options> for Options {
    fn as_mut(&mut self) -> &mut tls::Options {
        &mut self.tls
    }
}

impl Options {
    /// Checks how options combine.
    fn check(&mut self) -> Result<(), UsageError> {
        let wrong = |why: &str| Err(UsageError::new(why));
        if self.follow.is_some() && !self.files.is_empty() {
            return wrong("-follow and FILE exclude each other");
        }
        if self.state.is_some() && !self.files.is_empty() {
            return wrong("-state goes with -follow or standard input, not with FILE");
        }
        self.tls.check()?;
        if self.begin && self.state.is_none() {
            return wrong("-begin makes the file of -state: name that, too");
        }
        Ok(())
    }

    /// # Errors
    ///
    /// TLS cannot be set up as the options ask.
    pub(super) fn config(&self) -> Result<Config, String> {
        let hosts = self.hosts.iter();
        let hosts = hosts.map(|(host, port)| (host.clone(), port.unwrap_or(self.port)));
        Ok(Config {
            pipeline: self.pipeline,
            retry: self.retry,
            timeout: self.timeout,
            framing: self.framing,
            connector: Connector::open(&self.tls)?,
            ..Config::to(&hosts.collect::<Vec<_>>())
        })
    }

    /// The name in the tag of each line. Without a state file every run counts from 1, so each run
    /// gets a random suffix. Otherwise a reader would take the lines of a second run for repeats of
    /// the first.
    pub(super) fn tag_name(&self) -> Option<String> {
        let id = self.id.as_ref()?;
        if self.state.is_some() {
            return Some(id.clone());
        }
        let random = format!("-{:08x}", fastrand::u32(..));
        let room = MAX_ID - random.len();
        Some(format!("{}{random}", &id[..id.len().min(room)]))
    }
}

/// `HOST`, `HOST:PORT`, `[::1]:PORT` or `::1`, separated by commas.
fn hosts(arg: &ArgValue) -> Result<Vec<(String, Option<u16>)>, UsageError> {
    let text = arg.text()?;
    let expected = || arg.unexpected("HOST or HOST:PORT, several separated by commas");
    let host = |text: &str| {
        if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']')?;
            let port = port.strip_prefix(':').map(str::parse::<u16>).transpose();
            return Some((host.to_owned(), port.ok()?));
        }
        match text.split_once(':') {
            // More than one colon: an IPv6 address without brackets.
            Some((_, port)) if port.contains(':') => Some((text.to_owned(), None)),
            Some((host, port)) => Some((host.to_owned(), Some(port.parse().ok()?))),
            None => Some((text.to_owned(), None)),
        }
    };
    let found: Option<Vec<_>> = text.split(',').map(host).collect();
    let is_good = |(host, port): &(String, Option<u16>)| !host.is_empty() && *port != Some(0);
    found.filter(|found| found.iter().all(is_good)).ok_or_else(expected)
}

fn id(arg: &ArgValue) -> Result<String, UsageError> {
    let text = arg.text()?;
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_good) {
        return Ok(text);
    }
    Err(arg.unexpected("a name of 1 to 64 letters, digits, '.', '_' or '-'"))
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
    fn hosts_are_spelt_as_people_do() {
        for (text, expected) in [
            ("a", &[("a", 9)][..]),
            ("a:1,b", &[("a", 1), ("b", 9)]),
            ("::1,[::1]:7,[fe80::1%2]", &[("::1", 9), ("::1", 7), ("fe80::1%2", 9)]),
        ] {
            let found = options(&["-nhost", text, "-port", "9"]).unwrap().config().unwrap().hosts;
            let found: Vec<_> = found.iter().map(|(host, port)| (host.as_str(), *port)).collect();
            assert_eq!(found, expected);
        }
        for text in ["", "a:", "a:0", ",", "a,,b", "[::1", "a:b"] {
            assert!(options(&["-nhost", text]).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_what_a_reader_can_tell() {
        for name in ["a", "shop-7", "A.b_c-9", &"x".repeat(64)] {
            let options = options(&["-id", name, "-state", "s"]).unwrap();
            assert_eq!(options.tag_name().unwrap(), name);
        }
        for name in ["", "a b", "ü", "a:b", &"x".repeat(65)] {
            assert!(options(&["-id", name]).is_err(), "{name}");
        }
        let long = options(&["-id", &"x".repeat(64)]).unwrap();
        let (first, second) = (long.tag_name().unwrap(), long.tag_name().unwrap());
        assert!(first.len() == 64 && first != second, "a name for each run");
    }

    #[test]
    fn what_excludes_each_other_is_said() {
        for args in [&["-follow", "a", "b"][..], &["-state", "a", "b"], &["-begin"]] {
            assert!(options(args).is_err(), "{args:?}");
        }
        assert!(COMMAND.help_of(80).lines().all(|line| line.chars().count() <= 80));
    }
}
