//! Command-line options of `client`.

use std::time::Duration;

use common::args::{Command, MAX_TIME, Opt, switch};
use common::protocol::{DEFAULT_PORT, Framing};
use common::summary::{ROUNDS, THREADS};
use tls::SharedOptions;

pub(crate) const COMMAND: Command<Options> = Command {
    name: "client",
    usage: "[options]",
    about: "Threads that take strict turns on one connection: each sends the server the line \
            'Thread k, iteration v', prints it, and waits for the reply 'ok', which means that \
            the line is in the server's log.",
    options: &[
        Opt {
            names: &["nhost", "host"],
            value: "HOST",
            help: "host name or address of the server; all addresses of a name are tried \
                   (default localhost)",
            take: |o, v| v.host().map(|it| o.host = it),
        },
        Opt {
            names: &["port"],
            value: "PORT",
            help: "port of the server (default 2005)",
            take: |o, v| v.number("a port number", 1..=u16::MAX).map(|it| o.port = it),
        },
        Opt {
            names: &["nt"],
            value: "N",
            help: "number of threads (default 5)",
            take: |o, v| v.number("a number of threads", THREADS).map(|it| o.threads = it),
        },
        Opt {
            names: &["ni"],
            value: "N",
            help: "number of rounds; each thread sends once a round (default 10)",
            take: |o, v| v.number("a number of rounds", ROUNDS).map(|it| o.rounds = it),
        },
        Opt {
            names: &["formula"],
            value: "FORMULA",
            help: "v in the round i = 0, 1, 2, …: i^2+1, i^2+i or i+1 (default i^2+1)",
            take: |o, v| v.choice(Formula::CHOICES).map(|it| o.formula = it),
        },
        Opt {
            names: &["framing"],
            value: "line|nul|octet|none",
            help: "framing of the server; 'none' is that of the original Python programs \
                   (default line)",
            take: |o, v| v.choice(Framing::CHOICES).map(|it| o.framing = it),
        },
        Opt {
            names: &["timeout"],
            value: "TIME",
            help: "timeout for connecting and for each reply (default 10s)",
            take: |o, v| v.time(Duration::from_millis(1)..=MAX_TIME).map(|it| o.timeout = it),
        },
        SharedOptions::TLS,
        SharedOptions::CA,
        SharedOptions::CERT,
        SharedOptions::KEY,
        SharedOptions::NAME,
        Opt {
            names: &["quiet"],
            value: "",
            help: "do not print the lines, only the summary",
            take: |o, _| switch(&mut o.quiet),
        },
    ],
    commands: &[
        ("send", "sends lines of yours, and keeps each until it is in the log"),
        ("read", "prints the messages in a server's log, and proves that none is missing"),
        ("load", "measures a server, and verifies its log"),
        ("verify", "verifies a log later"),
        ("report", "draws the figures of several runs"),
    ],
    operand: None,
    check: |options| options.tls.check(),
    examples: &[
        (
            "{client} -nhost log.example.org -nt 3 -ni 2",
            "three threads send two lines each, in turns",
        ),
        ("{client} -nt 1 -ni 10000 -quiet", "measure the round trip of a line"),
    ],
    notes: "The lines go to stdout; the summary, or what went wrong, is one line on stderr.\n\
            Exit codes: 0 every line was acknowledged, or the reader of stdout had enough; 1 not \
            so; 2 bad options.\n\
            '{client} load -help' tells about the measuring mode.",
};

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) threads: usize,
    pub(crate) rounds: u64,
    pub(crate) formula: Formula,
    pub(crate) framing: Framing,
    pub(crate) timeout: Duration,
    pub(crate) tls: tls::Options,
    pub(crate) quiet: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: DEFAULT_PORT,
            threads: 5,
            rounds: 10,
            formula: Formula::SquarePlusOne,
            framing: Framing::Line,
            timeout: Duration::from_secs(10),
            tls: tls::Options::default(),
            quiet: false,
        }
    }
}

impl AsMut<tls::Options> for Options {
    fn as_mut(&mut self) -> &mut tls::Options {
        &mut self.tls
    }
}

/// The number that a thread sends in round i = 0, 1, 2, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formula {
    /// The formula of the original program.
    SquarePlusOne,
    /// The formula in the original exercise's text.
    SquarePlusI,
    /// The round, counted from 1.
    PlusOne,
}

impl Formula {
    const CHOICES: &[(&str, Self)] =
        &[("i^2+1", Self::SquarePlusOne), ("i^2+i", Self::SquarePlusI), ("i+1", Self::PlusOne)];

    /// No `i` overflows: (2^64 - 1)^2 + (2^64 - 1) is less than 2^128.
    pub(crate) fn value(self, i: u64) -> u128 {
        let i = u128::from(i);
        match self {
            Self::SquarePlusOne => i * i + 1,
            Self::SquarePlusI => i * i + i,
            Self::PlusOne => i + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::args::{Parsed, UsageError};

    use super::*;

    fn options(args: &[&str]) -> Result<Options, UsageError> {
        match COMMAND.parse(Options::default(), args)? {
            Parsed::Run(options) => Ok(options),
            Parsed::Print(text) => panic!("{args:?}: {text}"),
        }
    }

    #[test]
    fn every_spelling_of_every_option_is_understood() {
        type Expect = fn(&mut Options);
        let table: &[(&[&str], &str, Expect)] = &[
            (&["nhost", "host"], "::1", |o| o.host = "::1".to_owned()),
            (&["port"], "1", |o| o.port = 1),
            (&["nt"], "1000", |o| o.threads = 1000),
            (&["ni"], "18446744073709551615", |o| o.rounds = u64::MAX),
            (&["formula"], "i^2+1", |_| {}),
            (&["formula"], "i^2+i", |o| o.formula = Formula::SquarePlusI),
            (&["formula"], "i+1", |o| o.formula = Formula::PlusOne),
            (&["framing"], "line", |_| {}),
            (&["framing"], "none", |o| o.framing = Framing::None),
            (&["timeout"], "0.25", |o| {
                o.timeout = Duration::from_millis(250);
            }),
        ];
        for &(names, value, expect) in table {
            let mut expected = Options::default();
            expect(&mut expected);
            for name in names {
                for dashes in ["-", "--"] {
                    let option = format!("{dashes}{name}");
                    assert_eq!(options(&[&option, value]).as_ref(), Ok(&expected));
                    assert_eq!(options(&[&format!("{option}={value}")]).as_ref(), Ok(&expected));
                }
            }
        }
        for spelling in ["-quiet", "--quiet"] {
            assert!(options(&[spelling]).unwrap().quiet);
        }
        let tested = table.iter().flat_map(|(names, ..)| *names).chain(&["quiet"]);
        let all = COMMAND.options.iter().flat_map(|opt| opt.names);
        // The TLS options are tested in the `tls` crate.
        let mut all = all.filter(|name| !name.starts_with("tls"));
        assert!(all.all(|name| tested.clone().any(|n| n == name)));
        assert_eq!(options(&[]), Ok(Options::default()));
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (args, expected) in [
            (["-port", "0"], "-port: expected a port number (1 to 65535), got '0'"),
            (["-nt", "0"], "-nt: expected a number of threads (1 to 100000), got '0'"),
            (
                ["-ni", "-1"],
                "-ni: expected a number of rounds (1 to 18446744073709551615), got '-1'",
            ),
            (["-formula", "i*i"], "-formula: expected i^2+1, i^2+i or i+1, got 'i*i'"),
            (["-framing", "crlf"], "-framing: expected line, nul, octet or none, got 'crlf'"),
            (
                ["-timeout", "0"],
                "-timeout: expected a time such as 500ms, 5s or 1.5m (1ms to 365d), got '0'",
            ),
            (["-nhots", "x"], "unknown option '-nhots': did you mean '-nhost'?"),
        ] {
            assert_eq!(options(&args).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn help_fits_80_columns_and_says_the_defaults() {
        let help = COMMAND.help_of(80);
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let Options { host, port, threads, rounds, timeout, .. } = Options::default();
        let defaults = [
            host,
            port.to_string(),
            threads.to_string(),
            rounds.to_string(),
            timeout.as_secs().to_string(),
            "i^2+1".to_owned(),
            "line".to_owned(),
        ];
        for default in defaults {
            assert!(help.contains(&format!("(default {default})")), "{default}");
        }
    }

    #[test]
    fn formulas_count_rounds_from_zero_and_never_overflow() {
        for (formula, expected) in [
            (Formula::SquarePlusOne, [1, 2, 5, 10]),
            (Formula::SquarePlusI, [0, 2, 6, 12]),
            (Formula::PlusOne, [1, 2, 3, 4]),
        ] {
            let values: Vec<_> = (0..4).map(|i| formula.value(i)).collect();
            assert_eq!(values, expected);
            assert!(formula.value(u64::MAX) > formula.value(u64::MAX - 1));
        }
    }
}
