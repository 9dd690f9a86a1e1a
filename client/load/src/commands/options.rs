//! Command-line options of `client load`.

use std::path::PathBuf;
use std::time::Duration;

use common::args::{ArgValue, Command, MAX_TIME, Opt, UsageError};
use common::protocol::{DEFAULT_PORT, Framing, OK};
use nats::options::{Options as Nodes, SharedOptions as NatsOptions};
use nats::stream_options::{self, StreamOptions};
use tls::SharedOptions;

use crate::message::template::{DEFAULT_MESSAGE, Template, TemplateError};
use crate::report::threshold::Threshold;

pub(crate) const COMMAND: Command<Options> = Command {
    name: "client load",
    usage: "[options]",
    about: "Measures how long a server takes to acknowledge each message at a given load. With \
            -verify it checks that every acknowledged message is in the server's log.",
    options: &[
        Opt::new(
            &["host", "nhost"],
            "HOST",
            "host name or address of the server (default localhost)",
            |o, v| v.host().map(|it| o.host = it),
        ),
        Opt::new(
            &["port"],
            "PORT",
            "port of the server (default 2005)",
            |o, v| v.number("a port number", 1..=65535).map(|it| o.port = it),
        ),
        Opt::new(
            &["connections"],
            "N",
            "number of connections, all made before the first message (default 50)",
            |o, v| {
                v.number("a number of connections", 1..=1_000_000)
                    .map(|it| o.connections = it)
            },
        ),
        Opt::new(
            &["nt", "threads"],
            "N",
            "number of threads that share the connections (default 1)",
            |o, v| {
                v.number("a number of threads", 1..=1024)
                    .map(|it| o.threads = it)
            },
        ),
        Opt::new(
            &["pipeline"],
            "N",
            "maximum number of unanswered messages per connection (default 1)",
            |o, v| {
                v.number("a number of messages", 1..=10_000_000)
                    .map(|it| o.pipeline = it)
            },
        ),
        Opt::new(
            &["rate"],
            "R",
            "open loop: R messages per second overall, evenly spaced, latency from the planned \
             time; without it closed loop: a reply makes room for the next message",
            |o, v| rate(v).map(|it| o.rate = Some(it)),
        ),
        Opt::new(
            &["duration"],
            "TIME",
            "how long to send: 500ms, 5s, 2m, 1h (default 10s, or no limit with -messages)",
            |o, v| positive_duration(v).map(|it| o.duration = Some(it)),
        ),
        Opt::new(
            &["messages"],
            "N",
            "number of messages to send, without the warm-up (default: no limit)",
            |o, v| {
                v.number("a number of messages", 1..=u64::MAX / 2)
                    .map(|it| o.messages = Some(it))
            },
        ),
        Opt::new(
            &["warmup"],
            "TIME",
            "warm-up time before measuring (default 0s)",
            |o, v| v.time(Duration::ZERO..=MAX_TIME).map(|it| o.warmup = it),
        ),
        Opt::new(
            &["timeout"],
            "TIME",
            "close a connection that waits for a reply and receives nothing for this time \
             (default 10s)",
            |o, v| positive_duration(v).map(|it| o.timeout = it),
        ),
        Opt::new(
            &["reconnect"],
            "",
            "reconnect lost connections during the run, as behind a load balancer; their \
             unanswered messages stay unanswered",
            |o, _| {
                o.reconnect = true;
                Ok(())
            },
        ),
        Opt::new(
            &["connect-rate"],
            "R",
            "connections made per second (default 5000)",
            |o, v| rate(v).map(|it| o.connect_rate = it),
        ),
        Opt::new(
            &["message"],
            "TEMPLATE",
            "what to send, with \\r \\n \\t \\\\ \\{ \\xNN and {run} {conn} {seq} {pad:N}; {seq:N} \
             has at least N digits; an LF is added if none is at the end \
             (default 'load {run} {conn} {seq};')",
            |o, v| text(v).map(|it| o.message = it),
        ),
        Opt::new(
            &["framing"],
            "line|nul|octet",
            "what tells messages apart: LF, NUL, or the length before each (RFC 6587); NUL ends a reply \
             with 'nul', else LF (default line)",
            |o, v| v.choice(&FRAMINGS).map(|it| o.framing = it),
        ),
        Opt::new(
            &["reply"],
            "PREFIX",
            "how a good reply begins; any other is an error, counted by its first word (default ok)",
            |o, v| unescapable(v).map(|it| o.reply = it),
        ),
        Opt::new(
            &["reply-lines"],
            "N",
            "number of lines of a good reply (default 1)",
            |o, v| {
                v.number("a number of lines", 1..=1_000_000)
                    .map(|it| o.reply_lines = it)
            },
        ),
        Opt::new(
            &["ignore"],
            "PREFIX",
            "ignore lines that begin with PREFIX; repeatable (default: none)",
            |o, v| unescapable(v).map(|it| o.ignore.push(it)),
        ),
        Opt::new(
            &["hello"],
            "TEXT",
            "send this once after connecting, escapes and {run} {conn} as in -message (default: nothing)",
            |o, v| text(v).map(|it| o.hello = Some(it)),
        ),
        Opt::new(
            &["hello-lines"],
            "N",
            "lines the server says before the first message: its greeting and what it answers to \
             -hello; not judged (default 1 with -hello, else 0)",
            |o, v| {
                v.number("a number of lines", 0..=1_000_000)
                    .map(|it| o.hello_lines = Some(it))
            },
        ),
        Opt::new(
            &["on-error"],
            "stop|count",
            "stop at the first error reply, or count error replies (default count)",
            |o, v| {
                v.choice(&[("stop", true), ("count", false)])
                    .map(|it| o.stop_on_error = it)
            },
        ),
        Opt::new(
            &["verify"],
            "LOG",
            "then read the server's log: every acknowledged message must be there, once, whole and \
             in order, in LOG or in a file that the server has rotated it to during the run; repeatable \
             for a log in several files, oldest first (default: none)",
            |o, v| v.path().map(|it| o.verify.push(it)),
        ),
        Opt::new(
            &["stream"],
            "NAME",
            "verify against the messages that enter this NATS stream during the run, instead of \
             a LOG (default: none)",
            |o, v| stream_options::name(v).map(|it| o.stream.name = Some(it)),
        ),
        NatsOptions::NATS,
        NatsOptions::CREDENTIALS,
        NatsOptions::CA,
        NatsOptions::CERT,
        NatsOptions::KEY,
        Opt::new(
            &["save"],
            "FILE",
            "write what '{client} verify FILE' needs to verify later (default: none)",
            |o, v| v.path().map(|it| o.save = Some(it)),
        ),
        Opt::new(
            &["fail-if"],
            "CONDITION",
            "exit 3 if the condition holds, e.g. 'p99>5ms', 'errors>0', 'rate<100000'; \
             repeatable (default: none)",
            |o, v| threshold(v).map(|it| o.fail_if.push(it)),
        ),
        Opt::new(
            &["report"],
            "FILE",
            "write the figures as a page of HTML with charts (default: none)",
            |o, v| v.path().map(|it| o.report = Some(it)),
        ),
        Opt::new(
            &["pid"],
            "PID",
            "also report CPU time and memory of this server process on this machine; repeatable, \
             as a sum (default: none)",
            |o, v| {
                v.number("a process number", 1..=u32::MAX)
                    .map(|it| o.pids.push(it))
            },
        ),
        SharedOptions::TLS,
        SharedOptions::CA,
        SharedOptions::CERT,
        SharedOptions::KEY,
        SharedOptions::NAME,
        Opt::new(
            &["json"],
            "",
            "print the figures as one JSON object, and nothing else",
            |o, _| {
                o.json = true;
                Ok(())
            },
        ),
        Opt::new(
            &["label"],
            "TEXT",
            "name of this run in reports (default: a random name)",
            |o, v| v.text().map(|it| o.label = Some(it)),
        ),
    ],
    commands: &[],
    operand: None,
    check: Options::check,
    examples: &[
        (
            "{client} load -pipeline 16 -verify logging.log",
            "ten seconds on 50 connections, as fast as the server answers; then check its log",
        ),
        (
            "{client} load -rate 20000 -duration 1m -warmup 5s -fail-if 'p99>5ms'",
            "20,000 messages a second, at a fixed rate; exit 3 if p99 is over 5 ms",
        ),
        (
            "{client} load -port 6379 -message 'SET {conn} {seq}\\r\\n' -reply +OK",
            "drive Redis",
        ),
    ],
    notes: "Metrics of -fail-if: rate, sent, acknowledged, errors, timeouts, unanswered, lost; min, \
            mean, p50, p90, p99, p99.9, p99.99, max, lag (p99 of how late messages were sent), \
            these with ns, us, ms or s.\n\
            Exit codes: 0 fine, 1 could not run or could not go on, 2 usage, 3 a -fail-if \
            condition held, 4 verification failed, 130 interrupted.\n\
            The first Ctrl-C ends the run and reports; the second ends at once.",
};

/// `none` is missing: with it, replies have no end mark.
const FRAMINGS: [(&str, Framing); 3] = [
    ("line", Framing::Line),
    ("nul", Framing::Nul),
    ("octet", Framing::Octet),
];

/// The parsed command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) pipeline: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) duration: Option<Duration>,
    pub(crate) messages: Option<u64>,
    pub(crate) warmup: Duration,
    pub(crate) timeout: Duration,
    pub(crate) reconnect: bool,
    pub(crate) connect_rate: f64,
    pub(crate) message: Text,
    pub(crate) framing: Framing,
    pub(crate) reply: String,
    pub(crate) reply_lines: u32,
    pub(crate) ignore: Vec<String>,
    pub(crate) hello: Option<Text>,
    pub(crate) hello_lines: Option<u32>,
    pub(crate) stop_on_error: bool,
    pub(crate) verify: Vec<PathBuf>,
    pub(crate) stream: StreamOptions,
    pub(crate) save: Option<PathBuf>,
    pub(crate) fail_if: Vec<Threshold>,
    pub(crate) report: Option<PathBuf>,
    pub(crate) pids: Vec<u32>,
    pub(crate) tls: tls::Options,
    pub(crate) json: bool,
    pub(crate) label: Option<String>,
}

/// A template as given and as parsed.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) typed: String,
    pub(crate) template: Template,
}

impl AsMut<tls::Options> for Options {
    fn as_mut(&mut self) -> &mut tls::Options {
        &mut self.tls
    }
}

impl AsMut<Nodes> for Options {
    fn as_mut(&mut self) -> &mut Nodes {
        &mut self.stream.nodes
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: DEFAULT_PORT,
            connections: 50,
            threads: 1,
            pipeline: 1,
            rate: None,
            duration: None,
            messages: None,
            warmup: Duration::ZERO,
            timeout: Duration::from_secs(10),
            reconnect: false,
            connect_rate: 5000.0,
            message: Text::new(DEFAULT_MESSAGE).expect("the default message is right"),
            framing: Framing::Line,
            reply: OK.to_owned(),
            reply_lines: 1,
            ignore: Vec::new(),
            hello: None,
            hello_lines: None,
            stop_on_error: false,
            verify: Vec::new(),
            stream: StreamOptions::default(),
            save: None,
            fail_if: Vec::new(),
            report: None,
            pids: Vec::new(),
            tls: tls::Options::default(),
            json: false,
            label: None,
        }
    }
}

impl Text {
    fn new(typed: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            typed: typed.to_owned(),
            template: Template::parse(typed)?,
        })
    }
}

impl Options {
    /// Checks how options combine, and fills in what depends on several of them.
    fn check(&mut self) -> Result<(), UsageError> {
        self.tls.check()?;
        self.stream.check()?;
        if self.stream.name.is_some() && !self.verify.is_empty() {
            return Err(UsageError::new(
                "-stream and -verify are two logs: give one",
            ));
        }
        self.threads = self.threads.min(self.connections);
        let texts = [Some(&mut self.message), self.hello.as_mut()];
        for text in texts.into_iter().flatten() {
            text.template = std::mem::take(&mut text.template).framed(self.framing);
        }
        if self.duration.is_none() && self.messages.is_none() {
            self.duration = Some(Duration::from_secs(10));
        }
        if self.keeps_ledgers() {
            let pattern = crate::message::pattern::Pattern::new(&self.message.template, "");
            pattern.map_err(|error| UsageError::new(format!("-message: {error}")))?;
        }
        Ok(())
    }

    /// Whether to read the log after the run.
    pub(crate) fn verifies(&self) -> bool {
        !self.verify.is_empty() || self.stream.name.is_some()
    }

    /// Whether to record the result of each message.
    pub(crate) fn keeps_ledgers(&self) -> bool {
        self.verifies() || self.save.is_some()
    }

    /// The number of lines that the server sends before the first message.
    pub(crate) fn greeting(&self) -> u32 {
        let default = u32::from(self.hello.is_some());
        self.hello_lines.unwrap_or(default)
    }
}

fn threshold(arg: &ArgValue) -> Result<Threshold, UsageError> {
    let threshold = Threshold::parse(&arg.text()?);
    threshold.map_err(|expected| arg.unexpected(&expected))
}

fn positive_duration(arg: &ArgValue) -> Result<Duration, UsageError> {
    arg.time(Duration::from_millis(1)..=MAX_TIME)
}

fn rate(arg: &ArgValue) -> Result<f64, UsageError> {
    let rate = arg.text()?.parse().ok();
    let rate = rate.filter(|rate| (0.001..=1e9).contains(rate));
    rate.ok_or_else(|| arg.unexpected("a number per second (0.001 to 1000000000)"))
}

fn text(arg: &ArgValue) -> Result<Text, UsageError> {
    Text::new(&arg.text()?).map_err(|error| wrong_template(arg, &error))
}

fn unescapable(arg: &ArgValue) -> Result<String, UsageError> {
    let text = arg.text()?;
    match Template::unescape(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(wrong_template(arg, &error)),
    }
}

fn wrong_template(arg: &ArgValue, error: &TemplateError) -> UsageError {
    arg.wrong(&error.to_string())
}

#[cfg(test)]
mod tests {
    use common::args::Parsed;

    use super::*;

    fn options(args: &[&str]) -> Options {
        match COMMAND.parse(Options::default(), args) {
            Ok(Parsed::Run(options)) => options,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn error(args: &[&str]) -> String {
        let parsed = COMMAND.parse(Options::default(), args);
        parsed.unwrap_err().to_string()
    }

    type Check = fn(&Options) -> bool;

    const SPELLINGS: &[(&str, &str, Check)] = &[
        ("host", "h", |o| o.host == "h"),
        ("nhost", "h", |o| o.host == "h"),
        ("port", "80", |o| o.port == 80),
        ("connections", "64", |o| o.connections == 64),
        ("nt", "3", |o| o.threads == 3),
        ("threads", "3", |o| o.threads == 3),
        ("pipeline", "16", |o| o.pipeline == 16),
        ("rate", "0.5", |o| o.rate == Some(0.5)),
        ("duration", "2m", |o| {
            o.duration == Some(Duration::from_secs(120))
        }),
        ("messages", "9", |o| o.messages == Some(9)),
        ("warmup", "500ms", |o| {
            o.warmup == Duration::from_millis(500)
        }),
        ("timeout", "3", |o| o.timeout == Duration::from_secs(3)),
        ("connect-rate", "100", |o| {
            o.connect_rate.to_bits() == 100f64.to_bits()
        }),
        ("message", "PING\\r", |o| o.message.typed == "PING\\r"),
        ("framing", "nul", |o| o.framing == Framing::Nul),
        ("reply", "+OK", |o| o.reply == "+OK"),
        ("reply-lines", "2", |o| o.reply_lines == 2),
        ("ignore", "PING", |o| o.ignore == ["PING"]),
        ("hello", "{\"a\":1}", |o| {
            o.hello.as_ref().unwrap().typed == "{\"a\":1}"
        }),
        ("hello-lines", "2", |o| o.hello_lines == Some(2)),
        ("on-error", "stop", |o| o.stop_on_error),
        ("on-error", "count", |o| !o.stop_on_error),
        ("verify", "a.log", |o| o.verify == [PathBuf::from("a.log")]),
        ("save", "run.json", |o| o.save == Some("run.json".into())),
        ("fail-if", "p99>5ms", |o| o.fail_if.len() == 1),
        ("report", "a.html", |o| o.report == Some("a.html".into())),
        ("label", "x", |o| o.label.as_deref() == Some("x")),
        ("pid", "1", |o| o.pids == [1]),
    ];

    #[test]
    fn every_spelling_of_every_option_is_understood() {
        for &(name, value, is_understood) in SPELLINGS {
            for dashes in ["-", "--"] {
                let option = format!("{dashes}{name}");
                assert!(
                    is_understood(&options(&[&option, value])),
                    "{option} {value}"
                );
                let joined = format!("{option}={value}");
                assert!(is_understood(&options(&[&joined])), "{joined}");
            }
        }
        assert!(options(&["-json"]).json && options(&["--json"]).json);
        assert!(options(&["-reconnect"]).reconnect && !options(&[]).reconnect);
        let all = COMMAND.options.iter().flat_map(|option| option.names);
        // The options of TLS and of streams are tested in their own crates.
        let others = ["tls", "nats", "stream"];
        let mine = all.filter(|name| !others.iter().any(|other| name.starts_with(other)));
        for name in mine.filter(|name| !["json", "reconnect"].contains(name)) {
            assert!(
                SPELLINGS.iter().any(|spelling| spelling.0 == *name),
                "{name}"
            );
        }
    }

    #[test]
    fn defaults_are_what_the_help_says() {
        let options = options(&[]);
        assert_eq!(
            (options.connections, options.threads, options.pipeline),
            (50, 1, 1)
        );
        assert_eq!(options.duration, Some(Duration::from_secs(10)));
        assert_eq!(options.greeting(), 0);
        assert!(!options.keeps_ledgers());
        for line in COMMAND.help().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn options_work_together() {
        assert_eq!(options(&["-messages", "5"]).duration, None);
        assert_eq!(options(&["-nt", "8", "-connections", "2"]).threads, 2);
        assert_eq!(options(&["-hello", "x"]).greeting(), 1);
        assert_eq!(options(&["-hello", "x", "-hello-lines", "0"]).greeting(), 0);
        assert_eq!(
            options(&["-fail-if", "errors>0", "-fail-if", "rate<5"])
                .fail_if
                .len(),
            2
        );
        assert!(options(&["-save", "x"]).keeps_ledgers());
    }

    #[test]
    fn mistakes_are_named() {
        for (args, expected) in [
            (
                &["-port", "0"][..],
                "-port: expected a port number (1 to 65535), got '0'",
            ),
            (&["-rate", "fast"], "-rate: expected a number per second"),
            (&["-rate", "0"], "-rate: expected a number per second"),
            (
                &["-duration", "0s"],
                "-duration: expected a time such as 500ms, 5s or 1.5m (1ms to 365d), got",
            ),
            (
                &["-warmup", "soon"],
                "-warmup: expected a time such as 500ms, 5s or 1.5m (0s to 365d), got 'soon'",
            ),
            (
                &["-message", "{sequ}"],
                "-message: unknown placeholder '{sequ}'",
            ),
            (&["-reply", "\\q"], "-reply: unknown escape '\\q'"),
            (
                &["-on-error", "ignore"],
                "-on-error: expected stop or count, got 'ignore'",
            ),
            (
                &["-fail-if", "p98>1ms"],
                "-fail-if: expected a metric (rate, sent,",
            ),
            (
                &["-verify", "x", "-message", "PING"],
                "-message: to be verified it needs {run}",
            ),
            (
                &["-verfy", "x"],
                "unknown option '-verfy': did you mean '-verify'?",
            ),
            (&["extra"], "unexpected argument 'extra'"),
        ] {
            let error = error(args);
            assert!(error.starts_with(expected), "{args:?}: {error}");
        }
    }
}
