//! A sender that follows a growing file, and the check that a reader finds every line exactly once.

use std::fs::{self, File};
use std::io::Write as _;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;

use crate::commands::{Running, client, signal, text};
use crate::server::Server;
use crate::wait::wait_until;

/// A server, and a sender that follows a file in the server's folder.
pub struct Follow {
    pub server: Server,
    timeout: &'static str,
    sender: Running,
    source: File,
    /// Everything written to the source so far.
    input: Vec<u8>,
    lines: u64,
    rotated_logs: Vec<PathBuf>,
    renamed: u32,
}

/// What the reader found.
pub struct Followed {
    /// The number of lines written.
    pub lines: u64,
    /// The number of lines that the reader showed.
    pub shown: u64,
    /// Whether these are the same lines, in order.
    pub is_equal: bool,
}

impl Follow {
    /// `timeout` is the sender's, for a connection.
    pub fn start(timeout: &'static str) -> Self {
        let server = Server::start_fixed(&["-append"]);
        let source = create(&server.folder().join("app.log"));
        Self {
            sender: send(&server, timeout),
            server,
            timeout,
            source,
            input: Vec::new(),
            lines: 0,
            rotated_logs: Vec::new(),
            renamed: 0,
        }
    }

    pub fn write_lines(&mut self, count: u64) {
        let from = self.input.len();
        for _ in 0..count {
            self.lines += 1;
            let n = self.lines;
            writeln!(self.input, "line {n} of \\many\u{1b}\u{202e}").unwrap();
        }
        self.source.write_all(&self.input[from..]).unwrap();
    }

    /// The size of the log.
    pub fn log_size(&self) -> u64 {
        fs::metadata(self.server.log_path()).unwrap().len()
    }

    pub fn kill_sender(&mut self) {
        self.sender.kill().unwrap();
        self.sender.wait().unwrap();
    }

    /// Kills the sender, unless it was, and starts it again.
    pub fn restart_sender(&mut self) {
        self.kill_sender();
        self.sender = send(&self.server, self.timeout);
    }

    /// Renames the log, and makes the server open a new one.
    pub fn rotate_log(&mut self) {
        let log = self.server.log_path();
        let rotated = self.rename(&log);
        self.rotated_logs.push(rotated);
        self.server.signal(Signal::HUP);
        wait_until("the new log", || log.exists());
    }

    /// Renames the source, and begins a new one.
    pub fn rotate_source(&mut self) {
        let source = self.server.folder().join("app.log");
        self.rename(&source);
        self.source = create(&source);
    }

    /// Returns the new path.
    fn rename(&mut self, path: &Path) -> PathBuf {
        self.renamed += 1;
        let renamed = PathBuf::from(format!("{}.{:03}", path.display(), self.renamed));
        fs::rename(path, &renamed).unwrap();
        renamed
    }

    /// Waits until everything is sent, stops the sender, and reads the logs.
    pub fn finish(&mut self) -> Followed {
        let mut logs = mem::take(&mut self.rotated_logs);
        logs.push(self.server.log_path());
        let last = format!("@shop:{} ", self.lines);
        wait_until("the last line", || {
            // It may have arrived before the last rotation.
            logs.iter().any(|log| {
                let log = fs::read(log).unwrap_or_default();
                let end = &log[log.len().saturating_sub(1 << 20)..];
                String::from_utf8_lossy(end).contains(&last)
            })
        });
        signal(&self.sender, Signal::TERM);
        let ended = self.sender.wait().unwrap();
        assert!(ended.success(), "the sender ends with {ended}");
        let read = client(&["read", "-once"]).args(&logs).output().unwrap();
        assert!(read.status.success(), "{}", text(&read.stderr));
        let line_ends = read.stdout.iter().filter(|byte| **byte == b'\n');
        Followed {
            lines: self.lines,
            shown: line_ends.count() as u64,
            is_equal: read.stdout == self.input,
        }
    }
}

fn send(server: &Server, timeout: &str) -> Running {
    // The one before may have been killed before it wrote its state.
    let is_first = !server.folder().join("pos").exists();
    let sender = client(&["send", "-nhost", &server.address().to_string()])
        .current_dir(server.folder())
        .args(["-follow", "app.log", "-state", "pos", "-id", "shop"])
        .args(["-timeout", timeout])
        .args(is_first.then_some("-begin"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Running(sender.unwrap())
}

fn create(path: &Path) -> File {
    let file = File::options().create(true).append(true).open(path);
    file.unwrap()
}
