//! The command `client load`: runs a load, reports it and, if asked, verifies the log.

mod options;
pub(crate) mod table;

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::output::Output;
use common::protocol::Framing;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tls::Connector;

use self::options::Options;
use self::table::COMMAND;
use super::exit::{self, After, EXIT_INTERRUPTED, fail, print};
use crate::drive;
use crate::drive::clock::{Clock, Nanos};
use crate::drive::plan::Plan;
use crate::drive::replies::Expected;
use crate::message::template::Template;
use crate::report::threshold::Threshold;
use crate::report::warning::Warning;
use crate::report::{EndedBy, Loop, Report, Settings, machine, summary};
use crate::show::{page, text};
use crate::verify::logs::RunLog;
use crate::verify::runfile::RunFile;

pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let options = match COMMAND.read(Options::default(), args) {
        Ok(options) => options,
        Err(code) => return code,
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

/// The flags that SIGINT and SIGTERM set.
#[derive(Default)]
struct Signals {
    /// Set by the first signal.
    interrupt: Arc<AtomicBool>,
    /// While it is set, the next signal ends the process at once. The first signal sets it.
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

    /// Resets the flags, as if no signal had come.
    fn rearm(&self) {
        self.impatient.store(false, Ordering::Relaxed);
        self.interrupt.store(false, Ordering::Relaxed);
    }
}

fn load(options: &Options, signals: &Signals) -> Result<u8, String> {
    let outputs = Outputs::create(options)?;
    let log = RunLog::note(&options.verify, &options.stream)?;
    let run = random_name();
    let started = machine::utc_now();
    let mut outcome = drive::run(plan(options, &run)?, &signals.interrupt)?;
    let message = options.message.typed.clone();
    let mut run = RunFile::new(run, started, message, outcome.take_ack_logs());
    run.framing = (options.framing != Framing::Line).then(|| options.framing.name().to_owned());
    run.hello = options.hello.as_ref().map(|hello| hello.typed.clone());
    let settings = settings(options, outcome.control.address);
    let mut report = summary::report(outcome, settings, &run.run, &run.started);
    report.label.clone_from(&options.label);
    conclude(options, signals, &run, log, &mut report, outputs)
}

/// The output files, created before the run and written after it.
struct Outputs {
    save: Option<Output>,
    page: Option<Output>,
}

impl Outputs {
    fn create(options: &Options) -> Result<Self, String> {
        let logs: Vec<_> = options.verify.iter().map(PathBuf::as_path).collect();
        let create = |option, path: &Option<PathBuf>, others: &[&Path]| {
            let path = path.as_deref();
            path.map(|path| Output::create(option, path, others)).transpose()
        };
        let save = create("save", &options.save, &logs)?;
        let others: Vec<_> = logs.into_iter().chain(options.save.as_deref()).collect();
        let page = create("report", &options.report, &others)?;
        Ok(Self { save, page })
    }
}

/// Saves, verifies, judges and prints a finished run. A failure in one step does not stop the
/// others, so that the figures are not lost.
fn conclude(
    options: &Options,
    signals: &Signals,
    run: &RunFile,
    log: RunLog,
    report: &mut Report,
    outputs: Outputs,
) -> Result<u8, String> {
    let mut trouble = None;
    if let Some(save) = outputs.save {
        trouble = trouble.or(save.fill(|out| run.write(out)).err());
    }
    let mut after = After::default();
    if options.verifies() {
        // The next Ctrl-C ends the verification, the one after that the process.
        if report.ended_by == EndedBy::Interrupt {
            signals.rearm();
        }
        let found = log.find();
        match found.and_then(|log| run.verify(log, &signals.interrupt)) {
            Ok(Some(found)) => report.verification = Some(found),
            Ok(None) => {
                after.interrupted = true;
                report.warn(Warning::verification_cut_short());
            }
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    // The next signal ends the process at once: no step is left that could end early.
    signals.impatient.store(true, Ordering::Relaxed);
    let json = serde_json::to_value(&*report).unwrap_or_default();
    let judge = |threshold: &Threshold| threshold.judge(&json);
    report.thresholds = options.fail_if.iter().map(judge).collect();
    if let Some(page) = outputs.page {
        let html = page::page(std::slice::from_ref(report))?;
        trouble = trouble.or(page.fill(|out| out.write_all(html.as_bytes())).err());
    }
    trouble = trouble.or(show(options, report).err());
    if let Some(error) = &trouble {
        fail(COMMAND.name, error);
    }
    after.trouble = trouble.is_some();
    Ok(exit::code(report, after))
}

/// The plan for the workers.
fn plan(options: &Options, run: &str) -> Result<Plan, String> {
    // The escapes were checked when the options were parsed.
    let bytes = |text: &String| Template::unescape(text).unwrap_or_default();
    let ignored = options.ignore.iter().map(bytes).collect();
    let hello = options.hello.as_ref();
    Ok(Plan {
        load: options.load.clone(),
        clock: Clock::start(),
        connector: Connector::open(&options.tls)?,
        message: options.message.template.bind(run),
        hello: hello.map(|hello| hello.template.bind(run)),
        greeting: options.greeting(),
        expected: Expected::new(
            options.framing,
            bytes(&options.reply),
            options.reply_lines,
            ignored,
        ),
        keep: options.keeps_ack_logs(),
    })
}

/// The settings in the report.
fn settings(options: &Options, address: SocketAddr) -> Settings {
    let load = &options.load;
    let seconds = |ns: Nanos| ns as f64 / 1e9;
    let on_error = if load.stop_on_error { "stop" } else { "count" };
    Settings {
        host: load.host.clone(),
        port: load.port,
        address: address.to_string(),
        kind: match load.rate {
            Some(_) => Loop::Open,
            None => Loop::Closed,
        },
        connections: load.connections as u64,
        threads: load.threads as u64,
        pipeline: load.pipeline,
        rate: load.rate,
        duration_s: load.duration.map(seconds),
        messages: load.messages,
        warmup_s: seconds(load.warmup),
        timeout_s: seconds(load.timeout),
        reconnect: load.reconnect,
        connect_rate: load.connect_rate,
        framing: options.framing.name().to_owned(),
        message: options.message.typed.clone(),
        reply: options.reply.clone(),
        reply_lines: options.reply_lines,
        ignore: options.ignore.clone(),
        hello: options.hello.as_ref().map(|hello| hello.typed.clone()),
        hello_lines: options.greeting(),
        on_error: on_error.to_owned(),
    }
}

/// Prints the report.
fn show(options: &Options, report: &Report) -> Result<(), String> {
    let mut verdicts = String::new();
    for threshold_result in &report.thresholds {
        verdicts.push_str(&text::threshold_result(threshold_result));
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

/// A random name for a run, so that the messages of two runs in one log differ.
fn random_name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{:012x}", random >> 16)
}
