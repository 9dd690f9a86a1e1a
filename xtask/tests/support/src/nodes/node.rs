//! A node: one process of `nats-server`.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::api::ANSWER;
use super::store::Store;
use crate::children;
use crate::ports::Reserved;
use crate::process::Figures;
use crate::wait::{DEADLINE, poll};

/// The addresses of a node, on loopback.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) clients: Reserved,
    pub(super) monitoring: Reserved,
    pub(super) routes: Reserved,
}

/// A `nats-server`, running or not, always at the same addresses. Dropping it kills the process.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: PathBuf,
    ports: Ports,
    program: PathBuf,
    store: Store,
    process: Option<Child>,
    is_paused: bool,
}

impl Ports {
    pub(super) fn reserve() -> io::Result<Self> {
        Ok(Self {
            clients: Reserved::new()?,
            monitoring: Reserved::new()?,
            routes: Reserved::new()?,
        })
    }
}

impl Node {
    /// A node that is not running yet. Its folder already has the configuration file.
    pub(super) fn new(
        name: String,
        folder: PathBuf,
        ports: Ports,
        program: PathBuf,
        store: Store,
    ) -> Self {
        Self { name, folder, ports, program, store, process: None, is_paused: false }
    }

    /// Its name in the cluster: `n1`, `n2` and so on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address for clients, on loopback.
    pub fn address(&self) -> SocketAddr {
        self.ports.clients.address
    }

    /// The same as a URL for NATS clients: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// The address of its HTTP monitoring: `/healthz`, `/varz`, `/jsz` and so on.
    pub fn monitoring(&self) -> SocketAddr {
        self.ports.monitoring.address
    }

    /// The folder of its files: `nats.conf`, `log`, and `store` unless its [`Store`] is elsewhere.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its log since the first start.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The folder of its streams as this process sees it. With [`Store::Memory`] it exists only while the
    /// node runs.
    pub fn store(&self) -> PathBuf {
        let folder = self.folder.join("store");
        match (&self.store, &self.process) {
            (Store::At(folder), _) => folder.clone(),
            (Store::Memory(_), Some(process)) => {
                let inside = format!("/proc/{}/root{}", process.id(), folder.display());
                PathBuf::from(inside)
            }
            _ => folder,
        }
    }

    /// The ID of its process, if it was started and neither killed nor terminated since.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Whether it was started, and is neither paused nor ended.
    pub fn is_up(&self) -> bool {
        self.process.is_some() && !self.is_paused
    }

    /// Starts it and returns at once. It keeps the streams that it stored before.
    ///
    /// # Errors
    /// It already runs, or its process cannot be started.
    pub fn start(&mut self) -> Result<(), String> {
        if self.process.is_some() {
            return Err(format!("{} was started already", self.name));
        }
        let process = self.command().and_then(children::spawn);
        let process = process.map_err(|error| format!("cannot start {}: {error}", self.name))?;
        self.process = Some(process);
        self.is_paused = false;
        Ok(())
    }

    fn command(&self) -> io::Result<Command> {
        let log = self.folder.join("log");
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = match self.store {
            Store::Memory(bytes) => {
                let options = format!("size={bytes}");
                let mount = "mount -t tmpfs -o \"$1\" tmpfs store && shift || exit";
                let script = format!("{mount}\n{}", children::BECOME);
                let mut command = Command::new("unshare");
                command.args(["-rm", "sh", "-c", &script, "sh", &options]);
                command.arg(&self.program);
                command
            }
            Store::Folder | Store::At(_) => children::tied(&self.program),
        };
        command
            .args(["-c", "nats.conf"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Waits until it reports that it is healthy: it accepts clients, and its streams have caught up with
    /// the other replicas.
    ///
    /// # Errors
    /// It does not run, has exited, or is not healthy after the [`DEADLINE`].
    pub fn wait_until_healthy(&mut self) -> Result<(), String> {
        if self.process.is_none() {
            return Err(format!("{} does not run", self.name));
        }
        let (mut answer, mut ended) = (Ok(String::new()), None);
        let is_healthy = poll(DEADLINE, || {
            answer = self.ask_for_health();
            let is_healthy = matches!(&answer, Ok(text) if text.contains(" 200 OK\r\n"));
            ended = self.exit_status();
            (is_healthy || ended.is_some()).then_some(is_healthy)
        });
        if is_healthy == Some(true) {
            return Ok(());
        }
        let (name, log) = (&self.name, self.log());
        Err(format!("{name} is not healthy: {ended:?}, {answer:?}\n{log}"))
    }

    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.try_wait().ok()?
    }

    fn ask_for_health(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.monitoring(), ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Kills it (SIGKILL), paused or not, and waits for its exit. Has no effect on a node that does not
    /// run.
    pub fn kill(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let killed = process.kill().and_then(|()| process.wait());
        killed.map_err(|error| format!("cannot kill {}: {error}", self.name))?;
        Ok(())
    }

    /// Sends SIGTERM and waits for its exit. A paused node does not exit.
    ///
    /// # Errors
    /// It does not run, or has not exited after the [`DEADLINE`].
    pub fn terminate(&mut self) -> Result<ExitStatus, String> {
        self.signal(Signal::TERM)?;
        let Some(status) = poll(DEADLINE, || self.exit_status()) else {
            return Err(format!("{} does not end\n{}", self.name, self.log()));
        };
        self.process = None;
        Ok(status)
    }

    /// Pauses it (SIGSTOP): its connections stay open, and it does not answer. Waits until no thread of it
    /// runs, since that thread could still answer.
    pub fn pause(&mut self) -> Result<(), String> {
        self.signal(Signal::STOP)?;
        self.is_paused = true;
        let figures = self.process.as_ref().map(|process| Figures::of(Pid::from_child(process)));
        let is_stopped = || figures.as_ref().is_some_and(Figures::is_stopped);
        poll(DEADLINE, is_stopped).ok_or_else(|| format!("{} does not stop", self.name))
    }

    /// Resumes it (SIGCONT).
    pub fn resume(&mut self) -> Result<(), String> {
        self.signal(Signal::CONT)?;
        self.is_paused = false;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        let process = self.process.as_ref();
        let process = process.ok_or_else(|| format!("{} does not run", self.name))?;
        kill_process(Pid::from_child(process), signal)
            .map_err(|error| format!("{} is gone: {error}", self.name))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A process that cannot be killed has already gone.
        _ = self.kill();
    }
}
