//! `cargo xtask bench`: this server and its peers, measured in one run with one client.
//!
//! The order of the modules is the order of their imports: from the bottom up.
//!
//! - `load`, `protocol`, `system`: what is measured; the folder `tables` has a row for each
//! - `options`: the command line
//! - `cpus`, `processes`: the CPUs that processes run on, and what they use of them
//! - `server`: a running system
//! - `sample`, `client`, `handshakes`, `measure`: one measurement
//! - `metric`, `results`, `targets`: figures of all rounds, and their limits
//! - `report`, `run`: all measurements, in shuffled rounds
//! - `table`, `show`: a report as text and as HTML

mod client;
mod cpus;
mod handshakes;
mod load;
mod measure;
mod metric;
mod options;
mod processes;
mod protocol;
mod report;
mod results;
mod run;
mod sample;
mod server;
mod show;
mod system;
mod table;
mod targets;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::output::{self, Output};
use common::process::{ENDING_SIGNALS, unblock_signals};
use signal_hook::consts::{SIGINT, SIGTERM};

use options::{COMMAND, Options};

fn main() -> ExitCode {
    let options = match COMMAND.read(Options::default(), std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(code) => return code,
    };
    bench(&options).unwrap_or_else(|why| {
        output::report("bench", &why);
        ExitCode::FAILURE
    })
}

fn bench(options: &Options) -> Result<ExitCode, String> {
    let interrupted = handle_signals();
    let interrupted = interrupted.map_err(|error| format!("cannot handle signals: {error}"))?;
    // Opened before the first measurement: a bad path fails early.
    let json = options.json.as_deref();
    let page = options.page.as_deref();
    let others: Vec<_> = json.into_iter().collect();
    let json = json.map(|path| Output::create("json", path, &[]));
    let page = page.map(|path| Output::create("page", path, &others));
    let (json, page) = (json.transpose()?, page.transpose()?);
    let (report, code) = run::run(options, &interrupted);
    // A closed pipe is no error.
    _ = io::stdout().write_all(show::text(&report).as_bytes());
    if let Some(json) = json {
        json.fill(|out| Ok(serde_json::to_writer_pretty(out, &report)?))?;
    }
    if let Some(page) = page {
        page.fill(|out| out.write_all(show::page(&report).as_bytes()))?;
    }
    Ok(code)
}

/// A flag that SIGINT and SIGTERM set.
fn handle_signals() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    unblock_signals(ENDING_SIGNALS)?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}
