//! A process of ours, and what is known of it.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use std::os::unix::process::CommandExt as _;

use rustix::process::{Pid, Signal, kill_process};

use crate::launch::Event;
use crate::output::{self, Output, Stream};

/// Forwarding takes little; a thousand clients have two thousand streams.
const STACK_BYTES: usize = 128 * 1024;

/// A child whose output is being forwarded. It does not outlive this value.
pub(crate) struct Child {
    pub(crate) name: String,
    process: process::Child,
    /// Once it has ended and was reaped.
    status: Option<ExitStatus>,
    /// How many of its stdout and stderr are still to be read.
    open_streams: usize,
    /// The last line on its stderr, once that is read to its end.
    last_words: String,
}

impl Child {
    /// Starts `command` as the `index`th child. To be called from the main thread, since a child
    /// asks the kernel to be told when the thread that started it ends.
    pub(crate) fn start(
        name: &str,
        index: usize,
        command: &mut Command,
        output: &Arc<Output>,
        events: &Sender<Event>,
    ) -> io::Result<Self> {
        // In a process group of its own, so that Ctrl-C reaches the launcher only: it says once
        // to each child what to do, whereas a second signal would stop the server the hard way.
        let process = command
            .env(server::process::LAUNCHER_PID, process::id().to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut child = Self {
            name: name.to_owned(),
            process,
            status: None,
            open_streams: 2,
            last_words: String::new(),
        };
        let stdout = child.process.stdout.take().expect("stdout is piped");
        let stderr = child.process.stderr.take().expect("stderr is piped");
        forward(name, index, Stream::Stdout, stdout, output, events)?;
        forward(name, index, Stream::Stderr, stderr, output, events)?;
        Ok(child)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.status.is_some()
    }

    /// Whether it has ended and all it said has been shown.
    pub(crate) fn is_done(&self) -> bool {
        self.has_ended() && self.open_streams == 0
    }

    /// Whether it has ended in any way but well.
    pub(crate) fn failed(&self) -> bool {
        self.status.is_some_and(|status| !status.success())
    }

    /// One of its streams has been shown to its end; that of stderr may have a last line.
    pub(crate) fn stream_closed(&mut self, last_line: String) {
        self.open_streams -= 1;
        if !last_line.is_empty() {
            self.last_words = last_line;
        }
    }

    /// Looks whether it has ended.
    pub(crate) fn reap(&mut self) {
        if self.status.is_none() {
            // An error would mean that it is no child of ours (any more).
            self.status = self.process.try_wait().unwrap_or(None);
        }
    }

    /// Sends it `signal` if it has not ended. Until it is reaped, nobody else can have its number.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            _ = kill_process(Pid::from_child(&self.process), signal);
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if self.status.is_none() {
            _ = self.process.kill();
            self.status = self.process.wait().ok();
        }
    }

    /// How it ended and why, as far as it said: `exit status: 1: no reply within 10 s`.
    pub(crate) fn end(&self) -> String {
        let status = self.status.map(|status| status.to_string());
        let status = status.unwrap_or_else(|| "lost".to_owned());
        match self.said() {
            "" => status,
            said => format!("{status}: {said}"),
        }
    }

    /// Its last words without its name, which every message of our programs starts with.
    pub(crate) fn said(&self) -> &str {
        let name = self.name.split(' ').next().unwrap_or_default();
        let rest = self.last_words.strip_prefix(name);
        let rest = rest.and_then(|rest| rest.strip_prefix(": "));
        rest.unwrap_or(&self.last_words)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Shows what comes from the child until the end of `from`, on a thread of its own.
fn forward(
    name: &str,
    child: usize,
    stream: Stream,
    from: impl Read + Send + 'static,
    output: &Arc<Output>,
    events: &Sender<Event>,
) -> io::Result<()> {
    let prefix = output.prefix(name, child, stream);
    let (output, events) = (Arc::clone(output), events.clone());
    let run = move || {
        let mut last_line = Vec::new();
        let write = |lines: &[u8]| output.write(stream, lines);
        output::forward(from, &prefix, write, |line| {
            if stream == Stream::Stderr {
                line.clone_into(&mut last_line);
                if let Some(address) = listening(line) {
                    _ = events.send(Event::Listening { child, address });
                }
            }
        });
        let last_line = String::from_utf8_lossy(&last_line).into_owned();
        // Nobody listens any more once the launcher ends.
        _ = events.send(Event::Closed { child, last_line });
    };
    thread::Builder::new().stack_size(STACK_BYTES).spawn(run)?;
    Ok(())
}

/// The address in the line with which a server says that it accepts connections.
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
