//! Command-line options.

use std::time::Duration;

use common::args::{Command, MAX_TIME, Opt};

const MIN_TIME: Duration = Duration::from_secs(1);

pub(crate) const COMMAND: Command<Options> = Command {
    name: "torture",
    usage: "[options]",
    about: "Breaks things around the server, again and again, and checks that no acknowledged \
            message is lost and no client hangs.",
    options: &[
        Opt {
            names: &["seconds"],
            value: "TIME",
            help: "inject no further fault after this time (default 2m, with -stream 10m)",
            take: |o, v| v.time(MIN_TIME..=MAX_TIME).map(|it| o.time = Some(it)),
        },
        Opt {
            names: &["only"],
            value: "TEXT",
            help: "only faults whose names contain this text (default: all)",
            take: |o, v| v.text().map(|it| o.only = it),
        },
        Opt {
            names: &["seed"],
            value: "N",
            help: "seed of the random moments (default: a random one, which is printed)",
            take: |o, v| v.number("a number", 0..=u64::MAX).map(|it| o.seed = Some(it)),
        },
        Opt {
            names: &["stream"],
            value: "",
            help: "the log is a stream of NATS JetStream, and its nodes are killed and stopped, too",
            take: |o, _| {
                o.stream = true;
                Ok(())
            },
        },
        Opt {
            names: &["short"],
            value: "",
            help: "each fault once, and with -stream short outages and no full disk: a minute",
            take: |o, _| {
                o.short = true;
                Ok(())
            },
        },
    ],
    commands: &[],
    operand: None,
    check: |_| Ok(()),
    examples: &[
        ("cargo xtask torture", "two minutes of everything"),
        ("cargo xtask torture -seconds 600 -seed 7", "ten minutes, the same moments each time"),
        (
            "cargo xtask torture -stream",
            "ten minutes of everything that can happen to a log on three machines",
        ),
    ],
    notes: "Exit codes: 0 every promise was kept, 1 one was not, 2 bad options, 5 none was broken, but \
            the time was too short for some faults.",
};

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) only: String,
    pub(crate) time: Option<Duration>,
    pub(crate) seed: Option<u64>,
    pub(crate) stream: bool,
    pub(crate) short: bool,
}

impl Options {
    pub(crate) fn time(&self) -> Duration {
        let minutes = if self.stream { 10 } else { 2 };
        self.time.unwrap_or(Duration::from_secs(60 * minutes))
    }
}
