//! The lines of all children on one terminal: whole, and each with the name of who said it.

use std::env;
use std::io::{self, IsTerminal as _, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};

/// A longer line is shown in pieces of this many bytes, so that memory stays bounded.
const MAX_LINE: usize = 64 * 1024;

/// Stdout and stderr of the launcher, which may well be one terminal: nobody writes to either while
/// somebody writes to the other.
///
/// Writing waits for as long as the reader of the launcher's output takes, and so, by way of their
/// pipes, do the clients. The server never waits for who shows its records.
pub(crate) struct Output {
    /// The first write to stdout that failed, unless its reader merely closed it.
    failed: Mutex<Option<io::Error>>,
    stdout_in_colour: bool,
    stderr_in_colour: bool,
    /// Of the longest name.
    name_width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Output {
    pub(crate) fn new(name_width: usize) -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|value| value != "dumb");
        Self {
            failed: Mutex::new(None),
            stdout_in_colour: wanted && io::stdout().is_terminal(),
            stderr_in_colour: wanted && io::stderr().is_terminal(),
            name_width,
        }
    }

    /// What starts each line of the child that is the `index`th and has this `name`.
    pub(crate) fn prefix(&self, name: &str, index: usize, stream: Stream) -> String {
        let in_colour = match stream {
            Stream::Stdout => self.stdout_in_colour,
            Stream::Stderr => self.stderr_in_colour,
        };
        let name = format!("{name:width$} |", width = self.name_width);
        if in_colour {
            let colour = COLOURS[index % COLOURS.len()];
            format!("\x1b[{colour}m{name}\x1b[0m ")
        } else {
            format!("{name} ")
        }
    }

    /// Writes whole lines. What cannot be written is dropped: the children's work goes on.
    pub(crate) fn write(&self, stream: Stream, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match stream {
            Stream::Stdout => write_through(io::stdout().lock(), lines),
            // Were this to fail, there would be nowhere left to say so.
            Stream::Stderr => write_through(io::stderr().lock(), lines).or(Ok(())),
        };
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                failed.get_or_insert(error);
            }
            _ => {}
        }
    }

    /// Whether somebody is writing just now, perhaps to a reader that has stopped reading.
    pub(crate) fn is_busy(&self) -> bool {
        self.failed.try_lock().is_err()
    }

    /// Why something that was to go to stdout is lost, if it is.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take()
    }
}

/// Red is left to errors. The server's comes first, then those of the clients; with more of them
/// than colours they begin again, the server's included.
const COLOURS: [&str; 6] = ["1;36", "32", "33", "34", "35", "36"];

fn write_through(mut to: impl Write, lines: &[u8]) -> io::Result<()> {
    to.write_all(lines)?;
    to.flush()
}

/// A stream of a child, as lines.
pub(crate) struct Lines<R> {
    from: R,
    prefix: String,
    /// What was read and not taken yet: `len` bytes.
    buffer: Box<[u8]>,
    len: usize,
    /// Whether it may bring more.
    open: bool,
}

impl<R: Read> Lines<R> {
    /// Of what comes `from` somewhere, each to begin with `prefix`.
    pub(crate) fn new(from: R, prefix: String) -> Self {
        Self {
            from,
            prefix,
            buffer: vec![0; MAX_LINE].into(),
            len: 0,
            open: true,
        }
    }

    /// Reads once; returns whether anything came.
    fn read(&mut self) -> bool {
        match self.from.read(&mut self.buffer[self.len..]) {
            Ok(0) => self.open = false,
            Ok(len) => {
                self.len += len;
                return true;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                // It has nothing more to say.
                _ => self.open = false,
            },
        }
        false
    }

    /// Takes the whole lines, and shows them to `see` one by one without their ends. What may
    /// become a line is left, unless the stream has ended or the buffer is full.
    fn take(&mut self, mut see: impl FnMut(&[u8])) -> Vec<u8> {
        let unread = &self.buffer[..self.len];
        let whole = match memchr::memrchr(b'\n', unread) {
            Some(at) => at + 1,
            None if self.open && self.len < MAX_LINE => 0,
            None => self.len,
        };
        let mut block = Vec::new();
        for line in unread[..whole].split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            see(line);
            block.extend_from_slice(self.prefix.as_bytes());
            block.extend_from_slice(line);
            block.push(b'\n');
        }
        self.buffer.copy_within(whole..self.len, 0);
        self.len -= whole;
        block
    }
}

/// Shows both streams of a child, which do not block, until their ends. `see` is shown the lines on
/// stderr; `spoke` is called whenever something has been shown.
///
/// A child's lines stay in the order in which it wrote them, though they come by two ways: whatever
/// it said on stdout before something on stderr is in the pipe when that is read.
pub(crate) fn forward<Out, Err>(
    output: &Output,
    mut stdout: Lines<Out>,
    mut stderr: Lines<Err>,
    mut see: impl FnMut(&[u8]),
    spoke: impl Fn(),
) where
    Out: Read + AsFd,
    Err: Read + AsFd,
{
    // A pipe holds 64 KiB unless told otherwise: so much has to be read before stderr's turn.
    const READS: usize = 16;
    while stdout.open || stderr.open {
        let mut ready = Vec::with_capacity(2);
        if stdout.open {
            ready.push(PollFd::new(&stdout.from, PollFlags::IN));
        }
        if stderr.open {
            ready.push(PollFd::new(&stderr.from, PollFlags::IN));
        }
        // An interrupted wait is as good as any: the streams do not block.
        _ = poll(&mut ready, None);
        drop(ready);
        if stderr.open {
            stderr.read();
        }
        for _ in 0..READS {
            let more = stdout.open && stdout.read();
            output.write(Stream::Stdout, &stdout.take(|_| {}));
            if !more {
                break;
            }
        }
        output.write(Stream::Stderr, &stderr.take(&mut see));
        spoke();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out at most `1` bytes per read.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(buffer.len());
            self.0.read(&mut buffer[..len])
        }
    }

    /// What is shown of `input`, one block a read, and the lines seen.
    fn taken(input: &[u8], step: usize) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut lines = Lines::new(Trickle(input, step), "a | ".to_owned());
        let (mut blocks, mut seen) = (Vec::new(), Vec::new());
        while lines.open {
            lines.read();
            blocks.push(lines.take(|line| seen.push(line.to_vec())));
        }
        (blocks, seen)
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let input = b"one\n\ntwo \xff\x1b\r\nlast";
        let expected = b"a | one\na | \na | two \xff\x1b\r\na | last\n";
        for step in 1..=input.len() {
            let (blocks, seen) = taken(input, step);
            assert!(blocks.iter().all(|b| b.is_empty() || b.ends_with(b"\n")));
            assert_eq!(blocks.concat(), expected, "{step}");
            assert_eq!(seen, [&b"one"[..], b"", b"two \xff\x1b\r", b"last"]);
        }
        assert_eq!(taken(b"", 1).0.concat(), b"");
        assert_eq!(taken(b"x\n", 9).0.concat(), b"a | x\n");
    }

    #[test]
    fn overlong_lines_come_in_pieces() {
        let mut input = vec![b'x'; 2 * MAX_LINE + 5];
        input.extend(b"\nshort\n");
        let (blocks, seen) = taken(&input, 10_000);
        let lengths: Vec<_> = seen.iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, 5, 5]);
        assert!(blocks.iter().all(|block| block.len() < MAX_LINE + 100));
    }

    #[test]
    fn prefixes_are_as_wide_as_the_longest_name() {
        let output = |in_colour| Output {
            failed: Mutex::new(None),
            stdout_in_colour: in_colour,
            stderr_in_colour: false,
            name_width: 8,
        };
        let plain = output(false);
        assert_eq!(plain.prefix("server", 0, Stream::Stdout), "server   | ");
        assert_eq!(plain.prefix("client 1", 1, Stream::Stdout), "client 1 | ");
        let prefix = |stream| output(true).prefix("client 1", 1, stream);
        assert_eq!(prefix(Stream::Stderr), "client 1 | ");
        assert_eq!(prefix(Stream::Stdout), "\x1b[32mclient 1 |\x1b[0m ");
    }
}
