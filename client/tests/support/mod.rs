//! Support for tests: the real server, and the real client with deadlines.
// Each test binary uses only a part of this module.
#![allow(dead_code, clippy::unwrap_used)]

pub mod nodes;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any test takes on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(100);

/// The server, built with the profile of the client.
static SERVER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_BIN_EXE_client")).parent().unwrap();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--bins", "-p", "server"])
        .args(["--profile", profile, "--target-dir"])
        .arg(folder.parent().unwrap())
        .status();
    assert!(build.unwrap().success(), "the server can be built");
    folder.join("server")
});

pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    pub log: PathBuf,
    options: Vec<String>,
}

impl Server {
    pub fn start(log: &Path, port: u16, options: &[&str]) -> Self {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut child = Command::new(&*SERVER)
                .args(["-quiet", "-append", "-port", &port.to_string(), "-log"])
                .arg(log)
                .args(options)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = BufReader::new(child.stderr.take().unwrap());
            let mut line = String::new();
            while said.read_line(&mut line).unwrap() > 0 {
                if let Some(address) = line.strip_prefix("listening on ") {
                    let address = address.trim().parse().unwrap();
                    thread::spawn(move || said.read_to_end(&mut Vec::new()));
                    let log = log.to_owned();
                    return Self {
                        child,
                        address,
                        log,
                        options: options.iter().map(ToString::to_string).collect(),
                    };
                }
                line.clear();
            }
            // The port of a server that was just killed may not be free yet.
            child.wait().unwrap();
            assert!(Instant::now() < deadline, "the server does not start");
        }
    }

    /// Kills the server and starts it again, with the same port and log.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let options: Vec<_> = self.options.iter().map(String::as_str).collect();
        *self = Self::start(&self.log, self.address.port(), &options);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub fn client(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(args).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end, with this standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    thread::spawn(move || stdin.write_all(&input));
    end(child)
}

pub fn end(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    receiver.recv_timeout(DEADLINE).map_or_else(
        |_| {
            kill_process(pid, Signal::KILL).unwrap();
            panic!("it does not end");
        },
        Result::unwrap,
    )
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        thread::yield_now();
    }
}
