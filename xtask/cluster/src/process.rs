//! A child process whose output is shown, and which never outlives this process.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use test_support::children;
use test_support::wait::{DEADLINE, poll};

use crate::output::say;

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
        command.stdin(Stdio::null()).stdout(end.try_clone()?).stderr(end);
        let child = children::spawn(command)?;
        let (sender, shown) = mpsc::channel();
        let prefix = name.to_owned();
        thread::spawn(move || {
            for line in BufReader::new(words).lines().map_while(Result::ok) {
                say(&format!("{prefix:<8} | {line}"));
                // The receiver may have been dropped.
                _ = sender.send(line);
            }
        });
        Ok(Self { name: name.to_owned(), child, words: shown })
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
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok()?
    }

    /// Sends `signal`, and waits until it has exited and all output was shown; returns its exit status.
    pub(crate) fn end(mut self, signal: Signal) -> Result<ExitStatus, String> {
        // It may have exited: the signal fails then, without harm.
        _ = kill_process(Pid::from_child(&self.child), signal);
        let status = poll(DEADLINE, || self.exit_status());
        let status = status.ok_or_else(|| format!("{} does not end", self.name))?;
        while self.words.recv_timeout(DEADLINE).is_ok() {}
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited: both fail then, without harm.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
