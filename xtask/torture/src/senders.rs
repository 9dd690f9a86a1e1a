//! A sender that follows a file, while server, sender, log and source are killed, stopped, rotated and
//! filled up. The reader has to find every line exactly once.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::report::FaultReport;
use crate::running::{Server, folder, persist, wait_until};

/// The number of faults in one run.
const FAULT_COUNT: usize = 12;

/// The number of lines written in one run.
const LINES: u64 = 60_000;

/// The sender's timeout for a connection. A stopped server is stopped for longer.
const TIMEOUT: Duration = Duration::from_millis(300);

/// A fault.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillServer,
    KillSender,
    KillBoth,
    StopServer,
    FillDisk,
    RotateLog,
    RotateSource,
}

const FAULTS: [Fault; 7] = [
    Fault::KillServer,
    Fault::KillSender,
    Fault::KillBoth,
    Fault::StopServer,
    Fault::FillDisk,
    Fault::RotateLog,
    Fault::RotateSource,
];

struct Fixture {
    folder: TempDir,
    server: Server,
    sender: Child,
    source: File,
    /// Everything written to the source so far.
    input: Vec<u8>,
    lines: u64,
    /// Rotated files of the log and of the source.
    rotated_files: Vec<PathBuf>,
    renamed: u32,
}

/// One run: faults at random moments, then the check.
pub(crate) fn under_faults(random: &mut Rng) -> Result<FaultReport, String> {
    let mut fixture = Fixture::set()?;
    for n in 0..FAULT_COUNT {
        fixture.write_lines(LINES / FAULT_COUNT as u64)?;
        thread::sleep(Duration::from_micros(random.u64(..50_000)));
        let fault = FAULTS[random.usize(..FAULTS.len())];
        fixture
            .inject(fault)
            .map_err(|error| format!("{fault:?}, the {n}th: {error}"))?;
    }
    fixture.account()
}

impl Fixture {
    fn set() -> Result<Self, String> {
        let folder = folder()?;
        let server = Server::start(folder.path(), "-append")?;
        let source = create(&folder.path().join("app.log"))?;
        let sender = send(folder.path(), &server, "-begin")?;
        Ok(Self {
            folder,
            server,
            sender,
            source,
            input: Vec::new(),
            lines: 0,
            rotated_files: Vec::new(),
            renamed: 0,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_lines(&mut self, count: u64) -> Result<(), String> {
        let from = self.input.len();
        for _ in 0..count {
            self.lines += 1;
            // Writing to a Vec cannot fail.
            _ = writeln!(self.input, "line {} \\ of many", self.lines);
        }
        let written = self.source.write_all(&self.input[from..]);
        written.map_err(|error| format!("cannot write the source: {error}"))
    }

    fn inject(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::KillServer => self.restart_server(),
            Fault::KillSender => self.restart_sender(),
            Fault::KillBoth => {
                _ = self.sender.kill();
                self.restart_server()?;
                self.restart_sender()
            }
            Fault::StopServer => {
                self.server.signal(Signal::STOP)?;
                thread::sleep(2 * TIMEOUT);
                self.server.signal(Signal::CONT)
            }
            Fault::FillDisk => self.fill_disk(),
            Fault::RotateLog => {
                let log = self.path("logging.log");
                let rotated_file = self.next_name("logging.log");
                rename(&log, &rotated_file)?;
                self.rotated_files.push(rotated_file);
                self.server.signal(Signal::HUP)?;
                wait_until("the log to be there again", || log.exists())
            }
            Fault::RotateSource => {
                let source = self.path("app.log");
                let rotated_file = self.next_name("app.log");
                rename(&source, &rotated_file)?;
                self.source = create(&source)?;
                Ok(())
            }
        }
    }

    fn next_name(&mut self, of: &str) -> PathBuf {
        self.renamed += 1;
        self.path(&format!("{of}.{:03}", self.renamed))
    }

    fn restart_server(&mut self) -> Result<(), String> {
        let port = self.server.address.port();
        self.server.kill()?;
        let script = format!("exec $SERVER -port {port} -quiet -append");
        // The port may still be in use at first.
        self.server = persist(|| Server::start_script(self.folder.path(), &script))?;
        Ok(())
    }

    fn restart_sender(&mut self) -> Result<(), String> {
        _ = self.sender.kill();
        let ended = self.sender.wait();
        ended.map_err(|error| format!("cannot wait for the sender: {error}"))?;
        self.sender = send(self.folder.path(), &self.server, "")?;
        Ok(())
    }

    /// Limits the size of the log for a while.
    fn fill_disk(&mut self) -> Result<(), String> {
        let limit = |limit: Option<u64>| {
            let limit = Rlimit {
                current: limit,
                maximum: None,
            };
            let set = prlimit(Some(self.server.pid()), Resource::Fsize, limit);
            set.map_err(|error| format!("cannot limit the log: {error}"))
        };
        let log = fs::metadata(self.path("logging.log"));
        limit(log.map(|log| log.len()).ok())?;
        thread::sleep(Duration::from_millis(200));
        limit(None)?;
        Ok(())
    }

    /// Waits until everything is sent, and compares the reader's output with the source.
    fn account(mut self) -> Result<FaultReport, String> {
        let mut logs = std::mem::take(&mut self.rotated_files);
        logs.push(self.path("logging.log"));
        let last = format!("@torture:{} ", self.lines);
        wait_until("the last line", || {
            // It may have arrived before the last rotation.
            logs.iter().any(|log| {
                let log = fs::read(log).unwrap_or_default();
                let end = &log[log.len().saturating_sub(1 << 20)..];
                String::from_utf8_lossy(end).contains(&last)
            })
        })?;
        let stopped = kill_process(Pid::from_child(&self.sender), Signal::TERM);
        stopped.map_err(|error| format!("the sender is gone: {error}"))?;
        let ended = self.sender.wait().map_err(|error| error.to_string())?;
        let read = client()?.args(["read", "-once"]).args(&logs).output();
        let read = read.map_err(|error| format!("cannot read: {error}"))?;
        let said = String::from_utf8_lossy(&read.stderr).into_owned();
        let shown = read.stdout.split(|byte| *byte == b'\n').count() as u64 - 1;
        let mut report = FaultReport {
            times: FAULT_COUNT as u32,
            sent: self.lines,
            acknowledged: self.lines,
            lost: self.lines.saturating_sub(shown),
            ..FaultReport::default()
        };
        report.expect(ended.success(), || format!("the sender ended with {ended}"));
        report.expect(read.status.success(), || format!("the reader says: {said}"));
        report.expect(read.stdout == self.input, || {
            format!(
                "{shown} lines are not the {} that were written: {said}",
                self.lines
            )
        });
        Ok(report)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // It may have exited: both fail then, without harm.
        _ = self.sender.kill();
        _ = self.sender.wait();
    }
}

fn client() -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(Command::new(own.with_file_name("client")))
}

fn send(folder: &Path, server: &Server, more: &str) -> Result<Child, String> {
    let timeout = format!("{}ms", TIMEOUT.as_millis());
    let mut command = client()?;
    command
        .current_dir(folder)
        .args(["send", "-nhost", &server.address.to_string()])
        .args(["-follow", "app.log", "-state", "pos", "-id", "torture"])
        .args(["-timeout", &timeout])
        .args(more.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = command.spawn();
    started.map_err(|error| format!("cannot start the sender: {error}"))
}

fn create(path: &Path) -> Result<File, String> {
    let file = File::options().create(true).append(true).open(path);
    file.map_err(|error| format!("cannot make {}: {error}", path.display()))
}

fn rename(from: &Path, to: &Path) -> Result<(), String> {
    fs::rename(from, to).map_err(|error| format!("cannot rename {}: {error}", from.display()))
}
