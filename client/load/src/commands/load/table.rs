//! Command line of `client load`.

use std::time::Duration;

use common::args::{ArgValue, Command, MAX_TIME, Opt, UsageError, switch};
use common::protocol::Framing;
use nats::options::SharedOptions as NatsOptions;
use nats::stream_options;
use tls::SharedOptions;

use super::options::{Options, Text};
use crate::drive::clock::{Nanos, nanos};
use crate::message::template::{Template, TemplateError};
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
            |o, v| v.host().map(|it| o.load.host = it),
        ),
        Opt::new(&["port"], "PORT", "port of the server (default 2005)", |o, v| {
            v.number("a port number", 1..=65535).map(|it| o.load.port = it)
        }),
        Opt::new(
            &["connections"],
            "N",
            "number of connections, all made before the first message (default 50)",
            |o, v| {
                v.number("a number of connections", 1..=1_000_000).map(|it| o.load.connections = it)
            },
        ),
        Opt::new(
            &["nt", "threads"],
            "N",
            "number of threads that share the connections (default 1)",
            |o, v| v.number("a number of threads", 1..=1024).map(|it| o.load.threads = it),
        ),
        Opt::new(
            &["pipeline"],
            "N",
            "maximum number of unanswered messages per connection (default 1)",
            |o, v| v.number("a number of messages", 1..=10_000_000).map(|it| o.load.pipeline = it),
        ),
        Opt::new(
            &["rate"],
            "R",
            "open loop: R messages per second overall, evenly spaced, latency from the planned \
             time; without it closed loop: a reply makes room for the next message",
            |o, v| rate(v).map(|it| o.load.rate = Some(it)),
        ),
        Opt::new(
            &["duration"],
            "TIME",
            "how long to send: 500ms, 5s, 2m, 1h (default 10s, or no limit with -messages)",
            |o, v| positive_duration(v).map(|it| o.load.duration = Some(it)),
        ),
        Opt::new(
            &["messages"],
            "N",
            "number of messages to send, without the warm-up (default: no limit)",
            |o, v| {
                v.number("a number of messages", 1..=u64::MAX / 2)
                    .map(|it| o.load.messages = Some(it))
            },
        ),
        Opt::new(&["warmup"], "TIME", "warm-up time before measuring (default 0s)", |o, v| {
            v.time(Duration::ZERO..=MAX_TIME).map(|it| o.load.warmup = nanos(it))
        }),
        Opt::new(
            &["timeout"],
            "TIME",
            "close a connection that waits for a reply and receives nothing for this time \
             (default 10s)",
            |o, v| positive_duration(v).map(|it| o.load.timeout = it),
        ),
        Opt::new(
            &["reconnect"],
            "",
            "reconnect lost connections during the run, as behind a load balancer; their \
             unanswered messages stay unanswered",
            |o, _| switch(&mut o.load.reconnect),
        ),
        Opt::new(&["connect-rate"], "R", "connections made per second (default 5000)", |o, v| {
            rate(v).map(|it| o.load.connect_rate = it)
        }),
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
        Opt::new(&["reply-lines"], "N", "number of lines of a good reply (default 1)", |o, v| {
            v.number("a number of lines", 1..=1_000_000).map(|it| o.reply_lines = it)
        }),
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
            |o, v| v.number("a number of lines", 0..=1_000_000).map(|it| o.hello_lines = Some(it)),
        ),
        Opt::new(
            &["on-error"],
            "stop|count",
            "stop at the first error reply, or count error replies (default count)",
            |o, v| {
                v.choice(&[("stop", true), ("count", false)]).map(|it| o.load.stop_on_error = it)
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
            |o, v| v.number("a process number", 1..=u32::MAX).map(|it| o.load.pids.push(it)),
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
            |o, _| switch(&mut o.json),
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
        ("{client} load -port 6379 -message 'SET {conn} {seq}\\r\\n' -reply +OK", "drive Redis"),
    ],
    notes: "Metrics of -fail-if: rate, sent, acknowledged, errors, timeouts, unanswered, lost; min, \
            mean, p50, p90, p99, p99.9, p99.99, max, lag (p99 of how late messages were sent), \
            these with ns, us, ms or s.\n\
            Exit codes: 0 fine, 1 could not run or could not go on, 2 usage, 3 a -fail-if \
            condition held, 4 verification failed, 130 interrupted.\n\
            The first Ctrl-C ends the run and reports; the second ends at once.",
};

/// `none` is missing: with it, replies have no end mark.
const FRAMINGS: [(&str, Framing); 3] =
    [("line", Framing::Line), ("nul", Framing::Nul), ("octet", Framing::Octet)];

fn threshold(arg: &ArgValue) -> Result<Threshold, UsageError> {
    let threshold = Threshold::parse(&arg.text()?);
    threshold.map_err(|expected| arg.unexpected(&expected))
}

fn positive_duration(arg: &ArgValue) -> Result<Nanos, UsageError> {
    arg.time(Duration::from_millis(1)..=MAX_TIME).map(nanos)
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
    use std::path::PathBuf;

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
        ("host", "h", |o| o.load.host == "h"),
        ("nhost", "h", |o| o.load.host == "h"),
        ("port", "80", |o| o.load.port == 80),
        ("connections", "64", |o| o.load.connections == 64),
        ("nt", "3", |o| o.load.threads == 3),
        ("threads", "3", |o| o.load.threads == 3),
        ("pipeline", "16", |o| o.load.pipeline == 16),
        ("rate", "0.5", |o| o.load.rate == Some(0.5)),
        ("duration", "2m", |o| o.load.duration == Some(120_000_000_000)),
        ("messages", "9", |o| o.load.messages == Some(9)),
        ("warmup", "500ms", |o| o.load.warmup == 500_000_000),
        ("timeout", "3", |o| o.load.timeout == 3_000_000_000),
        ("connect-rate", "100", |o| o.load.connect_rate.to_bits() == 100f64.to_bits()),
        ("message", "PING\\r", |o| o.message.typed == "PING\\r"),
        ("framing", "nul", |o| o.framing == Framing::Nul),
        ("reply", "+OK", |o| o.reply == "+OK"),
        ("reply-lines", "2", |o| o.reply_lines == 2),
        ("ignore", "PING", |o| o.ignore == ["PING"]),
        ("hello", "{\"a\":1}", |o| o.hello.as_ref().unwrap().typed == "{\"a\":1}"),
        ("hello-lines", "2", |o| o.hello_lines == Some(2)),
        ("on-error", "stop", |o| o.load.stop_on_error),
        ("on-error", "count", |o| !o.load.stop_on_error),
        ("verify", "a.log", |o| o.verify == [PathBuf::from("a.log")]),
        ("save", "run.json", |o| o.save == Some("run.json".into())),
        ("fail-if", "p99>5ms", |o| o.fail_if.len() == 1),
        ("report", "a.html", |o| o.report == Some("a.html".into())),
        ("label", "x", |o| o.label.as_deref() == Some("x")),
        ("pid", "1", |o| o.load.pids == [1]),
    ];

    #[test]
    fn every_spelling_of_every_option_is_understood() {
        for &(name, value, is_understood) in SPELLINGS {
            for dashes in ["-", "--"] {
                let option = format!("{dashes}{name}");
                assert!(is_understood(&options(&[&option, value])), "{option} {value}");
                let joined = format!("{option}={value}");
                assert!(is_understood(&options(&[&joined])), "{joined}");
            }
        }
        assert!(options(&["-json"]).json && options(&["--json"]).json);
        assert!(options(&["-reconnect"]).load.reconnect && !options(&[]).load.reconnect);
        let all = COMMAND.options.iter().flat_map(|option| option.names);
        // The options of TLS and of streams are tested in their own crates.
        let others = ["tls", "nats", "stream"];
        let mine = all.filter(|name| !others.iter().any(|other| name.starts_with(other)));
        for name in mine.filter(|name| !["json", "reconnect"].contains(name)) {
            assert!(SPELLINGS.iter().any(|spelling| spelling.0 == *name), "{name}");
        }
    }

    #[test]
    fn defaults_are_what_the_help_says() {
        let options = options(&[]);
        let load = &options.load;
        assert_eq!((load.connections, load.threads, load.pipeline), (50, 1, 1));
        assert_eq!(load.duration, Some(10_000_000_000));
        assert_eq!(options.greeting(), 0);
        assert!(!options.keeps_ack_logs());
        for line in COMMAND.help().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn options_work_together() {
        assert_eq!(options(&["-messages", "5"]).load.duration, None);
        assert_eq!(options(&["-nt", "8", "-connections", "2"]).load.threads, 2);
        assert_eq!(options(&["-hello", "x"]).greeting(), 1);
        assert_eq!(options(&["-hello", "x", "-hello-lines", "0"]).greeting(), 0);
        assert_eq!(options(&["-fail-if", "errors>0", "-fail-if", "rate<5"]).fail_if.len(), 2);
        assert!(options(&["-save", "x"]).keeps_ack_logs());
    }

    #[test]
    fn mistakes_are_named() {
        for (args, expected) in [
            (&["-port", "0"][..], "-port: expected a port number (1 to 65535), got '0'"),
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
            (&["-message", "{sequ}"], "-message: unknown placeholder '{sequ}'"),
            (&["-reply", "\\q"], "-reply: unknown escape '\\q'"),
            (&["-on-error", "ignore"], "-on-error: expected stop or count, got 'ignore'"),
            (&["-fail-if", "p98>1ms"], "-fail-if: expected a metric (rate, sent,"),
            (&["-verify", "x", "-message", "PING"], "-message: to be verified it needs {run}"),
            (&["-verfy", "x"], "unknown option '-verfy': did you mean '-verify'?"),
            (&["extra"], "unexpected argument 'extra'"),
        ] {
            let error = error(args);
            assert!(error.starts_with(expected), "{args:?}: {error}");
        }
    }
}
