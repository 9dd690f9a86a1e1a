//! `client load`: runs a load, reports it, and verifies it where that is asked for.

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

use super::exit::{self, EXIT_INTERRUPTED, cannot_write, fail, print};
use super::options::{self, Asked, COMMAND, Options};
use crate::drive;
use crate::report::threshold::Threshold;
use crate::report::{Report, machine, summary};
use crate::show::{page, text};
use crate::verify::{self, runfile::RunFile};

/// `client load`.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
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
    let mut outcome = drive::run(options, &run, &signals.interrupt)?;
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
    let judge = |threshold: &Threshold| threshold.judge(&report);
    report.thresholds = options.fail_if.iter().map(judge).collect();
    if let (Some(mut file), Some(path)) = (page, &options.report) {
        let html = page::page(std::slice::from_ref(&report))?;
        let written = file
            .set_len(0)
            .and_then(|()| file.write_all(html.as_bytes()));
        trouble = trouble.or(written.err().map(|error| cannot_write(path, &error)));
    }
    let trouble = trouble.or(show(options, &report).err());
    if let Some(error) = &trouble {
        fail(COMMAND.name, error);
    }
    Ok(exit::code(&report, trouble.is_some()))
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
