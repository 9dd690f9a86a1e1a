//! Command-line options of the server.

pub mod stream;

use std::path::PathBuf;
use std::time::Duration;

use common::args::{Command, MAX_TIME, Opt, UsageError};
use common::protocol::{DEFAULT_LOG, DEFAULT_MAX_MESSAGE, DEFAULT_PORT, Framing};
use common::record::Format;

use crate::journal::Opening;
use crate::journal::rotation::policy::Policy;
use crate::networks::Networks;

type Stream = stream::SharedOptions<Config>;
type Nats = nats::options::SharedOptions<Config>;

/// The command `server` and its options.
pub const COMMAND: Command<Config> = Command {
    name: "server",
    usage: "[options]",
    about: "Takes lines over TCP, writes each to a log, and answers 'ok': 'ok' means the line is \
            in the log.",
    options: &[
        Opt {
            names: &["host"],
            value: "HOST",
            help: "address or host name to listen on; a name stands for all its addresses (default \
                   127.0.0.1: this machine only)",
            take: |o, v| v.host().map(|it| o.host = it),
        },
        Opt {
            names: &["port"],
            value: "PORT",
            help: "port to listen on; 0 picks a free one (default 2005)",
            take: |o, v| v.number("a port number", 0..=65_535).map(|it| o.port = it),
        },
        Opt {
            names: &["reuse-port"],
            value: "",
            help: "share the port (SO_REUSEPORT) with other servers of the same user that have \
                   this option; each needs a log or an -id of its own, and the kernel balances \
                   connections",
            take: |o, _| {
                o.sockets.reuse_port = true;
                Ok(())
            },
        },
        Opt {
            names: &["log"],
            value: "FILE",
            help: "log file, a regular file; without -append an old log is emptied at the start, \
                   and any other file is refused (default logging.log)",
            take: |o, v| v.path().map(|it| o.log = Some(it)),
        },
        Opt {
            names: &["append"],
            value: "",
            help: "keep the log and write after its end",
            take: |o, _| {
                o.opening = Opening::Append;
                Ok(())
            },
        },
        Opt {
            names: &["format"],
            value: "original|json",
            help: "record format: the original's two lines for a message, or one line of JSON \
                   (default original)",
            take: |o, v| v.choice(Format::CHOICES).map(|it| o.format = it),
        },
        Opt {
            names: &["sync"],
            value: "",
            help: "answer 'ok' only when the record is on disk (fdatasync)",
            take: |o, _| {
                o.sync = true;
                Ok(())
            },
        },
        Opt {
            names: &["rotate-size"],
            value: "SIZE",
            help: "rotate when the log reaches SIZE: rename it to NAME-TIME-NUMBER.EXT (time of \
                   its first record, UTC) and begin a new one (default: never)",
            take: |o, v| v.size(1..=1 << 40).map(|it| o.rotation.size = Some(it as u64)),
        },
        Opt {
            names: &["rotate-every"],
            value: "TIME",
            help: "rotate when the oldest record reaches this age; an empty log is not rotated \
                   (default: never)",
            take: |o, v| v.time(SECOND..=MAX_TIME).map(|it| o.rotation.age = Some(it)),
        },
        Opt {
            names: &["keep"],
            value: "N",
            help: "keep the newest N rotated files, delete older ones (default: keep all)",
            take: |o, v| {
                v.number("a number of files", 1..=1_000_000).map(|it| o.rotation.keep = Some(it))
            },
        },
        Stream::STREAM,
        Nats::NATS,
        Nats::CREDENTIALS,
        Nats::CA,
        Nats::CERT,
        Nats::KEY,
        Stream::SUBJECT,
        Stream::ID,
        Stream::ACK_WAIT,
        Opt {
            names: &["quiet"],
            value: "",
            help: "do not show records on standard output",
            take: |o, _| {
                o.quiet = true;
                Ok(())
            },
        },
        Opt {
            names: &["framing"],
            value: "line|nul|octet|none",
            help: "'line': LF ends a message and a reply; 'nul': NUL does; 'octet': the length and \
                   a space precede a message (RFC 6587); 'none': each read is a message, and \
                   replies have no line end (default line)",
            take: |o, v| v.choice(Framing::CHOICES).map(|it| o.framing = it),
        },
        Opt {
            names: &["replies"],
            value: "all|none",
            help: "'none': send no replies, for clients that never read; they cannot learn what is \
                   in the log (default all)",
            take: |o, v| v.choice(ReplyMode::CHOICES).map(|it| o.reply_mode = it),
        },
        Opt {
            names: &["max-message"],
            value: "SIZE",
            help: "maximum length of a message; a longer one gets an error reply (default 64K)",
            take: |o, v| v.size(1..=1 << 30).map(|it| o.max_message = it),
        },
        Opt {
            names: &["max-clients"],
            value: "N",
            help: "maximum number of clients at once (default: what the limit of open files \
                   allows)",
            take: |o, v| v.number("clients", 1..=1 << 30).map(|it| o.max_clients = Some(it)),
        },
        Opt {
            names: &["idle-timeout"],
            value: "TIME",
            help: "close a connection after this time without traffic; a client that reads its \
                   replies slowly is not idle (default 0: never)",
            take: |o, v| v.time_or_never(SECOND..=MAX_IDLE).map(|it| o.idle_timeout = it),
        },
        Opt {
            names: &["keepalive"],
            value: "TIME",
            help: "probe a silent client after this time; a dead peer is dropped after about twice \
                   that (default 60s; 0: never)",
            take: |o, v| v.time_or_never(SECOND..=MAX_KEEPALIVE).map(|it| o.sockets.keepalive = it),
        },
        Opt {
            names: &["tls-cert"],
            value: "FILE",
            help: "certificate chain for TLS, PEM; with it the server speaks TLS only, and SIGHUP \
                   reloads it",
            take: |o, v| v.path().map(|it| o.tls_cert = Some(it)),
        },
        Opt {
            names: &["tls-key"],
            value: "FILE",
            help: "private key of -tls-cert, PEM",
            take: |o, v| v.path().map(|it| o.tls_key = Some(it)),
        },
        Opt {
            names: &["tls-client-ca"],
            value: "FILE",
            help: "require a client certificate of a CA in this file, PEM",
            take: |o, v| v.path().map(|it| o.tls_client_ca = Some(it)),
        },
        Opt {
            names: &["allow-names"],
            value: "NAME,...",
            help: "also require one of these certificate names (subject alternative names: DNS or \
                   IP)",
            take: |o, v| v.list("names").map(|it| o.allow_names = it),
        },
        Opt {
            names: &["allow"],
            value: "CIDR,...",
            help: "accept clients from these networks only; other connections are closed at once",
            take: |o, v| v.parsed().map(|it| o.allow = Some(it)),
        },
        Opt {
            names: &["proxy-from"],
            value: "CIDR,...",
            help: "require a PROXY header (version 1 or 2) from these networks; it gives the \
                   client's address",
            take: |o, v| v.parsed().map(|it| o.proxy_from = it),
        },
        Opt {
            names: &["metrics"],
            value: "HOST:PORT",
            help: "serve metrics and health over HTTP at this address: /metrics for Prometheus, \
                   /health for load balancers; there is no access control (default: off)",
            take: |o, v| v.host_and_port().map(|it| o.metrics = Some(it)),
        },
        Opt {
            names: &["utc"],
            value: "",
            help: "write UTC in the records instead of local time",
            take: |o, _| {
                o.utc = true;
                Ok(())
            },
        },
    ],
    commands: &[],
    operand: None,
    check: |config| config.check(),
    examples: &[
        (
            "{server} -host 127.0.0.1 -port 2005",
            "the defaults: records go to logging.log and to the terminal",
        ),
        (
            "{server} -log /var/log/lines.log -append -sync -quiet",
            "keep old records, survive power cuts, show nothing",
        ),
        (
            "{server} -append -rotate-size 100M -rotate-every 24h -keep 30",
            "rotate at 100 MiB or after a day, keep thirty rotated files",
        ),
        (
            "{server} -tls-cert my.pem -tls-key my.key -tls-client-ca ca.pem",
            "TLS, for clients with a certificate of your own CA",
        ),
        (
            "{server} -stream LOG -nats nats://n1,nats://n2,nats://n3 -id web-1",
            "log to a replicated stream; each server has its own -id",
        ),
    ],
    notes: "Signals: INT and TERM stop the server within 5 seconds, a second one at once. HUP reopens \
            the log and reloads certificates. USR1 prints a line of figures.\n\
            Environment: RUST_LOG=info (or debug) makes standard error more verbose.\n\
            Exit codes: 0 stopped, 1 failed or stopped at once, 2 bad options.",
};

const SECOND: Duration = Duration::from_secs(1);

/// The loop keeps milliseconds in 32 bits, and compares them across a wrap.
const MAX_IDLE: Duration = Duration::from_secs(20 * 24 * 3600);

/// The maximum of `TCP_KEEPIDLE` in the kernel.
const MAX_KEEPALIVE: Duration = Duration::from_secs(32_767);

/// Which messages get a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// Each message, with `ok` or an error.
    All,
    /// No message. Replies that the sender never reads would turn its close into a reset, which loses
    /// messages.
    None,
}

impl ReplyMode {
    const CHOICES: &[(&str, Self)] = &[("all", Self::All), ("none", Self::None)];
}

/// The parsed options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Host name or address to listen on.
    pub host: String,
    /// Port to listen on. 0: any free port.
    pub port: u16,
    /// Options of the listening sockets.
    pub sockets: net::Options,
    /// The log file. `None`: the default.
    pub log: Option<PathBuf>,
    /// Whether existing records are overwritten.
    pub opening: Opening,
    /// The format of records.
    pub format: Format,
    /// Sync to disk before each `ok`.
    pub sync: bool,
    /// When the log is rotated, and how many rotated files are kept.
    pub rotation: Policy,
    /// The stream that is the log, if any.
    pub stream: stream::Options,
    /// Do not print records to standard output.
    pub quiet: bool,
    /// How messages are delimited.
    pub framing: Framing,
    /// Which messages get a reply.
    pub reply_mode: ReplyMode,
    /// The maximum size of a message in bytes.
    pub max_message: usize,
    /// The maximum number of clients. `None`: as many as the descriptor limit allows.
    pub max_clients: Option<usize>,
    /// Close connections that are idle for this long.
    pub idle_timeout: Option<Duration>,
    /// The server's certificate. If set, the server speaks TLS only.
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate.
    pub tls_key: Option<PathBuf>,
    /// The CAs of client certificates. If set, clients must have a certificate.
    pub tls_client_ca: Option<PathBuf>,
    /// A client's certificate must have one of these names. Empty: any name.
    pub allow_names: Vec<String>,
    /// Networks from which clients are accepted. `None`: all.
    pub allow: Option<Networks>,
    /// Networks from which connections begin with a PROXY header.
    pub proxy_from: Networks,
    /// Host and port for metrics and health over HTTP.
    pub metrics: Option<(String, u16)>,
    /// Write times in UTC.
    pub utc: bool,
}

impl Config {
    /// The path of the log file.
    pub fn log(&self) -> PathBuf {
        let log = self.log.clone();
        log.unwrap_or_else(|| PathBuf::from(DEFAULT_LOG))
    }

    /// The first option given that applies only to a log file.
    fn about_a_file(&self) -> Option<&'static str> {
        let given = [
            ("-log", self.log.is_some()),
            ("-append", self.opening == Opening::Append),
            ("-sync", self.sync),
            ("-rotate-size", self.rotation.size.is_some()),
            ("-rotate-every", self.rotation.age.is_some()),
        ];
        let given = given.into_iter().find(|(_, given)| *given);
        given.map(|(option, _)| option)
    }

    /// Checks options against each other.
    fn check(&self) -> Result<(), UsageError> {
        let (cert, key) = (self.tls_cert.is_some(), self.tls_key.is_some());
        let what = if cert && !key {
            "-tls-cert: its key is needed, too (-tls-key FILE)"
        } else if key && !cert {
            "-tls-key: its certificate is needed, too (-tls-cert FILE)"
        } else if self.tls_client_ca.is_some() && !cert {
            "-tls-client-ca: there is no TLS without -tls-cert and -tls-key"
        } else if !self.allow_names.is_empty() && self.tls_client_ca.is_none() {
            "-allow-names: clients have no certificates without -tls-client-ca"
        } else if self.rotation.keep.is_some() && !self.rotation.rotates() {
            "-keep: nothing is rotated without -rotate-size or -rotate-every"
        } else if cert && self.framing == Framing::None {
            "-framing none: the programs that speak so know no TLS (-tls-cert)"
        } else {
            return self.stream.check(self.about_a_file());
        };
        Err(UsageError::new(what))
    }
}

impl AsMut<stream::Options> for Config {
    fn as_mut(&mut self) -> &mut stream::Options {
        &mut self.stream
    }
}

impl AsMut<nats::options::Options> for Config {
    fn as_mut(&mut self) -> &mut nats::options::Options {
        &mut self.stream.nats
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: DEFAULT_PORT,
            sockets: net::Options { keepalive: Some(Duration::from_secs(60)), reuse_port: false },
            log: None,
            opening: Opening::Overwrite,
            format: Format::Original,
            sync: false,
            rotation: Policy::default(),
            stream: stream::Options::default(),
            quiet: false,
            framing: Framing::Line,
            reply_mode: ReplyMode::All,
            max_message: DEFAULT_MAX_MESSAGE,
            max_clients: None,
            idle_timeout: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            allow_names: Vec::new(),
            allow: None,
            proxy_from: Networks::default(),
            metrics: None,
            utc: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::args::Parsed;

    use super::*;

    /// Parses options without checking them against each other.
    fn config(args: &[String]) -> Config {
        let unchecked = Command { check: |_| Ok(()), ..COMMAND };
        match unchecked.parse(Config::default(), args) {
            Ok(Parsed::Run(config)) => config,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn every_spelling_of_every_option() {
        type Set = fn(&mut Config);
        let table: [(&str, &str, Set); 34] = [
            ("host", "[::1]", |c| c.host = "::1".to_owned()),
            ("port", "0", |c| c.port = 0),
            ("reuse-port", "", |c| c.sockets.reuse_port = true),
            ("log", "a b.log", |c| c.log = Some("a b.log".into())),
            ("append", "", |c| c.opening = Opening::Append),
            ("format", "json", |c| c.format = Format::Json),
            ("sync", "", |c| c.sync = true),
            ("rotate-size", "100M", |c| c.rotation.size = Some(100 << 20)),
            ("rotate-every", "24h", |c| {
                c.rotation.age = Some(Duration::from_secs(86_400));
            }),
            ("keep", "3", |c| c.rotation.keep = Some(3)),
            ("stream", "LOG", |c| c.stream.name = Some("LOG".to_owned())),
            ("nats", "tls://h", |c| {
                c.stream.nats.urls = vec!["tls://h".parse().unwrap()];
            }),
            ("nats-creds", "c", |c| {
                c.stream.nats.credentials = Some("c".into());
            }),
            ("nats-ca", "a", |c| c.stream.nats.tls.ca = Some("a".into())),
            ("nats-cert", "c", |c| {
                c.stream.nats.tls.cert = Some("c".into());
            }),
            ("nats-key", "k", |c| {
                c.stream.nats.tls.key = Some("k".into());
            }),
            ("subject", "a.b", |c| {
                c.stream.subject = Some("a.b".to_owned());
            }),
            ("id", "web-1", |c| c.stream.id = Some("web-1".to_owned())),
            ("ack-wait", "5", |c| {
                c.stream.ack_wait = Duration::from_secs(5);
            }),
            ("quiet", "", |c| c.quiet = true),
            ("framing", "none", |c| c.framing = Framing::None),
            ("replies", "none", |c| c.reply_mode = ReplyMode::None),
            ("max-message", "2K", |c| c.max_message = 2048),
            ("max-clients", "7", |c| c.max_clients = Some(7)),
            ("idle-timeout", "9", |c| {
                c.idle_timeout = Some(Duration::from_secs(9));
            }),
            ("keepalive", "0", |c| c.sockets.keepalive = None),
            ("tls-cert", "c", |c| c.tls_cert = Some("c".into())),
            ("tls-key", "k", |c| c.tls_key = Some("k".into())),
            ("tls-client-ca", "a", |c| c.tls_client_ca = Some("a".into())),
            ("allow-names", "a,b", |c| {
                c.allow_names = vec!["a".to_owned(), "b".to_owned()];
            }),
            ("allow", "10.0.0.0/8", |c| {
                c.allow = Some("10.0.0.0/8".parse().unwrap());
            }),
            ("proxy-from", "10.0.0.0/8", |c| {
                c.proxy_from = "10.0.0.0/8".parse().unwrap();
            }),
            ("metrics", "[::1]:9185", |c| {
                c.metrics = Some(("::1".to_owned(), 9185));
            }),
            ("utc", "", |c| c.utc = true),
        ];
        let known: Vec<_> = COMMAND.options.iter().flat_map(|o| o.names).collect();
        assert!(table.iter().map(|(name, ..)| name).eq(known), "the table is whole");
        for (name, value, set) in table {
            let mut expected = Config::default();
            set(&mut expected);
            for dashes in ["-", "--"] {
                let option = format!("{dashes}{name}");
                if value.is_empty() {
                    assert_eq!(config(&[option]), expected, "{name}");
                    continue;
                }
                assert_eq!(config(&[format!("{option}={value}")]), expected, "{name}");
                assert_eq!(config(&[option, value.to_owned()]), expected, "{name}");
            }
        }
    }

    #[test]
    fn bad_values_are_named() {
        for (args, expected) in [
            (["-port", "65536"], "-port: expected a port number (0 to 65535), got '65536'"),
            (
                ["-max-message", "0"],
                "-max-message: expected a size in bytes such as 4096, 64K or 1M (1 to 1G), got '0'",
            ),
            (["-framing", "lf"], "-framing: expected line, nul, octet or none, got 'lf'"),
            (
                ["-idle-timeout", "1x"],
                "-idle-timeout: expected a time such as 5s or 1.5m (1s to 20d, or 0: never), got '1x'",
            ),
            (["-log", ""], "-log: expected a path, got ''"),
            (
                ["-rotate-size", "0"],
                "-rotate-size: expected a size in bytes such as 4096, 64K or 1M (1 to 1024G), got '0'",
            ),
            (
                ["-rotate-every", "10ms"],
                "-rotate-every: expected a time such as 500ms, 5s or 1.5m (1s to 365d), got '10ms'",
            ),
            (["-keep", "0"], "-keep: expected a number of files (1 to 1000000), got '0'"),
            (["-keep", "7"], "-keep: nothing is rotated without -rotate-size or -rotate-every"),
            (
                ["-allow", "localhost"],
                "-allow: expected networks such as 192.0.2.0/24,2001:db8::/32, got 'localhost'",
            ),
            (["-tls-cert", "c"], "-tls-cert: its key is needed, too (-tls-key FILE)"),
            (["-tls-key", "k"], "-tls-key: its certificate is needed, too (-tls-cert FILE)"),
            (
                ["-tls-client-ca", "a"],
                "-tls-client-ca: there is no TLS without -tls-cert and -tls-key",
            ),
            (
                ["-allow-names", "a"],
                "-allow-names: clients have no certificates without -tls-client-ca",
            ),
            (
                ["-allow-names", "a,,b"],
                "-allow-names: expected names with commas between them, got 'a,,b'",
            ),
        ] {
            let error = COMMAND.parse(Config::default(), args).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        let help = COMMAND.help_of(80);
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
