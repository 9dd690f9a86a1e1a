//! `cargo xtask torture`: fault injection around the server, repeated.
//!
//! The tests of the workspace inject every fault once. Here each fault is injected often, at random
//! moments from a seed, and at scales that take too long for a test.
//!
//! - `faults`: faults of the server, its disk and its signals, under load
//! - `clients`: misbehaving clients, and their effect on other clients
//! - `senders`: a sender that follows a file, while the processes around it are killed
//! - `storms`: many clients that misbehave together
//! - `report`: the result of a fault
//! - `stream`: fault injection for a log that is a stream of several machines
//! - `running`: a running server
//! - `numbered`, `balancer`: the load with its check of the log, and the load balancer; the tests use
//!   them as well

mod clients;
mod faults;
mod report;
mod running;
mod senders;
mod storms;
mod stream;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::args::{Command, MAX_TIME, Opt};
use common::process;
use common::units::{count, plural, seconds};
use fastrand::Rng;
use report::FaultReport;
use test_support::{balancer, numbered};

const COMMAND: Command<Options> = Command {
    name: "torture",
    usage: "[options]",
    about: "Breaks things around the server, again and again, and checks that no acknowledged \
            message is lost and nobody gets stuck.",
    options: &[
        Opt {
            names: &["seconds"],
            value: "TIME",
            help: "begin nothing new after so long (default 2m, with -stream 10m)",
            take: |o, v| {
                let possible = Duration::from_secs(1)..=MAX_TIME;
                v.time(possible).map(|it| o.time = Some(it))
            },
        },
        Opt {
            names: &["only"],
            value: "TEXT",
            help: "only faults whose names hold this text (default: all)",
            take: |o, v| v.text().map(|it| o.only = it),
        },
        Opt {
            names: &["seed"],
            value: "N",
            help: "where the random moments come from (default: another one each time, printed)",
            take: |o, v| v.number("a number", 0..=u64::MAX).map(|it| o.seed = it),
        },
        Opt {
            names: &["stream"],
            value: "",
            help: "the log is a stream of NATS JetStream, of which nodes are killed and stopped, too",
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
        (
            "cargo xtask torture -seconds 600 -seed 7",
            "ten minutes, the same moments each time",
        ),
        (
            "cargo xtask torture -stream",
            "ten minutes of everything that can happen to a log on three machines",
        ),
    ],
    notes: "Exit codes: 0 every promise was kept, 1 one was not, 2 bad options, 5 none was broken, but \
            the time was too short for some faults.",
};

/// Exit code if some faults were not injected for lack of time.
const EXIT_INCOMPLETE: u8 = 5;

struct Options {
    only: String,
    time: Option<Duration>,
    seed: u64,
    stream: bool,
    short: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            only: String::new(),
            time: None,
            seed: fastrand::u64(..) >> 32,
            stream: false,
            short: false,
        }
    }
}

impl Options {
    fn time(&self) -> Duration {
        let minutes = if self.stream { 10 } else { 2 };
        self.time.unwrap_or(Duration::from_secs(60 * minutes))
    }
}

/// A fault: its name, the maximum number of injections, and the function that injects it.
struct Fault {
    name: &'static str,
    at_most: u32,
    provoke: fn(&mut Rng) -> Result<FaultReport, String>,
}

/// Injected in this order once, then round by round up to their maximum.
const FAULTS: &[Fault] = &[
    fault("kill -9 under load", 100, faults::crash),
    fault("kill -9 while it rotates", 100, faults::crash_rotating),
    fault("SIGTERM under load", 100, faults::stop),
    fault("full disk (1 MiB)", 100, faults::full_disk),
    fault("file-size limit", 100, faults::file_size_limit),
    fault("rotation under load", 500, faults::rotation),
    fault("a sender under faults", 200, senders::under_faults),
    fault("10,000 connections in a row", 1, clients::in_a_row),
    fault("19,000 silent clients", 1, clients::silent),
    fault("slow clients", 1, clients::slow),
    fault("a flooder", 1, clients::flooder),
    fault("light beside 50 flooders", 1, storms::light_beside_flooders),
    fault(
        "light beside 50 of bare LFs",
        1,
        storms::light_beside_bare_line_ends,
    ),
    fault("slow readers", 1, storms::slow_readers),
    fault("resets in mid-line", 20, storms::resets),
    fault("ends in mid-line", 5, storms::ends),
    fault("who never reads", 1, clients::deaf),
    fault("a line of 1 GB", 1, clients::endless_line),
    fault("64 files, 200 clients", 1, faults::few_descriptors),
    fault("random schedules (fuzz)", 2, faults::schedules),
    fault("SIGSTOP for 10 s", 1, faults::pause),
];

const fn fault(
    name: &'static str,
    at_most: u32,
    provoke: fn(&mut Rng) -> Result<FaultReport, String>,
) -> Fault {
    Fault {
        name,
        at_most,
        provoke,
    }
}

/// The results of one fault.
#[derive(Default)]
struct Row {
    times: u32,
    /// Not selected by `-only`.
    left_out: bool,
    total: FaultReport,
}

impl Row {
    fn add(&mut self, report: FaultReport) {
        self.times += report.times.max(u32::from(!report.skipped));
        self.total.sent += report.sent;
        self.total.acknowledged += report.acknowledged;
        self.total.lost += report.lost;
        self.total.broken.extend(report.broken);
        self.total.note = report.note;
        self.total.skipped |= report.skipped;
    }
}

fn main() -> ExitCode {
    let options = match COMMAND.read(Options::default(), std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Err(error) = process::unblock_signals(process::ENDING_SIGNALS) {
        say(&format!("torture: cannot unblock signals: {error}\n"));
        return ExitCode::FAILURE;
    }
    // Many clients need many descriptors.
    process::raise_descriptor_limit();
    let length = seconds(options.time().as_secs_f64());
    say(&format!("torture: {length}, -seed {}\n", options.seed));
    let mut random = Rng::with_seed(options.seed);
    let deadline = Instant::now() + options.time();
    if options.stream {
        return stream::torture(&options, &mut random, deadline);
    }
    let row = |fault: &Fault| Row {
        left_out: !fault.name.contains(&options.only),
        ..Row::default()
    };
    let mut rows: Vec<Row> = FAULTS.iter().map(row).collect();
    loop {
        let mut again = false;
        for (fault, row) in FAULTS.iter().zip(&mut rows) {
            let at_most = if options.short { 1 } else { fault.at_most };
            let done = row.times >= at_most || row.total.skipped || row.left_out;
            if done || Instant::now() >= deadline {
                continue;
            }
            progress(fault.name);
            let mut failed = FaultReport::default();
            let report = (fault.provoke)(&mut random).unwrap_or_else(|why| {
                failed.broken.push(why);
                failed
            });
            row.add(report);
            again = true;
        }
        if !again {
            break;
        }
    }
    progress("");
    report(&rows)
}

fn report(rows: &[Row]) -> ExitCode {
    let header = ["fault", "times", "sent", "acknowledged", "lost"];
    let mut table = line(header, "verification");
    for (fault, row) in FAULTS.iter().zip(rows).filter(|(_, row)| !row.left_out) {
        let total = &row.total;
        let verification = match (total.broken.len(), row.times) {
            (0, 0) if !total.skipped => "no time left",
            (0, 0) => "-",
            (0, _) => "kept",
            _ => "BROKEN",
        };
        let cells = [row.times.into(), total.sent, total.acknowledged, total.lost];
        let [times, sent, acknowledged, lost] = cells.map(count);
        let cells = [fault.name, &times, &sent, &acknowledged, &lost];
        let verification = format!("{verification:<8} {}", total.note);
        table += &line(cells, verification.trim_end());
        for broken in &total.broken {
            table += "    ";
            table += broken;
            table += "\n";
        }
    }
    _ = io::stdout().write_all(table.as_bytes());
    conclude(rows)
}

fn conclude(rows: &[Row]) -> ExitCode {
    let names = |is_meant: fn(&Row) -> bool| {
        let meant = FAULTS.iter().zip(rows).filter(|(_, row)| is_meant(row));
        meant.map(|(fault, _)| fault.name.to_owned()).collect()
    };
    Conclusion {
        broken: names(|row| !row.total.broken.is_empty()),
        left: names(|row| row.times == 0 && !row.total.skipped && !row.left_out),
        acknowledged: rows.iter().map(|row| row.total.acknowledged).sum(),
        lost: rows.iter().map(|row| row.total.lost).sum(),
    }
    .say()
}

/// The summary of a run.
struct Conclusion {
    /// Faults that broke a promise.
    broken: Vec<String>,
    /// Faults that were not injected for lack of time.
    left: Vec<String>,
    acknowledged: u64,
    lost: u64,
}

impl Conclusion {
    /// Prints the last line; returns the matching exit code.
    fn say(&self) -> ExitCode {
        let acknowledged = plural(self.acknowledged, "message");
        let sums = format!("{acknowledged} acknowledged, {} lost", count(self.lost));
        let (text, code) = if !self.broken.is_empty() {
            let broken = self.broken.join(", ");
            (format!("BROKEN: {broken}; {sums}"), ExitCode::FAILURE)
        } else if !self.left.is_empty() {
            let left = self.left.join(", ");
            let why = format!("none broken, but the time was too short for: {left}; {sums}");
            (why, ExitCode::from(EXIT_INCOMPLETE))
        } else {
            (format!("every promise was kept; {sums}"), ExitCode::SUCCESS)
        };
        _ = writeln!(io::stdout(), "torture: {text}");
        code
    }
}

fn line([fault, times, sent, acknowledged, lost]: [&str; 5], verification: &str) -> String {
    format!("{fault:<28} {times:>6} {sent:>11} {acknowledged:>13} {lost:>5}  {verification}\n")
}

/// Shows the current fault on a terminal; prints nothing elsewhere.
fn progress(what: &str) {
    if io::stderr().is_terminal() {
        say(&format!("\r\x1b[K{what}"));
    }
}

fn say(text: &str) {
    _ = io::stderr().write_all(text.as_bytes());
}
