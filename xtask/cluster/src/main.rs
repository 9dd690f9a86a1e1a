//! `cargo xtask cluster`: a line log on several machines, all of it on this one: three NATS nodes, two
//! servers, `HAProxy` in front of them, and five clients.
//!
//! - `options`: the command line
//! - `files`: the configuration files, which are those of `packaging/cluster` with other addresses
//! - `nodes`: the nodes, and the stream
//! - `process`, `output`: a child process whose output is shown, and which never outlives this one
//! - `servers`, `front`: the log servers, and `HAProxy`
//! - `job`: the clients, and the check of the result

mod files;
mod front;
mod job;
mod nodes;
mod options;
mod output;
mod process;
mod servers;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use common::process::{ENDING_SIGNALS, unblock_signals};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use test_support::nodes::{CURRENT, Cluster, install};

use files::Folder;
use front::Front;
use options::{COMMAND, Options};
use output::say;
use servers::Server;

fn main() -> ExitCode {
    let options = match COMMAND.read(Options::default(), std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Some(missing) = missing() {
        say(&format!("skipped: {missing}"));
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            _ = writeln!(io::stderr(), "cluster: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The first missing program, and how to install it.
fn missing() -> Option<String> {
    match install(CURRENT) {
        Err(why) => Some(format!("{why} (Debian: apt install python3-venv)")),
        Ok(_) if front::is_installed() => None,
        Ok(_) => Some("haproxy is not installed (Debian: apt install haproxy)".to_owned()),
    }
}

fn run(options: &Options) -> Result<(), String> {
    unblock_signals(ENDING_SIGNALS).map_err(|error| format!("cannot unblock signals: {error}"))?;
    let folder = Folder::prepare(options.folder.as_deref())?;
    let nodes = nodes::start(&folder)?;
    let servers = ["a", "b"].map(|id| Server::start(id, &nodes, &folder));
    let [a, b] = servers;
    let servers = [a?, b?];
    let front = Front::start(&servers, &folder)?;
    say(&table(&nodes, &servers, &front, &folder));
    job::run(front.address(), &nodes)?;
    if options.keep {
        wait_for_an_end(&front)?;
    }
    front.stop()?;
    let stopped = servers.map(Server::stop);
    if options.keep {
        // The user may have killed them.
        return Ok(());
    }
    stopped.into_iter().collect()
}

/// The processes and their addresses.
fn table(nodes: &Cluster, servers: &[Server], front: &Front, folder: &Folder) -> String {
    let mut table = String::new();
    let mut row = |name: &str, address: String, what: String| {
        _ = writeln!(table, "{name:<8}   {address:<16}  {what}");
    };
    for node in &nodes.nodes {
        let (pid, monitoring) = (node.pid().unwrap_or_default(), node.monitoring());
        let what = format!("nats-server, process {pid}; http://{monitoring}/healthz");
        row(node.name(), node.address().to_string(), what);
    }
    for server in servers {
        let (pid, metrics) = (server.process.pid(), server.metrics());
        let what = format!("server, process {pid}; http://{metrics}/health");
        row(server.id, server.address().to_string(), what);
    }
    let (pid, statistics) = (front.process.pid(), front.statistics());
    let what = format!("for clients, process {pid}; http://{statistics}/");
    row("haproxy", front.address().to_string(), what);
    _ = write!(table, "files      {}", folder.path().display());
    table
}

/// Waits for Ctrl-C or SIGTERM.
fn wait_for_an_end(front: &Front) -> Result<(), String> {
    let signals = Signals::new([SIGINT, SIGTERM]);
    let mut signals = signals.map_err(|error| format!("cannot handle signals: {error}"))?;
    let address = front.address();
    let (host, port) = (address.ip(), address.port());
    say(&format!(
        "all of it is up until Ctrl-C: 'client -nhost {host} -port {port} -ni 1000' sends lines, 'kill -9' \
         ends whatever you like, and 'sh start-NAME' among the files starts it again"
    ));
    signals.forever().next();
    Ok(())
}
