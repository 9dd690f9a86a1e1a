//! Command-line options of `launcher`.

use std::ffi::OsString;
use std::path::PathBuf;

use common::args::{Command, Opt, switch};
use common::protocol::{DEFAULT_LOG, DEFAULT_PORT};
use common::summary::{ROUNDS, THREADS};
use tls::SharedOptions;

pub(crate) const COMMAND: Command<Options> = Command {
    name: "launcher",
    usage: "[options]",
    about: "Starts one server and some clients, and shows their output, each line with the name \
            of its program. It stops the server when the clients have ended.",
    options: &[
        Opt {
            names: &["host"],
            value: "HOST",
            help: "address that the server listens on (default 127.0.0.1)",
            take: |o, v| v.host().map(|it| o.host = it),
        },
        Opt {
            names: &["clhost"],
            value: "HOST",
            help: "address that the clients connect to (default: the address that the server \
                   reports)",
            take: |o, v| v.host().map(|it| o.client_host = Some(it)),
        },
        Opt {
            names: &["port"],
            value: "PORT",
            help: "port of the server; 0 picks a free one (default 2005)",
            take: |o, v| v.number("a port number", 0..=u16::MAX).map(|it| o.port = it),
        },
        Opt {
            names: &["cl", "clients"],
            value: "N",
            help: "number of clients (default 5)",
            take: |o, v| v.number("a number of clients", 1..=10_000).map(|it| o.clients = it),
        },
        Opt {
            names: &["nt"],
            value: "N",
            help: "number of threads of each client (default 5)",
            take: |o, v| v.number("a number of threads", THREADS).map(|it| o.threads = it),
        },
        Opt {
            names: &["ni"],
            value: "N",
            help: "number of rounds of each client; each thread sends once a round (default 10)",
            take: |o, v| v.number("a number of rounds", ROUNDS).map(|it| o.rounds = it),
        },
        Opt {
            names: &["log"],
            value: "FILE",
            help: "log file of the server (default logging.log)",
            take: |o, v| v.path().map(|it| o.log = Some(it)),
        },
        Opt {
            names: &["server-tls-cert"],
            value: "FILE",
            help: "certificate chain of the server (its -tls-cert); with it the server speaks \
                   TLS only (default: none)",
            take: |o, v| v.path().map(|it| o.server_tls.cert = Some(it)),
        },
        Opt {
            names: &["server-tls-key"],
            value: "FILE",
            help: "private key of the server (its -tls-key)",
            take: |o, v| v.path().map(|it| o.server_tls.key = Some(it)),
        },
        Opt {
            names: &["server-tls-client-ca"],
            value: "FILE",
            help: "CA certificates for clients (the server's -tls-client-ca; default: none)",
            take: |o, v| v.path().map(|it| o.server_tls.client_ca = Some(it)),
        },
        SharedOptions::TLS,
        SharedOptions::CA,
        SharedOptions::CERT,
        SharedOptions::KEY,
        SharedOptions::NAME,
        Opt {
            names: &["keep"],
            value: "",
            help: "keep the server running until Ctrl-C, instead of stopping it after the last \
                   client",
            take: |o, _| switch(&mut o.keep),
        },
    ],
    commands: &[],
    operand: None,
    check: |options| options.tls.check(),
    examples: &[
        ("{launcher} -clients 3 -nt 2 -ni 4", "three clients of two threads send 24 lines in all"),
        (
            "{launcher} -port 0 -log /tmp/try.log -keep",
            "a free port, another log, and a server that keeps running",
        ),
    ],
    notes: "The launcher runs the '{server}' and '{client}' in its own folder. Names are in colour on \
            a terminal, unless NO_COLOR is set.\n\
            Exit codes: 0 server and clients all ended well; 1 not so; 2 bad options; 130 \
            interrupted by Ctrl-C or SIGTERM, after stopping all of them.",
};

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) host: String,
    /// Without it, the clients use the address at which the server listens.
    pub(crate) client_host: Option<String>,
    pub(crate) port: u16,
    pub(crate) clients: usize,
    pub(crate) threads: usize,
    pub(crate) rounds: u64,
    /// Without it, the server uses its default.
    pub(crate) log: Option<PathBuf>,
    pub(crate) server_tls: ServerTls,
    /// The TLS options of the clients.
    pub(crate) tls: tls::Options,
    pub(crate) keep: bool,
}

/// The TLS options of the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerTls {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// The options as arguments.
    pub(crate) fn to_args(&self) -> impl Iterator<Item = OsString> {
        let options = [
            ("-tls-cert", &self.cert),
            ("-tls-key", &self.key),
            ("-tls-client-ca", &self.client_ca),
        ];
        let given =
            options.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?)));
        given.flat_map(|(option, value)| [option.into(), value.into()])
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            client_host: None,
            port: DEFAULT_PORT,
            clients: 5,
            threads: 5,
            rounds: 10,
            log: None,
            server_tls: ServerTls::default(),
            tls: tls::Options::default(),
            keep: false,
        }
    }
}

impl AsMut<tls::Options> for Options {
    fn as_mut(&mut self) -> &mut tls::Options {
        &mut self.tls
    }
}

impl Options {
    /// The path of the log.
    pub(crate) fn log(&self) -> PathBuf {
        self.log.clone().unwrap_or_else(|| DEFAULT_LOG.into())
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
            (&["host"], "::", |o| o.host = "::".to_owned()),
            (&["clhost"], "::1", |o| {
                o.client_host = Some("::1".to_owned());
            }),
            (&["port"], "0", |o| o.port = 0),
            (&["cl", "clients"], "7", |o| o.clients = 7),
            (&["nt"], "1000", |o| o.threads = 1000),
            (&["ni"], "3", |o| o.rounds = 3),
            (&["log"], "a/b", |o| o.log = Some(PathBuf::from("a/b"))),
            (&["server-tls-cert"], "a", |o| {
                o.server_tls.cert = Some(PathBuf::from("a"));
            }),
            (&["server-tls-key"], "a", |o| {
                o.server_tls.key = Some(PathBuf::from("a"));
            }),
            (&["server-tls-client-ca"], "a", |o| {
                o.server_tls.client_ca = Some(PathBuf::from("a"));
            }),
            (&["tls-ca"], "a", |o| o.tls.ca = Some(PathBuf::from("a"))),
        ];
        for &(names, value, expect) in table {
            let mut expected = Options::default();
            expect(&mut expected);
            for name in names {
                for option in [format!("-{name}"), format!("--{name}")] {
                    assert_eq!(options(&[&option, value]).as_ref(), Ok(&expected));
                    let joined = format!("{option}={value}");
                    assert_eq!(options(&[&joined]).as_ref(), Ok(&expected));
                }
            }
        }
        for spelling in ["-keep", "--keep"] {
            assert!(options(&[spelling]).unwrap().keep);
        }
        let tested: Vec<_> = table.iter().flat_map(|(names, ..)| *names).collect();
        for name in COMMAND.options.iter().flat_map(|opt| opt.names) {
            // The TLS options of the clients are tested in the `tls` crate.
            let elsewhere = *name == "keep" || name.starts_with("tls");
            assert!(tested.contains(&name) || elsewhere, "{name}");
        }
        assert_eq!(options(&[]), Ok(Options::default()));
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (args, expected) in [
            (&["-port", "65536"][..], "-port: expected a port number (0 to 65535), got '65536'"),
            (&["-clients", "0"], "-clients: expected a number of clients (1 to 10000), got '0'"),
            (&["-log="], "-log: expected a path, got ''"),
            (&["-keep=1"], "-keep takes no value, got '1'"),
            (&["-client", "1"], "unknown option '-client': did you mean '-clients'?"),
        ] {
            assert_eq!(options(args).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn help_fits_80_columns_and_says_the_defaults() {
        let help = COMMAND.help_of(80);
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let Options { host, port, clients, threads, rounds, .. } = Options::default();
        assert_eq!(clients, threads);
        let numbers = [usize::from(port), clients].map(|n| n.to_string());
        let defaults = [host, rounds.to_string()];
        for default in defaults.into_iter().chain(numbers) {
            assert!(help.contains(&format!("(default {default})")), "{default}");
        }
    }
}
