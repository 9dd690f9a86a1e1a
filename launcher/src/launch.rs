//! Phases of a run: start the server, run the clients, stop the server.
//!
//! The main thread starts the children, waits for events and decides. It never writes to the
//! terminal itself, so a blocked terminal cannot keep it from handling Ctrl-C.

use std::env;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use common::output::report;
use common::process;
use common::program::named;
use common::summary::Summary;
use common::units::plural;
use rustix::process::Signal;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::child::Child;
use crate::event::Event;
use crate::options::Options;
use crate::output::{Output, Stream};
use crate::summary;

/// The index of the server in `children`. The clients follow.
const SERVER: usize = 0;

/// How long the server may take to listen.
const STARTING: Duration = Duration::from_secs(10);
/// A client that is silent for this long hangs. It waits at most 10 s for a connection or a reply,
/// and prints a line before each.
const SILENCE: Duration = Duration::from_secs(12);
/// How long children may take to stop. The server needs at most 5 s.
const STOPPING: Duration = Duration::from_secs(6);
/// How long to wait for late events. A client may notice the end of the server before the launcher
/// gets SIGCHLD.
const DYING: Duration = Duration::from_millis(500);
/// How long to wait for blocked output after all children were stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Exit code of an interrupted program, as in shells for SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// Why a run failed.
enum End {
    Interrupted,
    /// The server ended before it was stopped.
    ServerEnded,
    /// One line that says what failed.
    Failed(String),
}

/// Runs all phases. An error is reported in one line on stderr.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut launch = match Launch::new(options) {
        Ok(launch) => launch,
        Err(error) => {
            report("launcher", &format!("cannot set up: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let Err(end) = launch.phases(options) else {
        return ExitCode::SUCCESS;
    };
    let killed = launch.stop_all();
    let (mut why, code) = match end {
        End::Interrupted => ("interrupted".to_owned(), ExitCode::from(EXIT_INTERRUPTED)),
        End::ServerEnded => (launch.about_the_server(), ExitCode::FAILURE),
        End::Failed(why) => (why, ExitCode::FAILURE),
    };
    if !killed.is_empty() {
        why = format!("{why}; had to kill {}", killed.join(", "));
    }
    launch.say(Stream::Stderr, format!("{}: {why}\n", named("launcher")));
    _ = launch.wait(Some(LAST_WORDS), |launch| launch.unsaid == 0);
    code
}

struct Launch {
    output: Arc<Output>,
    events: Receiver<Event>,
    to_events: Sender<Event>,
    to_printer: Sender<(Stream, String)>,
    /// How many of the launcher's own texts are not written yet.
    unsaid: usize,
    /// The server, once it is started, then the clients.
    children: Vec<Child>,
    /// The address of the server, once it listens.
    address: Option<SocketAddr>,
    /// Whether the server is expected to end.
    stopping: bool,
}

impl Launch {
    fn new(options: &Options) -> io::Result<Self> {
        let output = Arc::new(Output::new(client_name(options.clients).len()));
        let (to_events, events) = mpsc::channel();
        process::unblock_signals(process::ENDING_SIGNALS)?;
        process::unblock_signals([SIGCHLD])?;
        let mut signals = Signals::new([SIGCHLD, SIGINT, SIGTERM])?;
        let heard = to_events.clone();
        thread::Builder::new().spawn(move || {
            for signal in signals.forever() {
                _ = heard.send(Event::Signal(signal));
            }
        })?;
        let (to_printer, texts) = mpsc::channel::<(Stream, String)>();
        let (printer, said) = (Arc::clone(&output), to_events.clone());
        thread::Builder::new().spawn(move || {
            for (stream, text) in texts {
                printer.write(stream, text.as_bytes());
                _ = said.send(Event::Said);
            }
        })?;
        Ok(Self {
            output,
            events,
            to_events,
            to_printer,
            unsaid: 0,
            children: Vec::new(),
            address: None,
            stopping: false,
        })
    }

    fn phases(&mut self, options: &Options) -> Result<(), End> {
        let (server, client) = (sibling("server")?, sibling("client")?);
        // Each child needs two pipes.
        process::raise_descriptor_limit();
        let address = self.start_server(&server, options)?;
        self.start_clients(&client, options, address)?;
        self.wait_for_clients()?;
        let clients = self.summaries();
        if options.keep {
            return self.keep(options, address, clients);
        }
        if clients.is_err() {
            // The clients may have failed because the server ended.
            self.wait(Some(DYING), |_| false)?;
        }
        let clients = match (clients, self.stop_server()) {
            (Ok(clients), stopped) => stopped.map(|()| clients),
            (Err(client), Err(End::Failed(server))) => {
                Err(End::Failed(format!("{client}; {server}")))
            }
            (Err(client), stopped) => stopped.and(Err(End::Failed(client))),
        }?;
        let log = options.log();
        let records = summary::count_records(&log).map_err(|error| {
            End::Failed(format!("cannot count the records in {}: {error}", log.display()))
        })?;
        let place = format!(", {} in {}", plural(records.all, "record"), log.display());
        self.say(Stream::Stdout, summary::text(&clients, &place));
        self.wait(None, |launch| launch.unsaid == 0)?;
        if let Some(error) = self.output.failure() {
            return Err(End::Failed(format!("cannot write to stdout: {error}")));
        }
        let acknowledged = clients.iter().map(|(_, summary)| summary.messages).sum();
        if records.messages == acknowledged {
            return Ok(());
        }
        Err(End::Failed(format!(
            "{} acknowledged, but {} holds {}: did the clients reach another server, or others this \
             one?",
            plural(acknowledged, "message"),
            log.display(),
            plural(records.messages, "message"),
        )))
    }

    /// Starts the server and waits until it listens.
    fn start_server(&mut self, path: &Path, options: &Options) -> Result<SocketAddr, End> {
        let mut command = Command::new(path);
        command.arg(format!("-host={}", options.host));
        command.arg(format!("-port={}", options.port));
        if let Some(log) = &options.log {
            command.arg("-log").arg(log);
        }
        command.args(options.server_tls.to_args());
        self.start("server", &mut command)?;
        self.wait(Some(STARTING), |launch| launch.address.is_some())?;
        self.address.ok_or_else(|| {
            let seconds = STARTING.as_secs();
            End::Failed(format!("server does not listen after {seconds} s"))
        })
    }

    fn start_clients(
        &mut self,
        path: &Path,
        options: &Options,
        server: SocketAddr,
    ) -> Result<(), End> {
        let host = options.client_host.clone();
        let host = host.unwrap_or_else(|| host_of(server));
        let port = server.port();
        for number in 1..=options.clients {
            let mut command = Command::new(path);
            command.arg(format!("-nhost={host}"));
            command.arg(format!("-port={port}"));
            command.arg(format!("-nt={}", options.threads));
            command.arg(format!("-ni={}", options.rounds));
            command.args(options.tls.to_args());
            self.start(&client_name(number), &mut command)?;
            // Handles signals between the starts, since there may be a thousand clients.
            self.wait(Some(Duration::ZERO), |_| false)?;
        }
        Ok(())
    }

    /// Waits until all clients have ended, or one hangs.
    fn wait_for_clients(&mut self) -> Result<(), End> {
        let done = |launch: &Self| launch.clients().iter().all(Child::is_done);
        while !done(self) {
            self.wait(Some(SILENCE), done)?;
            let silent: Vec<_> = self.clients().iter().map(Child::is_silent).collect();
            if !silent.contains(&true) {
                continue;
            }
            // If the launcher was stopped for a while, the output of the clients is only read now.
            self.wait(Some(DYING), done)?;
            let silent = self.clients().iter().zip(silent).filter(|(_, silent)| *silent);
            let hung = silent.map(|(client, _)| client).find(|client| client.is_silent());
            // Clients have to wait while the output of the launcher is blocked.
            if let Some(client) = hung.filter(|_| !self.output.is_busy()) {
                let (name, seconds) = (&client.name, SILENCE.as_secs());
                let why = format!("{name} hangs: it has said nothing for {seconds} s");
                return Err(End::Failed(why));
            }
        }
        Ok(())
    }

    fn start(&mut self, name: &str, command: &mut Command) -> Result<(), End> {
        let index = self.children.len();
        let child = Child::start(name, index, command, &self.output, &self.to_events);
        let child = child.map_err(|error| End::Failed(format!("cannot start {name}: {error}")))?;
        self.children.push(child);
        Ok(())
    }

    fn clients(&self) -> &[Child] {
        self.children.get(SERVER + 1..).unwrap_or_default()
    }

    /// The summaries of the clients by name, or which clients failed and how.
    fn summaries(&self) -> Result<Vec<(String, Summary)>, String> {
        let mut summaries = Vec::new();
        let mut failed = Vec::new();
        for client in self.clients() {
            match client.said().parse() {
                Ok(summary) if !client.failed() => summaries.push((client.name.clone(), summary)),
                _ => failed.push(client),
            }
        }
        let Some(first) = failed.first() else {
            return Ok(summaries);
        };
        let (name, end) = (&first.name, first.end());
        Err(match failed.len() {
            1 => format!("{name} failed{end}"),
            some => {
                let of = self.clients().len();
                format!("{some} of {of} clients failed, first {name}{end}")
            }
        })
    }

    /// Reports the result of the clients and keeps the server running until Ctrl-C.
    fn keep(
        &mut self,
        options: &Options,
        address: SocketAddr,
        clients: Result<Vec<(String, Summary)>, String>,
    ) -> Result<(), End> {
        let log = options.log();
        let log = log.display();
        let place = format!("; the server goes on at {address} until Ctrl-C, its log is {log}");
        let failed = match clients {
            Ok(clients) => {
                self.say(Stream::Stdout, summary::text(&clients, &place));
                None
            }
            Err(why) => {
                self.say(Stream::Stderr, format!("{}: {why}{place}\n", named("launcher")));
                Some(why)
            }
        };
        match self.wait(None, |_| false) {
            // Ctrl-C is the expected end.
            Err(End::Interrupted) => self.stop_server()?,
            other => other?,
        }
        failed.map_or(Ok(()), |why| Err(End::Failed(why)))
    }

    /// Stops the server with SIGTERM, and with SIGKILL if it takes too long.
    fn stop_server(&mut self) -> Result<(), End> {
        self.stopping = true;
        self.children[SERVER].signal(Signal::TERM);
        self.wait(Some(STOPPING), |launch| launch.children[SERVER].has_ended())?;
        let server = &mut self.children[SERVER];
        if !server.has_ended() {
            server.kill();
            let seconds = STOPPING.as_secs();
            let why = format!("server did not stop within {seconds} s and was killed");
            return Err(End::Failed(why));
        }
        self.wait(None, |launch| launch.children[SERVER].is_done())?;
        let server = &self.children[SERVER];
        if server.failed() {
            let why = format!("server failed when it was to stop{}", server.end());
            return Err(End::Failed(why));
        }
        Ok(())
    }

    /// Stops all remaining children with SIGTERM, then with SIGKILL. Returns the names of the
    /// killed ones.
    fn stop_all(&mut self) -> Vec<String> {
        self.stopping = true;
        for child in &self.children {
            child.signal(Signal::TERM);
        }
        // Another Ctrl-C ends the wait.
        _ = self.wait(Some(STOPPING), |launch| launch.children.iter().all(Child::has_ended));
        let left = self.children.iter_mut().filter(|child| !child.has_ended());
        let killed = left.map(|child| {
            child.kill();
            child.name.clone()
        });
        let killed = killed.collect();
        _ = self.wait(Some(LAST_WORDS), |launch| launch.children.iter().all(Child::is_done));
        killed
    }

    /// Describes the unexpected end of the server.
    fn about_the_server(&self) -> String {
        let when = match self.address {
            Some(_) => "early",
            None => "before it listened",
        };
        let end = self.children[SERVER].end();
        format!("server ended {when}{end}")
    }

    /// Gives `text`, which ends with LF, to the printer.
    fn say(&mut self, stream: Stream, text: String) {
        if self.to_printer.send((stream, text)).is_ok() {
            self.unsaid += 1;
        }
    }

    /// Handles events until `done` returns true or `limit` has passed. It fails on an interrupt and
    /// when the server ends unexpectedly.
    fn wait(&mut self, limit: Option<Duration>, done: impl Fn(&Self) -> bool) -> Result<(), End> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        while !done(self) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let event = match left {
                Some(left) => self.events.recv_timeout(left).ok(),
                None => self.events.recv().ok(),
            };
            let Some(event) = event else {
                return Ok(());
            };
            self.handle(event)?;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Signal(SIGCHLD) => {
                self.children.iter_mut().for_each(Child::reap);
                let server = self.children.get(SERVER);
                if !self.stopping && server.is_some_and(Child::has_ended) {
                    return Err(End::ServerEnded);
                }
            }
            Event::Signal(_) => return Err(End::Interrupted),
            Event::Listening { child: SERVER, address } => {
                self.address.get_or_insert(address);
            }
            // Clients do not listen.
            Event::Listening { .. } => {}
            Event::Silent { child, last_words } => {
                if let Some(child) = self.children.get_mut(child) {
                    child.fell_silent(last_words);
                }
            }
            Event::Said => self.unsaid -= 1,
        }
        Ok(())
    }
}

/// The host to connect to, for a server that listens at `address`. For a wildcard address it is the
/// loopback address.
fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        // A link-local address needs its zone.
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        address => address.ip().to_string(),
    }
}

/// The name of a client. Numbers count from 1.
fn client_name(number: usize) -> String {
    format!("client {number}")
}

/// The program `name` in the folder of this one.
fn sibling(name: &str) -> Result<PathBuf, End> {
    let own = env::current_exe();
    let own = own.map_err(|error| End::Failed(format!("cannot find my own path: {error}")))?;
    let own_name = own.file_name().unwrap_or_default().to_string_lossy();
    // If this program is installed as line-log-launcher, the others have the same prefix.
    let prefix = own_name.strip_suffix("launcher").unwrap_or_default();
    let path = own.with_file_name(format!("{prefix}{name}"));
    if path.is_file() {
        return Ok(path);
    }
    Err(End::Failed(format!(
        "{} is missing: 'cargo xtask run-all' or 'cargo build' makes it",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_go_where_the_server_listens() {
        for (address, host) in [
            ("127.0.0.2:1", "127.0.0.2"),
            ("0.0.0.0:1", "127.0.0.1"),
            ("[::1]:1", "::1"),
            ("[::]:1", "::1"),
            ("[fe80::1%7]:1", "fe80::1%7"),
        ] {
            assert_eq!(host_of(address.parse().unwrap()), host);
        }
    }
}
