//! `cargo xtask torture`: the server, and what can go wrong around it, again and again.
//!
//! The tests of the workspace provoke every fault once. Here they come often, at random moments,
//! from a seed, and in sizes that take too long for a test.
//!
//! - `faults`: those that break the server, its disk or its signals under load
//! - `clients`: those that clients cause, and what others notice of them
//! - `storms`: those that many clients cause together
//! - `running`: a server that was started
//! - `numbered`: the load and the check of the log, which the tests use as well

mod clients;
mod faults;
#[path = "../../../server/tests/support/numbered.rs"]
#[allow(clippy::missing_docs_in_private_items)]
mod numbered;
mod running;
mod storms;

use std::fmt::{self, Write as _};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::args::{self, Command, Invocation, LONGEST_TIME, Opt, UsageError};
use numbered::Verdict;

const COMMAND: Command = Command {
    name: "torture",
    usage: "[options]",
    about: "Breaks things around the server, again and again, and checks that no acknowledged \
            message is lost and nobody gets stuck.",
    options: &[
        Opt {
            names: &["seconds"],
            value: "TIME",
            help: "begin nothing new after so long (default 2m)",
        },
        Opt {
            names: &["seed"],
            value: "N",
            help: "where the random moments come from (default: another one each time, printed)",
        },
    ],
    operands: false,
    examples: &[
        ("cargo xtask torture", "two minutes of everything"),
        (
            "cargo xtask torture -seconds 600 -seed 7",
            "ten minutes, the same moments each time",
        ),
    ],
    notes: "Exit codes: 0 every promise was kept, 1 one was not, 2 bad options.",
};

/// A fault: what it is called, how often it is provoked at most, and how.
struct Fault {
    name: &'static str,
    at_most: u32,
    provoke: fn(&mut Random) -> Result<Outcome, String>,
}

/// In the order in which they are begun; then those that may come again do, in turns.
const FAULTS: &[Fault] = &[
    fault("kill -9 under load", 100, faults::crash),
    fault("SIGTERM under load", 100, faults::stop),
    fault("full disk (1 MiB)", 100, faults::full_disk),
    fault("file-size limit", 100, faults::file_size_limit),
    fault("rotation under load", 500, faults::rotation),
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
    provoke: fn(&mut Random) -> Result<Outcome, String>,
) -> Fault {
    Fault {
        name,
        at_most,
        provoke,
    }
}

/// What came of a fault.
#[derive(Default)]
pub(crate) struct Outcome {
    /// How often it was provoked, if not once.
    times: u32,
    sent: u64,
    acknowledged: u64,
    lost: u64,
    /// Broken promises.
    broken: Vec<String>,
    /// What was measured, or why it was not provoked.
    note: String,
    skipped: bool,
}

impl Outcome {
    pub(crate) fn of(verdict: &Verdict) -> Self {
        let mut outcome = Self {
            sent: verdict.sent,
            acknowledged: verdict.acknowledged,
            lost: verdict.lost,
            ..Self::default()
        };
        outcome.expect(verdict.is_good(), || format!("{verdict:?}"));
        outcome
    }

    pub(crate) fn skipped(why: &str) -> Self {
        Self {
            note: format!("skipped: {why}"),
            skipped: true,
            ..Self::default()
        }
    }

    pub(crate) fn remark(&mut self, what: fmt::Arguments<'_>) {
        let comma = if self.note.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        _ = write!(self.note, "{comma}{what}");
    }

    pub(crate) fn expect(&mut self, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            self.broken.push(what());
        }
    }
}

/// What came of all of a kind.
#[derive(Default)]
struct Row {
    times: u32,
    total: Outcome,
}

impl Row {
    fn add(&mut self, outcome: Outcome) {
        self.times += outcome.times.max(u32::from(!outcome.skipped));
        self.total.sent += outcome.sent;
        self.total.acknowledged += outcome.acknowledged;
        self.total.lost += outcome.lost;
        self.total.broken.extend(outcome.broken);
        self.total.note = outcome.note;
        self.total.skipped |= outcome.skipped;
    }
}

fn main() -> ExitCode {
    let (time, seed) = match parse(std::env::args_os().skip(1)) {
        Ok(Ok(asked)) => asked,
        Ok(Err(text)) => return args::print(&text),
        Err(error) => return COMMAND.refuse(&error),
    };
    // Many clients, and the fuzzer replays by the seed as well.
    common::process::raise_descriptor_limit();
    say(&format!(
        "torture: {} s, -seed {seed}\n",
        time.as_secs_f32()
    ));
    let mut random = Random(seed);
    let deadline = Instant::now() + time;
    let mut rows: Vec<Row> = FAULTS.iter().map(|_| Row::default()).collect();
    loop {
        let mut again = false;
        for (fault, row) in FAULTS.iter().zip(&mut rows) {
            let done = row.times >= fault.at_most || row.total.skipped;
            if done || Instant::now() >= deadline {
                continue;
            }
            progress(fault.name);
            let mut failed = Outcome::default();
            let outcome = (fault.provoke)(&mut random).unwrap_or_else(|why| {
                failed.broken.push(why);
                failed
            });
            row.add(outcome);
            again = true;
        }
        if !again {
            break;
        }
    }
    progress("");
    report(&rows)
}

type Asked = Result<(Duration, u64), String>;

/// Seconds and seed, or what to print instead.
fn parse(args: impl Iterator<Item = std::ffi::OsString>) -> Result<Asked, UsageError> {
    let given = match COMMAND.parse(args)? {
        Invocation::Print(text) => return Ok(Err(text)),
        Invocation::Run(given) => given,
    };
    let (mut time, mut seed) = (
        Duration::from_secs(120),
        RandomState::new().hash_one(0) >> 32,
    );
    for option in &given {
        match option.name {
            "seconds" => time = option.time(Duration::from_secs(1)..=LONGEST_TIME)?,
            "seed" => seed = option.number("a number", 0..=u64::MAX)?,
            name => unreachable!("-{name} is in the table but not applied"),
        }
    }
    Ok(Ok((time, seed)))
}

fn report(rows: &[Row]) -> ExitCode {
    let header = ["fault", "times", "sent", "acknowledged", "lost"];
    let mut table = line(header, "verdict");
    for (fault, row) in FAULTS.iter().zip(rows) {
        let total = &row.total;
        let verdict = match (total.broken.len(), row.times) {
            (0, 0) if !total.skipped => "no time left",
            (0, 0) => "-",
            (0, _) => "kept",
            _ => "BROKEN",
        };
        let cells = [row.times.into(), total.sent, total.acknowledged, total.lost];
        let [times, sent, acknowledged, lost] = cells.map(|n: u64| n.to_string());
        let cells = [fault.name, &times, &sent, &acknowledged, &lost];
        let verdict = format!("{verdict:<8} {}", total.note);
        table += &line(cells, verdict.trim_end());
        for broken in &total.broken {
            table += "    ";
            table += broken;
            table += "\n";
        }
    }
    _ = io::stdout().write_all(table.as_bytes());
    let kept = |row: &Row| row.total.broken.is_empty();
    if rows.iter().all(kept) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn line([fault, times, sent, acknowledged, lost]: [&str; 5], verdict: &str) -> String {
    format!("{fault:<28} {times:>6} {sent:>11} {acknowledged:>13} {lost:>5}  {verdict}\n")
}

/// On a terminal, what is going on; nothing elsewhere.
fn progress(what: &str) {
    if io::stderr().is_terminal() {
        say(&format!("\r\x1b[K{what}"));
    }
}

fn say(text: &str) {
    _ = io::stderr().write_all(text.as_bytes());
}

/// Random numbers by a seed (`SplitMix64`).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}
