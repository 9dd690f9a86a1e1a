//! What tests of the real server share: start it in a folder of its own, talk to it, read its log.
//!
//! Nothing here sleeps or guesses a port. Whatever is waited for has a deadline, far longer than a
//! busy machine needs: reaching it is a failure, never a measurement.

// Each test binary uses a part of this.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::print_stderr)]

pub mod balancer;
pub mod numbered;
#[cfg(all(feature = "stream", feature = "tls"))]
pub mod operator;
#[cfg(feature = "tls")]
pub mod secure;
#[cfg(feature = "stream")]
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

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The server's executable.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_server"))
}

/// A shell script in which `$SERVER` is the server's executable. It has to `exec` it, so that the
/// process that was started is the server.
pub fn script(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command.env("SERVER", env!("CARGO_BIN_EXE_server"));
    command
}

/// Whether a shell script succeeds; if it does not, says which test is skipped for lack of `what`.
pub fn can(what: &str, test: &str) -> bool {
    let can = script(test).stdin(Stdio::null()).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("skipped {name}: {what} is not possible here");
    }
    can
}

/// How many clients are served where `limit` files may be open, by the server's sum: its standard
/// descriptors, a handle on one of them, a listening socket, 12 to be opened, 8 to refuse clients, and
/// what it inherits of this process.
pub fn clients_for(limit: usize) -> usize {
    const CLOSED_BY_EXEC: u32 = 0o2_000_000;
    let inherited = fs::read_dir("/proc/self/fdinfo").unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        let number: usize = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // The folder itself is closed by now.
        let info = fs::read_to_string(&path).unwrap_or("flags: 02000000".to_owned());
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap();
        number > 2 && u32::from_str_radix(flags.trim(), 8).unwrap() & CLOSED_BY_EXEC == 0
    });
    limit - 5 - 12 - 8 - inherited.count()
}

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    pub started: Instant,
    address: SocketAddr,
    folder: TempDir,
    stderr: Receiver<String>,
    said: Vec<String>,
}

/// How a server ended.
pub struct Ended {
    pub status: ExitStatus,
    /// The lines on standard error after those that said where it listens.
    pub said: Vec<String>,
    folder: TempDir,
}

impl Server {
    /// Starts a server on any free port, with a log in a new folder. It shows nothing on standard
    /// output unless a test takes care of that itself.
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    /// The same in a folder that is there already.
    pub fn start_in(folder: TempDir, options: &[&str]) -> Self {
        let mut command = binary();
        command.args(["-quiet", "-port", "0"]).args(options);
        Self::start_command(folder, command)
    }

    /// Starts a command that is, or becomes, a server, in `folder`.
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

    /// Where it listens, or the first of the addresses.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The default log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("logging.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("the log is there, and text")
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What the child was given as standard output, if it was piped.
    pub fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("piped")
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server runs");
    }

    /// The next line on standard error that begins with, or contains, `text`.
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

    /// A line on standard error that contains `text`, if one has come.
    pub fn try_line(&mut self, text: &str) -> Option<String> {
        while let Ok(line) = self.stderr.try_recv() {
            if line.contains(text) {
                return Some(line);
            }
            self.said.push(line);
        }
        None
    }

    /// Waits until the log satisfies `condition`.
    pub fn wait_for_log(&self, condition: impl Fn(&str) -> bool) -> String {
        wait_until("the log", || Some(self.log()).filter(|log| condition(log)))
    }

    /// What it says of itself on SIGUSR1.
    pub fn figures(&mut self) -> String {
        self.signal(Signal::USR1);
        self.wait_for_line(" turns, longest commit ")
    }

    /// Waits until so many clients are connected, by its own account.
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
        // The kernel shows ticks of 1/100 s, whatever it counts in.
        Duration::from_millis(10 * ticks)
    }

    /// The most memory it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        1024 * kib.expect("a size").parse::<u64>().unwrap()
    }

    /// The descriptors it has open.
    pub fn descriptors(&self) -> BTreeSet<u64> {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.to_str().unwrap().parse().unwrap())
            .collect()
    }

    /// The ports of all to whom it is connected over IPv4.
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

    /// SIGSTOP has taken effect.
    pub fn is_stopped(&self) -> bool {
        self.proc("status").contains("State:\tT")
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap()
    }

    /// Kills it at once and waits until it is dead.
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it has ended.
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
        // It may have ended: then there is nothing to do.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Ended {
    /// How many of the lines on standard error contain `text`.
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

    /// One that has little room for replies, so that it is soon in the way of its own.
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

    /// As records show it.
    pub fn name(&self) -> String {
        self.stream().local_addr().unwrap().to_string()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream()
            .write_all(bytes.as_ref())
            .expect("the server takes it");
    }

    /// Ends the input.
    pub fn end(&mut self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// The next reply without its line end; empty if the server has closed.
    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a reply in time");
        line.strip_suffix('\n').unwrap_or(&line).to_owned()
    }

    /// The reply to a line, if the connection holds so long.
    pub fn try_ask(&mut self, line: &str) -> Option<String> {
        self.stream()
            .write_all(format!("{line}\n").as_bytes())
            .ok()?;
        let mut reply = String::new();
        self.reader.read_line(&mut reply).ok()?;
        reply.strip_suffix('\n').map(str::to_owned)
    }

    /// Everything until the server closes.
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

/// Polls for something that no event tells, until the deadline.
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

/// The lines of a stream as they come. The channel closes with the stream.
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

/// A record without its time, which is checked for its shape: `LEVEL peer verb text`.
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

/// The texts of the messages recorded from `peer`, in order.
pub fn received_from<'a>(log: &'a str, peer: &str) -> Vec<&'a str> {
    let mark = format!(" --{peer} recieved: ");
    log.lines()
        .filter_map(|line| line.split_once(&mark).map(|(_, text)| text))
        .collect()
}
