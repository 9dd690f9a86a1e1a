//! A node: one process of `nats-server`.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::ports::Ports;
use crate::setup::Store;
use crate::{ANSWER, DEADLINE, process};

/// The interval of polling, where there is no event to wait for.
const LOOK: Duration = Duration::from_millis(5);

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

impl Node {
    /// A node that is not running yet. Its folder already has the configuration file.
    pub(crate) fn new(
        name: String,
        folder: PathBuf,
        ports: Ports,
        program: PathBuf,
        store: Store,
    ) -> Self {
        Self {
            name,
            folder,
            ports,
            program,
            store,
            process: None,
            is_paused: false,
        }
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
        let process = self.command().and_then(process::spawn);
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
                let script = format!("{mount}\n{}", process::BECOME);
                let mut command = Command::new("unshare");
                command.args(["-rm", "sh", "-c", &script, "sh", &options]);
                command.arg(&self.program);
                command
            }
            Store::Folder | Store::At(_) => process::tied(&self.program),
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
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.ask_for_health();
            if answer
                .as_ref()
                .is_ok_and(|answer| answer.contains(" 200 OK\r\n"))
            {
                return Ok(());
            }
            let ended = match &mut self.process {
                Some(process) => process.try_wait().map_err(|error| error.to_string())?,
                None => return Err(format!("{} does not run", self.name)),
            };
            if ended.is_some() || Instant::now() > deadline {
                let (name, log) = (&self.name, self.log());
                return Err(format!(
                    "{name} is not healthy: {ended:?}, {answer:?}\n{log}"
                ));
            }
            thread::sleep(LOOK);
        }
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
        let deadline = Instant::now() + DEADLINE;
        while let Some(process) = &mut self.process {
            if let Some(status) = process.try_wait().map_err(|error| error.to_string())? {
                self.process = None;
                return Ok(status);
            }
            if Instant::now() > deadline {
                break;
            }
            thread::sleep(LOOK);
        }
        Err(format!("{} does not end\n{}", self.name, self.log()))
    }

    /// Pauses it (SIGSTOP): its connections stay open, and it does not answer.
    pub fn pause(&mut self) -> Result<(), String> {
        self.signal(Signal::STOP)?;
        self.is_paused = true;
        Ok(())
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
