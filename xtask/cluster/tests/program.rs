//! `cargo xtask cluster`: the job succeeds, and no process is left behind, however it ends.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::process::is_alive;
use test_support::programs;
use test_support::stream_log::setup;
use test_support::wait::wait_until;

/// The path of the program, after a build of the programs that it starts.
static PROGRAM: LazyLock<&Path> = LazyLock::new(|| {
    programs::build(&["server", "client"]);
    Path::new(env!("CARGO_BIN_EXE_cluster"))
});

/// Whether everything it needs is available; prints why not.
fn is_possible() -> bool {
    let has_haproxy = Command::new("haproxy").arg("-v").output().is_ok();
    if !has_haproxy {
        eprintln!("skipped: haproxy is not installed");
    }
    has_haproxy && setup(1).is_some()
}

/// A program with `-keep`; killed when dropped.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The IDs of all processes that it has started.
    pids: Vec<u32>,
    folder: TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(*PROGRAM)
            .args(["-keep", "-dir"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut running =
            Self { child, lines: BufReader::new(stdout).lines(), pids: Vec::new(), folder };
        while !running.next_line().starts_with("all of it is up until Ctrl-C") {}
        assert_eq!(running.pids.len(), 6, "nodes, servers and haproxy");
        running
    }

    fn next_line(&mut self) -> String {
        let line = self.lines.next().expect("it is not silent yet").unwrap();
        let pid = line.split_once(", process ").and_then(|(_, rest)| {
            let (pid, _) = rest.split_once(';')?;
            pid.parse::<u32>().ok()
        });
        self.pids.extend(pid);
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn assert_all_gone(&self) {
        for &pid in &self.pids {
            wait_until("its end", || !is_alive(pid));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn run(command: &mut Command) -> (String, Output) {
    let output = command.output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output)
}

#[test]
fn the_main_job_is_done_and_its_files_can_be_read() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (said, output) = run(Command::new(*PROGRAM).arg("-dir").arg(folder.path()));
    assert!(output.status.success(), "{output:?}");
    let result = "\n250 lines acknowledged, and each is in the stream LOG once and in order (";
    assert!(said.contains(result), "{said}");
    for name in
        ["n1/nats.conf", "n3/nats.conf", "haproxy.cfg", "start-n2", "start-a", "start-haproxy"]
    {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
    // A second run does not overwrite the files.
    let (_, output) = run(Command::new(*PROGRAM).arg("-dir").arg(folder.path()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn it_stays_up_until_it_is_told_whatever_was_killed() {
    if !is_possible() {
        return;
    }
    let mut running = Running::start();
    let victim = running.pids[4];
    kill_process(Pid::from_raw(victim.cast_signed()).unwrap(), Signal::KILL).unwrap();
    while !running.next_line().contains("Server servers/b is DOWN") {}
    // The script starts it again at the same address.
    let mut again = Command::new("sh")
        .arg(running.folder.path().join("start-b"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !running.next_line().contains("Server servers/b is UP") {}
    again.kill().unwrap();
    again.wait().unwrap();
    running.signal(Signal::INT);
    let status = running.child.wait().unwrap();
    assert!(status.success(), "{status}");
    running.assert_all_gone();
}

#[test]
fn nothing_outlives_it() {
    if !is_possible() {
        return;
    }
    let running = Running::start();
    running.signal(Signal::KILL);
    running.assert_all_gone();
}

#[test]
fn what_cannot_be_had_is_said_and_nothing_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let mut alone = Command::new(*PROGRAM);
    let (said, output) = run(alone.env("PATH", folder.path()));
    assert!(output.status.success(), "{output:?}");
    assert!(said.starts_with("skipped: "), "{said}");
    assert!(said.contains(" (Debian: apt install "), "{said}");
}
