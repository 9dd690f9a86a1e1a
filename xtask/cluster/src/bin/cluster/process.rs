//! A child process whose output is shown, and which never outlives this process.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{DEADLINE, process};
use rustix::process::{Pid, Signal, kill_process};

use crate::say;

/// The interval of polling, where there is no event to wait for.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// A process that is no node. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    /// Its output, line by line, after it was shown.
    words: Receiver<String>,
}

impl Process {
    /// Starts a command, and shows its output with its name before each line.
    pub(crate) fn start(name: &str, command: Command) -> Result<Self, String> {
        let started = Self::spawn(name, command);
        started.map_err(|error| format!("cannot start {name}: {error}"))
    }

    fn spawn(name: &str, mut command: Command) -> io::Result<Self> {
        let (words, end) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(end.try_clone()?)
            .stderr(end);
        let child = process::spawn(command)?;
        let (sender, shown) = mpsc::channel();
        let prefix = name.to_owned();
        thread::spawn(move || {
            for line in BufReader::new(words).lines().map_while(Result::ok) {
                say(&format!("{prefix:<8} | {line}"));
                // The receiver may have been dropped.
                _ = sender.send(line);
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            words: shown,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it prints a line that starts with `beginning`.
    pub(crate) fn wait_for(&self, beginning: &str) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.words.recv_timeout(left) {
                Ok(line) if line.starts_with(beginning) => return Ok(()),
                Ok(_) => {}
                Err(_) => return Err(format!("{} does not say '{beginning}'", self.name)),
            }
        }
    }

    /// Its exit status, if it has exited.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        let ended = self.child.try_wait();
        ended.map_err(|error| format!("{}: {error}", self.name))
    }

    /// Sends `signal`, and waits until it has exited and all output was shown; returns its exit status.
    pub(crate) fn end(mut self, signal: Signal) -> Result<ExitStatus, String> {
        // It may have exited: the signal fails then, without harm.
        _ = kill_process(Pid::from_child(&self.child), signal);
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                while self.words.recv_timeout(DEADLINE).is_ok() {}
                return Ok(status);
            }
            thread::sleep(LOOK);
        }
        Err(format!("{} does not end", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited: both fail then, without harm.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
