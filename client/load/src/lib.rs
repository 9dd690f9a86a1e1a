//! `client load`: an instrument that measures and verifies.
//!
//! It sends messages over many connections, times the reply to each, and can prove afterwards that
//! every acknowledged message is in the server's log. `client verify` does the latter alone,
//! `client report` draws the figures of several runs on one page.
//!
//! From the command line to the exit code:
//!
//! - `options`, `template`, `threshold`: what is asked for.
//! - `run`: the coordinator. It starts a `worker` per thread, each with its `connection`s, and
//!   hears from them what they counted (`tally`, `figures`); `plan` is what they share.
//! - `replies`, `schedule`, `ledger`, `pattern`: the parts that think and do no input or output.
//! - `summary` makes the `report` of a run; `text` and `page` show it.
//! - `verify` reads the server's log, `runfile` keeps what that needs for later.

// Figures are never negative.
#![allow(clippy::cast_sign_loss)]

mod chart;
mod clock;
mod connection;
mod figures;
mod ledger;
mod machine;
mod options;
mod page;
mod pattern;
mod plan;
mod progress;
mod replies;
mod report;
mod report_command;
mod run;
mod runfile;
mod schedule;
mod seen;
mod served;
mod summary;
mod tally;
mod template;
mod text;
mod threshold;
mod timer;
mod units;
mod verify;
mod verify_command;
mod worker;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::options::{Asked, COMMAND, Options};
use crate::report::Report;
use crate::runfile::RunFile;

/// It could not run, or could not go on.
const EXIT_FAILURE: u8 = 1;
/// A `-fail-if` condition held.
const EXIT_THRESHOLD: u8 = 3;
/// The log is not what the server said.
const EXIT_VERIFICATION: u8 = 4;
/// Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;

const INTERRUPTED: &str = "interrupted";

/// `client load`.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let options = match options::parse(args) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Print(text)) => return args::print(&text),
        Err(error) => return COMMAND.refuse(&error),
    };
    let signals = Signals::default();
    let done = signals
        .watch()
        .map_err(|error| format!("cannot handle signals: {error}"))
        .and_then(|()| load(&options, &signals));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = fail(COMMAND.name, &error);
            if signals.interrupt.load(Ordering::Relaxed) {
                ExitCode::from(EXIT_INTERRUPTED)
            } else {
                code
            }
        }
    }
}

/// What SIGINT and SIGTERM do.
#[derive(Default)]
struct Signals {
    /// Set by the first.
    interrupt: Arc<AtomicBool>,
    /// If this is set, the next ends the process at once; the first sets it.
    impatient: Arc<AtomicBool>,
}

impl Signals {
    fn watch(&self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            let code = i32::from(EXIT_INTERRUPTED);
            flag::register_conditional_shutdown(signal, code, self.impatient.clone())?;
            flag::register(signal, self.impatient.clone())?;
            flag::register(signal, self.interrupt.clone())?;
        }
        Ok(())
    }
}

fn load(options: &Options, signals: &Signals) -> Result<u8, String> {
    // A mistyped path is noticed before the run, not after it.
    let save = options.save.as_deref().map(create).transpose()?;
    let page = options.report.as_deref().map(create).transpose()?;
    for log in &options.verify {
        verify::open(log).map_err(|error| format!("cannot read {}: {error}", log.display()))?;
    }
    let run = random_name();
    let started = machine::utc_now();
    let mut outcome = run::run(options, &run, &signals.interrupt)?;
    // The run is over: nothing is left that an interrupt could end gently.
    signals.impatient.store(true, Ordering::Relaxed);
    let run = RunFile::new(
        run,
        started,
        options.message.typed.clone(),
        outcome.take_ledgers(),
    );
    let mut report = summary::report(options, &run.run, &run.started, outcome);
    // What goes wrong from here on must not cost the figures.
    let mut trouble = None;
    if let (Some(file), Some(path)) = (save, &options.save) {
        let written = run.write(file).map_err(|error| cannot_write(path, &error));
        trouble = trouble.or(written.err());
    }
    if !options.verify.is_empty() {
        match run.verify(&options.verify) {
            Ok(found) => report.verification = Some(found),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    let judge = |threshold: &threshold::Threshold| threshold.judge(&report);
    report.thresholds = options.fail_if.iter().map(judge).collect();
    if let (Some(mut file), Some(path)) = (page, &options.report) {
        let html = page::page(std::slice::from_ref(&report))?;
        let written = file
            .set_len(0)
            .and_then(|()| file.write_all(html.as_bytes()));
        trouble = trouble.or(written.err().map(|error| cannot_write(path, &error)));
    }
    show(options, &report)?;
    trouble.map_or(Ok(report.exit_code()), Err)
}

/// Prints the report.
fn show(options: &Options, report: &Report) -> Result<(), String> {
    let mut verdicts = String::new();
    for verdict in &report.thresholds {
        verdicts.push_str(&text::verdict(verdict));
    }
    if options.json {
        _ = io::stderr().write_all(verdicts.as_bytes());
        return print(&serde_json::to_string(report).map_err(|error| error.to_string())?);
    }
    let mut out = text::text(report);
    if !verdicts.is_empty() {
        out.push('\n');
        out.push_str(&verdicts);
    }
    print(&out)
}

/// Prints `text` with an LF at its end. A reader that has closed its end is no error.
fn print(text: &str) -> Result<(), String> {
    let line = format!("{}\n", text.trim_end());
    match io::stdout().write_all(line.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {error}"))
        }
        _ => Ok(()),
    }
}

/// Says on stderr what went wrong; returns the exit code for it.
fn fail(command: &str, error: &str) -> ExitCode {
    _ = writeln!(io::stderr(), "{command}: {error}");
    ExitCode::from(EXIT_FAILURE)
}

/// A name for a run that no other in the same log is likely to have.
fn random_name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{:012x}", random >> 16)
}

/// Opens a file for writing, its old content left alone until there is something new.
fn create(path: &Path) -> Result<File, String> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    file.map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// `client verify`.
pub fn verify_main(args: Vec<OsString>) -> ExitCode {
    verify_command::main(args)
}

/// `client report`.
pub fn report_main(args: Vec<OsString>) -> ExitCode {
    report_command::main(args)
}
