//! `cargo xtask cluster`: a line log on several machines, all of it on this one: three NATS nodes, two
//! servers, `HAProxy` in front of them, and five clients.
//!
//! - `options`: the command line
//! - `files`: the configuration files, which are those of `packaging/cluster` with other addresses
//! - `process`: a child process whose output is shown, and which never outlives this one
//! - `servers`, `front`: the log servers, and `HAProxy`
//! - `job`: the clients, and the check of the result

mod files;
mod front;
mod job;
mod options;
mod process;
mod servers;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use cluster::{CURRENT, Cluster, Setup, json};
use common::process::{ENDING_SIGNALS, unblock_signals};
use nats::address::Login;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use files::Folder;
use front::Front;
use options::{COMMAND, Options};
use servers::Server;

/// The stream's name in the packaged configuration.
const STREAM: &str = "LOG";

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

/// Ignores write errors: a closed pipe is no error.
fn say(line: &str) {
    _ = writeln!(io::stdout(), "{line}");
}

/// The first missing program, and how to install it.
fn missing() -> Option<String> {
    match cluster::install(CURRENT) {
        Err(why) => Some(format!("{why} (Debian: apt install python3-venv)")),
        Ok(_) if front::is_installed() => None,
        Ok(_) => Some("haproxy is not installed (Debian: apt install haproxy)".to_owned()),
    }
}

fn run(options: &Options) -> Result<(), String> {
    unblock_signals(ENDING_SIGNALS).map_err(|error| format!("cannot unblock signals: {error}"))?;
    let folder = Folder::prepare(options.folder.as_deref())?;
    let nodes = start_nodes(&folder)?;
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

/// Starts nodes with the users of the packaged configuration, and creates the stream.
fn start_nodes(folder: &Folder) -> Result<Cluster, String> {
    let setup = Setup {
        nodes: 3,
        folder: Some(folder.path().to_owned()),
        config: files::users()?,
        login: Some(Login::User("admin".to_owned(), "admin".to_owned())),
        ..Setup::of(cluster::install(CURRENT)?)
    };
    let program = setup.program.canonicalize();
    let program = program.map_err(|error| format!("{}: {error}", setup.program.display()))?;
    let program = program.to_string_lossy();
    let nodes = setup.start()?;
    for node in &nodes.nodes {
        let name = format!("start-{}", node.name());
        folder.write_script(&name, node.folder(), &[&program, "-c", "nats.conf"])?;
    }
    let subjects = format!("{STREAM}.*");
    let config = json!({"subjects": [subjects], "discard": "new"});
    nodes.stream(STREAM).create(&config)?;
    Ok(nodes)
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
