//! Helpers of the tests with a real server: start it in its own folder, talk to it, read its log.
//!
//! Nothing here sleeps or guesses a port. Every wait has a deadline that is far longer than a busy
//! machine needs: reaching it is a failure, never a measurement.

// Each test binary uses a part of this.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::print_stderr)]

pub mod balancer;
pub mod numbered;
#[cfg(feature = "tls")]
pub mod operator;
#[cfg(feature = "tls")]
pub mod secure;
pub mod stream;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// The timeout for everything: a test that reaches it fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The server's executable.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_server"))
}

/// A shell script in which `$SERVER` is the server's executable. The script has to `exec` it, so that the
/// started process becomes the server.
pub fn script(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command.env("SERVER", env!("CARGO_BIN_EXE_server"));
    command
}

/// Whether a shell script succeeds. If it fails, prints that the current test is skipped for lack of `what`.
pub fn can(what: &str, test: &str) -> bool {
    let can = script(test).stdin(Stdio::null()).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("skipped {name}: {what} is not possible here");
    }
    can
}

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
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap();
        number > 2 && u32::from_str_radix(flags.trim(), 8).unwrap() & CLOSED_BY_EXEC == 0
    });
    limit - 5 - 12 - 8 - inherited.count()
}

/// A running server. Dropping it kills the process.
pub struct Server {
    child: Child,
    pub started: Instant,
    address: SocketAddr,
    folder: TempDir,
    stderr: Receiver<String>,
    said: Vec<String>,
}

/// A server that has exited.
pub struct Ended {
    pub status: ExitStatus,
    /// The lines on its standard error after the `listening on` lines.
    pub said: Vec<String>,
    folder: TempDir,
}

impl Server {
    /// Starts a server on any free port, with its log in a new folder and `-quiet`.
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    /// The same in an existing folder.
    pub fn start_in(folder: TempDir, options: &[&str]) -> Self {
        let mut command = binary();
        command.args(["-quiet", "-port", "0"]).args(options);
        Self::start_command(folder, command)
    }

    /// Runs a command in `folder`, which is or becomes a server.
    pub fn start_command(folder: TempDir, mut command: Command) -> Self {
        command.current_dir(folder.path()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let stderr = lines(child.stderr.take().expect("piped"));
        let mut server = Self {
            child,
            started: Instant::now(),
            address: ([0, 0, 0, 0], 0).into(),
            folder,
            stderr,
            said: Vec::new(),
        };
        let line = server.wait_for_line("listening on ");
        server.address = line["listening on ".len()..].parse().expect("an address");
        server
    }

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

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The pipe from its standard output.
    pub fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("piped")
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server runs");
    }

    /// Waits for the next line on standard error that contains `text`.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.stderr.recv_timeout(left) else {
                let status = self.child.try_wait();
                panic!("no '{text}' on stderr ({status:?}), only {:#?}", self.said);
            };
            if line.contains(text) {
                return line;
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

    /// Waits until the log satisfies `condition`; returns the log.
    pub fn wait_for_log(&self, condition: impl Fn(&str) -> bool) -> String {
        wait_until("the log", || Some(self.log()).filter(|log| condition(log)))
    }

    /// The statistics that it prints on SIGUSR1.
    pub fn figures(&mut self) -> String {
        self.signal(Signal::USR1);
        self.wait_for_line(" turns, longest commit ")
    }

    /// Waits until the server reports `count` connected clients.
    pub fn wait_for_clients(&mut self, count: usize) {
        let start = format!(
            "{} connected, ",
            common::units::plural(count as u64, "client")
        );
        wait_until(&start, || self.figures().starts_with(&start).then_some(()));
    }

    /// The CPU time it has used.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, after_name) = stat.rsplit_once(')').expect("a name in brackets");
        let fields: Vec<_> = after_name.split_whitespace().collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|n| n.parse::<u64>().unwrap())
            .sum();
        // The kernel reports ticks of 1/100 s, whatever its own timer frequency.
        Duration::from_millis(10 * ticks)
    }

    /// Its peak memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        1024 * kib.expect("a size").parse::<u64>().unwrap()
    }

    /// Its open descriptors.
    pub fn descriptors(&self) -> BTreeSet<u64> {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.to_str().unwrap().parse().unwrap())
            .collect()
    }

    /// The remote ports of its IPv4 connections.
    pub fn remote_ports(&self) -> Vec<u16> {
        let links = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let links = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let own: Vec<_> = links.map(|link| link.display().to_string()).collect();
        let table = self.proc("net/tcp");
        let fields = table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let own = fields.filter(|fields| own.contains(&format!("socket:[{}]", fields[9])));
        let port =
            |fields: Vec<&str>| u16::from_str_radix(fields[2].split_once(':').unwrap().1, 16);
        own.map(|fields| port(fields).unwrap()).collect()
    }

    /// Whether SIGSTOP has taken effect.
    pub fn is_stopped(&self) -> bool {
        self.proc("status").contains("State:\tT")
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap()
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
        let status = wait_until("the server's end", || self.child.try_wait().unwrap());
        let mut said = std::mem::take(&mut self.said);
        said.extend(self.stderr.iter());
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Ended {
            status,
            said,
            folder,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited: both fail then, without harm.
        _ = self.child.kill();
        _ = self.child.wait();
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
        fs::read_to_string(self.folder.path().join("logging.log")).expect("the log is there")
    }

    /// The folder, for another server.
    pub fn into_folder(self) -> TempDir {
        self.folder
    }
}

/// A client with deadlines.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream);
        Self { reader }
    }

    /// A client with a small receive buffer: unread replies soon block the server's writes.
    pub fn connect_deaf(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.connect(&address.into()).expect("the server accepts");
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let reader = BufReader::new(socket.into());
        Self { reader }
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Its address, as records show it.
    pub fn name(&self) -> String {
        self.stream().local_addr().unwrap().to_string()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream()
            .write_all(bytes.as_ref())
            .expect("the server takes it");
    }

    /// Half-closes the connection.
    pub fn end(&mut self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// The next reply without its line end; empty if the server has closed the connection.
    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a reply in time");
        line.strip_suffix('\n').unwrap_or(&line).to_owned()
    }

    /// Sends a line and waits for its reply; none if the connection breaks before it.
    pub fn try_ask(&mut self, line: &str) -> Option<String> {
        self.stream()
            .write_all(format!("{line}\n").as_bytes())
            .ok()?;
        let mut reply = String::new();
        self.reader.read_line(&mut reply).ok()?;
        reply.strip_suffix('\n').map(str::to_owned)
    }

    /// Everything until the server closes the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader
            .read_to_string(&mut rest)
            .expect("a close in time");
        rest
    }

    /// Sends a line and waits for its reply.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.reply()
    }
}

/// Polls a condition for which there is no event, until the deadline.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(result) = condition() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::yield_now();
    }
}

/// The lines of a stream as they arrive. The channel closes with the stream.
pub fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(io::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A record without its time, whose format is checked: `LEVEL peer verb text`.
pub fn without_time(record: &str) -> String {
    let (level, rest) = record.split_once("\t| ").expect("a tab after the level");
    let (time, rest) = rest.split_at_checked(19).expect("a time");
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '9' } else { c })
        .collect();
    assert_eq!(shape, "9999-99-99 99:99:99", "{record}");
    let rest = rest.strip_prefix(" --").expect("two dashes");
    format!("{level} {rest}")
}

/// The messages recorded from `peer`, in order.
pub fn received_from<'a>(log: &'a str, peer: &str) -> Vec<&'a str> {
    let mark = format!(" --{peer} recieved: ");
    log.lines()
        .filter_map(|line| line.split_once(&mark).map(|(_, text)| text))
        .collect()
}
