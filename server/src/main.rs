//! `server`: takes lines over TCP, writes them to its log, and answers `ok`.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use common::args;
use common::process;
use server::diagnostics::Stderr;
use server::figures::Figures;
use server::journal::{Journal, Opened};
use server::net;
use server::options::{self, Config, Task};
use server::server::{Failure, REFUSALS, Server};
use server::terminal::Terminal;

/// Descriptors that are not for clients: standard input, output and error and the handles of our
/// own on them, poll, signals, the log and another one when it is opened anew, a few to spare.
const RESERVED_DESCRIPTORS: usize = 16;

fn main() -> ExitCode {
    let config = match options::parse(std::env::args_os().skip(1)) {
        Ok(Task::Serve(config)) => config,
        Ok(Task::Print(text)) => return args::print(&text),
        Err(error) => return options::COMMAND.refuse(&error),
    };
    let stderr = Stderr::open(config.utc);
    let served = serve(config, &stderr);
    let code = match &served {
        Ok(figures) => {
            stderr.say(&figures.to_string());
            ExitCode::SUCCESS
        }
        Err(message) => {
            stderr.say(&format!("server: {message}"));
            ExitCode::FAILURE
        }
    };
    stderr.finish();
    code
}

/// Binds before it opens the log, so that a second server on the same port leaves it alone.
fn serve(mut config: Config, stderr: &Stderr) -> Result<Figures, String> {
    stderr.install_logger();
    process::end_with_launcher().map_err(|error| error.to_string())?;
    let descriptors = process::raise_descriptor_limit();
    let sockets = net::listen(&config.host, config.port, config.keepalive)
        .map_err(|error| with_advice(&error, "choose another -host or -port"))?;
    limit_clients(&mut config, descriptors, sockets.len())?;
    let opened: Opened =
        Journal::open(&config.log, config.opening, config.sync).map_err(|error| {
            let what = format!("cannot open the log {}: {error}", config.log.display());
            with_advice(&what, "choose another -log")
        })?;
    if opened.mended {
        log::warn!("{}: ended a torn record at its end", config.log.display());
    }
    let terminal = if config.quiet {
        Terminal::closed()
    } else {
        Terminal::open(io::stdout())
    };
    let cannot_start = |error: io::Error| format!("cannot start: {error}");
    let server = Server::new(&config, sockets, opened.journal, terminal, stderr.clone());
    let mut server = server.map_err(cannot_start)?;
    server.handle_signals().map_err(cannot_start)?;
    for address in server.addresses().map_err(cannot_start)? {
        stderr.say(&format!("listening on {address}"));
    }
    server.run().map_err(|failure| describe(&failure, &config))
}

/// Fits the number of clients to the descriptors there are.
fn limit_clients(config: &mut Config, descriptors: usize, listeners: usize) -> Result<(), String> {
    let reserved = RESERVED_DESCRIPTORS + REFUSALS + listeners;
    let possible = descriptors.saturating_sub(reserved);
    if possible == 0 {
        return Err(format!(
            "{descriptors} open files are too few, {} at least are needed: raise 'ulimit -n'",
            reserved + 1
        ));
    }
    if let Some(wanted) = config.max_clients.filter(|wanted| *wanted > possible) {
        log::warn!(
            "-max-clients {wanted} is lowered to {possible}: {descriptors} files may be open \
             ('ulimit -n')"
        );
    }
    let wanted = config.max_clients.unwrap_or(possible);
    config.max_clients = Some(wanted.min(possible));
    Ok(())
}

fn with_advice(what: &dyn Display, advice: &str) -> String {
    format!("{what}; {advice}")
}

fn describe(failure: &Failure, config: &Config) -> String {
    let log = config.log.display();
    match failure {
        Failure::Forced(1) => "stopped at once by a second signal: 1 client cut off".to_owned(),
        Failure::Forced(n) => format!("stopped at once by a second signal: {n} clients cut off"),
        Failure::Sync(error) => format!(
            "cannot sync {log}: {error}; what was not answered may be lost, so nothing more is; \
             check the disk before starting again"
        ),
        Failure::Loop(error) => format!("cannot wait for clients: {error}"),
    }
}
