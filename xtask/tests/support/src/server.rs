//! A running server in its own folder, and a server that has exited.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use common::units::plural;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::client::Client;
use crate::commands::{Running, lines};
use crate::ports::Reserved;
use crate::process::Figures;
use crate::programs;
use crate::wait::{DEADLINE, persist, wait_until};

/// The number of clients that are served if `limit` descriptors may be open, as the server computes it.
/// Reserved are: its standard descriptors, a duplicate of one of them, a listening socket, 12 for files,
/// 8 to refuse clients, and those that it inherits from this process.
pub fn clients_for(limit: usize) -> usize {
    const CLOSED_BY_EXEC: u32 = 0o2_000_000;
    let inherited = fs::read_dir("/proc/self/fdinfo").unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        let number: usize = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // The descriptor of the folder itself is closed by now.
        let info = fs::read_to_string(&path).unwrap_or("flags: 02000000".to_owned());
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        number > 2 && u32::from_str_radix(flags.trim(), 8).unwrap() & CLOSED_BY_EXEC == 0
    });
    limit - 5 - 12 - 8 - inherited.count()
}

/// A running server. Dropping it kills the process.
pub struct Server {
    command: Command,
    child: Running,
    pub started: Instant,
    address: SocketAddr,
    folder: TempDir,
    stderr: Receiver<String>,
    said: Vec<String>,
    /// Its port, if it keeps it while it does not run.
    port: Option<Reserved>,
}

/// A server that has exited.
pub struct Ended {
    pub status: ExitStatus,
    /// The lines on its standard error that no wait returned.
    pub said: Vec<String>,
    folder: TempDir,
}

/// Starting, stopping and killing it.
impl Server {
    /// Starts a server on any free port, with its log in a new folder and `-quiet`.
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    /// The same in an existing folder.
    pub fn start_in(folder: TempDir, options: &[&str]) -> Self {
        let mut command = programs::server();
        command.args(["-quiet", "-port", "0"]).args(options);
        Self::start_command(folder, command)
    }

    /// Starts a server that can be started again: its port stays its own.
    pub fn start_fixed(options: &[&str]) -> Self {
        let port = Reserved::new().unwrap();
        let mut command = programs::server();
        let number = port.address.port().to_string();
        command.args(["-quiet", "-port", &number]).args(options);
        let mut server = Self::start_command(tempfile::tempdir().unwrap(), command);
        server.port = Some(port);
        server
    }

    /// Runs a command in `folder`, which is or becomes a server.
    pub fn start_command(folder: TempDir, mut command: Command) -> Self {
        command.current_dir(folder.path()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().expect("the server starts"));
        let stderr = lines(child.stderr.take().expect("piped"));
        let mut server = Self {
            command,
            child,
            started: Instant::now(),
            address: ([0, 0, 0, 0], 0).into(),
            folder,
            stderr,
            said: Vec::new(),
            port: None,
        };
        let listening = server.find_line("listening on ");
        server.address = address_in(&listening.unwrap_or_else(|why| panic!("{why}")));
        server
    }

    /// Kills it (SIGKILL) and waits for its exit, so that it can be started again.
    pub fn crash(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
        self.said.extend(self.stderr.iter());
    }

    /// Starts it after a crash with the same command. Repeats that: its stream may reject it at first.
    pub fn start_again(&mut self) {
        assert!(self.port.is_some(), "it may get another port");
        let listening = persist(|| {
            self.child = Running(self.command.spawn().map_err(|error| error.to_string())?);
            self.stderr = lines(self.child.stderr.take().expect("piped"));
            self.find_line("listening on ")
        });
        listening.unwrap_or_else(|why| panic!("{why}"));
        self.started = Instant::now();
    }

    /// Kills it and starts it again.
    pub fn restart(&mut self) {
        self.crash();
        self.start_again();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server runs");
    }

    /// Kills it (SIGKILL) and waits for its exit.
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Sends SIGTERM and waits for its exit.
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its exit.
    pub fn wait(mut self) -> Ended {
        let status = wait_until("the server's end", || self.exit_status());
        self.said.extend(self.stderr.iter());
        Ended { status, said: self.said, folder: self.folder }
    }

    /// Its exit status, if it has exited.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

/// What it has.
impl Server {
    /// The first address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of the default log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("logging.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("the log is there, and text")
    }

    /// Waits until the log satisfies `condition`; returns the log.
    pub fn wait_for_log(&self, condition: impl Fn(&str) -> bool) -> String {
        wait_until("the log", || Some(self.log()).filter(|log| condition(log)))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The pipe from its standard output.
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("piped")
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Connects this many clients.
    pub fn connect_all(&self, clients: usize) -> io::Result<Vec<TcpStream>> {
        let connect = |_| TcpStream::connect(self.address);
        (0..clients).map(connect).collect()
    }
}

/// What it prints on standard error.
impl Server {
    /// Waits for the next line on standard error that contains `text`.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        self.find_line(text).unwrap_or_else(|why| panic!("{why}"))
    }

    fn find_line(&mut self, text: &str) -> Result<String, String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.stderr.recv_timeout(left) else {
                let status = self.child.try_wait();
                let said = &self.said;
                return Err(format!("no '{text}' on stderr ({status:?}), only {said:#?}"));
            };
            if line.contains(text) {
                return Ok(line);
            }
            self.said.push(line);
        }
    }

    /// The first line on standard error so far that contains `text`.
    pub fn said(&self, text: &str) -> &str {
        let line = self.said.iter().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no '{text}' in {:#?}", self.said))
    }

    /// The next line on standard error that contains `text`; none if it has not been printed yet.
    pub fn try_line(&mut self, text: &str) -> Option<String> {
        while let Ok(line) = self.stderr.try_recv() {
            if line.contains(text) {
                return Some(line);
            }
            self.said.push(line);
        }
        None
    }

    /// The statistics that it prints on SIGUSR1.
    pub fn figures(&mut self) -> String {
        self.signal(Signal::USR1);
        self.wait_for_line(" turns, longest commit ")
    }

    /// Waits until the server reports `count` connected clients.
    pub fn wait_for_clients(&mut self, count: usize) {
        let start = format!("{} connected, ", plural(count as u64, "client"));
        wait_until(&start, || self.figures().starts_with(&start).then_some(()));
    }
}

/// What the kernel knows of it, and grants it.
impl Server {
    fn process(&self) -> Figures {
        Figures::of(self.pid())
    }

    /// The CPU time it has used.
    pub fn cpu_time(&self) -> Duration {
        self.process().cpu_time()
    }

    /// Its peak memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.process().peak_memory()
    }

    /// Its open descriptors.
    pub fn descriptors(&self) -> BTreeSet<u64> {
        self.process().descriptors()
    }

    /// The remote addresses of its IPv4 connections.
    pub fn remote_addresses(&self) -> Vec<SocketAddr> {
        self.process().remote_addresses()
    }

    /// Limits the size of its files, in bytes.
    pub fn limit_files(&self, current: Option<u64>) {
        let limit = Rlimit { current, maximum: None };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Whether SIGSTOP has taken effect.
    pub fn is_stopped(&self) -> bool {
        self.process().is_stopped()
    }
}

impl Ended {
    /// The number of lines on standard error that contain `text`.
    pub fn count_said(&self, text: &str) -> usize {
        self.said.iter().filter(|line| line.contains(text)).count()
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("logging.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("the log is there")
    }

    /// The folder, for another server.
    pub fn into_folder(self) -> TempDir {
        self.folder
    }
}

fn address_in(line: &str) -> SocketAddr {
    line["listening on ".len()..].parse().expect("an address")
}
