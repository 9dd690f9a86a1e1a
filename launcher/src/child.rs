//! Child process of the launcher.

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;

use common::record;
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process};

use crate::event::Event;
use crate::output::{self, Lines, Output, Stream};

/// Maximum number of bytes to repeat of a child's last line.
const LAST_WORDS: usize = 400;

/// Enough to forward lines.
const STACK_BYTES: usize = 128 * 1024;

/// A child process whose output is forwarded. It is killed when this value is dropped.
pub(crate) struct Child {
    pub(crate) name: String,
    process: process::Child,
    /// Set once it has ended and was reaped.
    status: Option<ExitStatus>,
    /// The last line on its stderr, once all its output was forwarded.
    last_words: Option<String>,
    /// Whether any output was forwarded since the last [`Child::is_silent`].
    spoke: Arc<AtomicBool>,
}

impl Child {
    /// Starts `command` as the child with this index. Call it from the main thread: the kernel
    /// signals a child when the thread that started it ends.
    pub(crate) fn start(
        name: &str,
        index: usize,
        command: &mut Command,
        output: &Arc<Output>,
        events: &Sender<Event>,
    ) -> io::Result<Self> {
        // The child gets its own process group, so that Ctrl-C reaches the launcher only. The
        // launcher signals each child once. A second signal would stop the server at once.
        let process = command
            .env(common::process::LAUNCHER_PID, process::id().to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut child = Self {
            name: name.to_owned(),
            process,
            status: None,
            last_words: None,
            spoke: Arc::default(),
        };
        child.forward(index, output, events)?;
        Ok(child)
    }

    /// Forwards the output of the child in a thread.
    fn forward(
        &mut self,
        child: usize,
        output: &Arc<Output>,
        events: &Sender<Event>,
    ) -> io::Result<()> {
        let stdout = self.process.stdout.take().expect("stdout is piped");
        let stderr = self.process.stderr.take().expect("stderr is piped");
        ioctl_fionbio(&stdout, true)?;
        ioctl_fionbio(&stderr, true)?;
        let prefix = |stream| output.prefix(&self.name, child, stream);
        let stdout = Lines::new(stdout, prefix(Stream::Stdout));
        let stderr = Lines::new(stderr, prefix(Stream::Stderr));
        let (output, events) = (Arc::clone(output), events.clone());
        let spoke = Arc::clone(&self.spoke);
        let run = move || {
            let mut last_line = Vec::new();
            let see = |line: &[u8]| {
                line.clone_into(&mut last_line);
                if let Some(address) = listening(line) {
                    // The receiver no longer exists when the launcher ends.
                    _ = events.send(Event::Listening { child, address });
                }
            };
            let spoke = || spoke.store(true, Ordering::Relaxed);
            output::forward(&output, stdout, stderr, see, spoke);
            let last_words = record::printable(&last_line, LAST_WORDS);
            _ = events.send(Event::Silent { child, last_words });
        };
        thread::Builder::new().stack_size(STACK_BYTES).spawn(run)?;
        Ok(())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.status.is_some()
    }

    /// Whether it has ended and all its output was forwarded.
    pub(crate) fn is_done(&self) -> bool {
        self.has_ended() && self.last_words.is_some()
    }

    /// Whether it is not done and nothing was forwarded since the last call.
    pub(crate) fn is_silent(&self) -> bool {
        !self.spoke.swap(false, Ordering::Relaxed) && !self.is_done()
    }

    /// Whether it has ended with a failure.
    pub(crate) fn failed(&self) -> bool {
        self.status.is_some_and(|status| !status.success())
    }

    /// Records that all output was forwarded. `last_words` is the last line on stderr.
    pub(crate) fn fell_silent(&mut self, last_words: String) {
        self.last_words = Some(last_words);
    }

    /// Checks whether it has ended, and reaps it.
    pub(crate) fn reap(&mut self) {
        if self.status.is_none() {
            // An error would mean that it is not our child any more.
            self.status = self.process.try_wait().unwrap_or(None);
        }
    }

    /// Sends `signal` unless it has ended. Its process ID cannot be reused until it is reaped.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            _ = kill_process(Pid::from_child(&self.process), signal);
        }
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(&mut self) {
        if self.status.is_none() {
            _ = self.process.kill();
            self.status = self.process.wait().ok();
        }
    }

    /// How it ended, for the end of an error line. The child has printed the reason itself.
    pub(crate) fn end(&self) -> String {
        match self.status {
            // The usual way to fail with a message.
            Some(status) if status.code() == Some(1) && !self.said().is_empty() => {
                ", as it says above".to_owned()
            }
            Some(status) => format!(" ({status})"),
            None => " (lost)".to_owned(),
        }
    }

    /// Its last line without the program name that starts each message of our programs, such as `client`
    /// or `line-log-client`.
    pub(crate) fn said(&self) -> &str {
        let said = self.last_words.as_deref().unwrap_or_default();
        let program = self.name.split(' ').next().unwrap_or_default();
        match said.split_once(": ") {
            Some((name, rest)) if name.ends_with(program) => rest,
            _ => said,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The address in the line that a server prints when it accepts connections.
fn listening(line: &[u8]) -> Option<SocketAddr> {
    let address = line.strip_prefix(b"listening on ")?;
    std::str::from_utf8(address).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_line_tells_the_address() {
        for (line, port) in [
            (&b"listening on 127.0.0.1:2005"[..], Some(2005)),
            (b"listening on [::1]:40000", Some(40000)),
            (b"server: listening on 127.0.0.1:2005", None),
            (b"listening on localhost:2005", None),
            (b"listening on \xff", None),
            (b"", None),
        ] {
            assert_eq!(listening(line).map(|address| address.port()), port);
        }
    }
}
