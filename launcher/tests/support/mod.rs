//! Support for tests: runs the real launcher with real or fake programs in its folder.
// Each test binary uses only a part of this module.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::programs;
use test_support::wait::{DEADLINE, wait_until};

/// A folder with a launcher, and the programs that a test puts there.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// A folder with the launcher only.
    pub fn bare() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let place = Self { folder };
        place.link("launcher");
        place
    }

    /// A folder with the real server and the real client.
    pub fn real() -> Self {
        Self::bare().with("server").with("client")
    }

    /// Puts the real program `name` into the folder.
    pub fn with(self, name: &str) -> Self {
        self.link(name);
        self
    }

    /// Puts a shell script in place of the program `name`.
    pub fn with_script(self, name: &str, script: &str) -> Self {
        let path = self.path(name);
        let _alone = no_fork();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn link(&self, name: &str) {
        self.link_as(name, name);
    }

    /// Puts the real program `built` here under another name.
    pub fn link_as(&self, built: &str, name: &str) {
        programs::build(&["server", "client"]);
        fs::hard_link(programs::path(built), self.path(name)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the launcher on a free port, in this folder.
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_on(Stdio::piped(), args)
    }

    /// Like [`Place::start`], with this stdout.
    pub fn start_on(&self, stdout: impl Into<Stdio>, args: &[&str]) -> Running {
        self.start_as(Command::new(self.path("launcher")), stdout, args)
    }

    /// Like [`Place::start`], by a parent that has blocked these signals.
    pub fn start_with_blocked(&self, signals: &str, args: &[&str]) -> Running {
        let mut command = Command::new("env");
        command.arg(format!("--block-signal={signals}"));
        command.arg(self.path("launcher"));
        self.start_as(command, Stdio::piped(), args)
    }

    fn start_as(&self, mut command: Command, stdout: impl Into<Stdio>, args: &[&str]) -> Running {
        command.args(["-port", "0"]).args(args);
        command.current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(stdout);
        command.stderr(Stdio::piped());
        let mut child = {
            let _alone = no_fork();
            command.spawn().unwrap()
        };
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, Line::Out, sender.clone());
        }
        read_lines(child.stderr.take().unwrap(), Line::Err, sender);
        Running { child, lines, seen: Vec::new() }
    }

    /// Runs the launcher to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }
}

/// A program file that is open for writing cannot be executed (ETXTBSY), and a fork in the meantime
/// keeps it open longer.
fn no_fork() -> MutexGuard<'static, ()> {
    static FORK: Mutex<()> = Mutex::new(());
    FORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line on stdout or stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Out(String),
    Err(String),
}

/// A running launcher. It is killed when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<Line>,
    seen: Vec<Line>,
}

/// A launcher that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for a line that contains `text`, on stdout or stderr.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with '{text}', only {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            let (Line::Out(line) | Line::Err(line)) = line;
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The process IDs of its children with this name.
    pub fn children(&self, name: &str) -> Vec<Pid> {
        let all = children_of(self.pid()).into_iter();
        all.filter(|(_, command)| command.contains(&format!("/{name}\0")))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Waits until it has ended. No child may be left then.
    pub fn wait(self) -> Ended {
        let pid = self.pid();
        let ended = self.wait_alone();
        assert_eq!(children_of(pid), [], "left behind");
        ended
    }

    /// Waits until it has ended. Children may be left.
    pub fn wait_alone(mut self) -> Ended {
        let status = wait_until("the launcher's end", || self.child.try_wait().unwrap());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for line in self.seen.drain(..).chain(self.lines.iter()) {
            match line {
                Line::Out(line) => stdout.push(line),
                Line::Err(line) => stderr.push(line),
            }
        }
        Ended { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Ended {
    /// The launcher's own last line, and its exit code.
    pub fn last_words(&self) -> (&str, Option<i32>) {
        let last = self.stderr.last().map_or("", String::as_str);
        (last, self.status.code())
    }
}

/// All running processes that `launcher` started, with their command lines.
pub fn children_of(launcher: Pid) -> Vec<(Pid, String)> {
    let mark = format!("{}={}", common::process::LAUNCHER_PID, launcher.as_raw_nonzero());
    let processes = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let child = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let text = |name| fs::read(entry.path().join(name)).ok();
        let environment = text("environ")?;
        let marked = environment.split(|&b| b == 0).any(|v| v == mark.as_bytes());
        let command = String::from_utf8_lossy(&text("cmdline")?).into_owned();
        marked.then_some((Pid::from_raw(pid)?, command))
    };
    processes.filter_map(child).collect()
}

fn read_lines(
    stream: impl Read + Send + 'static,
    line: fn(String) -> Line,
    sender: mpsc::Sender<Line>,
) {
    thread::spawn(move || {
        for text in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line(text)).is_err() {
                return;
            }
        }
    });
}
