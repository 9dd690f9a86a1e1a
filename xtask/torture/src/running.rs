//! A running server, and its exit.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The timeout for a server to print or do something.
const DEADLINE: Duration = Duration::from_secs(30);

/// The timeout for everything else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server process. Dropping it kills the process.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    stderr: Receiver<String>,
    /// The lines on its standard error so far.
    pub(crate) said: Vec<String>,
}

/// Repeats `attempt` until it succeeds. After the timeout, returns its last error.
pub(crate) fn persist<T>(mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            result => return result,
        }
    }
}

/// Polls a condition for which there is no event.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let too_long = || format!("waited too long for {what}");
    persist(|| is_so().then_some(()).ok_or_else(too_long))
}

/// A temporary folder for a log.
pub(crate) fn folder() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))
}

/// A folder in memory, if there is `/dev/shm`. A disk slower than the flooders would delay every write and
/// hide all other effects.
pub(crate) fn folder_in_memory() -> Result<TempDir, String> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| folder())
}

/// For [`can`]: whether an unprivileged mount namespace can mount a tmpfs.
pub(crate) const MOUNT: &str = "unshare -rm mount -t tmpfs -o size=64k tmpfs /mnt";

/// Whether a shell script succeeds.
pub(crate) fn can(text: &str) -> bool {
    let output = script(text).and_then(|mut command| command.output().map_err(|e| e.to_string()));
    output.is_ok_and(|output| output.status.success())
}

/// A shell script in which `$SERVER` is the server's executable; the script has to `exec` it.
pub(crate) fn script(script: &str) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command.env("SERVER", own.with_file_name("server"));
    Ok(command)
}

impl Server {
    pub(crate) fn start(folder: &Path, options: &str) -> Result<Self, String> {
        Self::start_script(folder, &format!("exec $SERVER -port 0 -quiet {options}"))
    }

    pub(crate) fn start_script(folder: &Path, text: &str) -> Result<Self, String> {
        let mut command = script(text)?;
        command.current_dir(folder).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start the server: {error}"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                let lines = BufReader::new(stderr).lines().map_while(Result::ok);
                lines.for_each(|line| _ = sender.send(line));
            });
        }
        let address = ([127, 0, 0, 1], 0).into();
        let mut server = Self {
            child,
            address,
            stderr: lines,
            said: Vec::new(),
        };
        let line = server.wait_for_line("listening on ")?;
        let address = line["listening on ".len()..].parse();
        server.address = address.map_err(|error| format!("{line}: {error}"))?;
        Ok(server)
    }

    pub(crate) fn wait_for_line(&mut self, text: &str) -> Result<String, String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.stderr.recv_timeout(left) else {
                return Err(format!("the server does not say '{text}': {:?}", self.said));
            };
            self.said.push(line.clone());
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(self.pid(), signal).map_err(|error| format!("the server is gone: {error}"))
    }

    /// The statistics that it prints on SIGUSR1.
    pub(crate) fn figures(&mut self) -> Result<String, String> {
        self.signal(Signal::USR1)?;
        self.wait_for_line(" turns, longest commit ")
    }

    /// Waits until the server reports `count` connected clients.
    pub(crate) fn wait_for_clients(&mut self, count: usize) -> Result<(), String> {
        let start = format!(
            "{} connected, ",
            common::units::plural(count as u64, "client")
        );
        let deadline = Instant::now() + DEADLINE;
        while !self.figures()?.starts_with(&start) {
            if Instant::now() > deadline {
                return Err(format!("never {start}: {:?}", self.said.last()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The CPU time it has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = self.proc().and_then(|process| process.stat().ok());
        // The kernel reports ticks of 1/100 s, whatever its own timer frequency.
        stat.map_or(Duration::ZERO, |stat| {
            Duration::from_millis(10 * (stat.utime + stat.stime))
        })
    }

    /// Its peak memory in KiB; `u64::MAX` if unknown.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = self.proc().and_then(|process| process.status().ok());
        status.and_then(|status| status.vmhwm).unwrap_or(u64::MAX)
    }

    fn proc(&self) -> Option<Process> {
        Process::new(self.pid().as_raw_nonzero().get()).ok()
    }

    /// The index of the address to which it has a connection.
    pub(crate) fn connected_to(&self, places: &[SocketAddr]) -> Option<usize> {
        let process = self.proc()?;
        let files = process.fd().ok()?.flatten();
        let sockets: Vec<_> = files
            .filter_map(|file| match file.target {
                FDTarget::Socket(inode) => Some(inode),
                _ => None,
            })
            .collect();
        let connections = process.tcp().ok()?.into_iter();
        let mut own = connections
            .filter(|it| it.state == TcpState::Established && sockets.contains(&it.inode));
        own.find_map(|it| places.iter().position(|place| *place == it.remote_address))
    }

    /// Kills it, and waits for its exit.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.signal(Signal::KILL)?;
        self.wait().map(|_| ())
    }

    /// Sends SIGTERM; returns the exit status and the time it took.
    pub(crate) fn stop(&mut self) -> Result<(ExitStatus, Duration), String> {
        let asked = Instant::now();
        self.signal(Signal::TERM)?;
        Ok((self.wait()?, asked.elapsed()))
    }

    fn wait(&mut self) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.ended()? {
                Some(status) => return Ok(status),
                None if Instant::now() > deadline => return Err("it does not end".to_owned()),
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Its exit status, if it has exited; `said` is then complete.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        let status = self.child.try_wait().map_err(|error| error.to_string())?;
        if status.is_some() {
            self.said.extend(self.stderr.iter());
        }
        Ok(status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited: both fail then, without harm.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub(crate) fn log(folder: &Path) -> PathBuf {
    folder.join("logging.log")
}

pub(crate) fn open(path: &Path) -> Result<BufReader<File>, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BufReader::new(file))
}

pub(crate) fn read(file: &mut File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file.read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}
