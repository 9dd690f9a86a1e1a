//! Output of all children on one terminal: whole lines, each with the name of its child.

use std::env;
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use common::output::write_all;
use rustix::event::{PollFd, PollFlags, poll};

/// Maximum length of a line in bytes. A longer one is split, so that memory stays bounded. Its
/// parts are marked in the prefix, which a child cannot write, so no part can pass for a whole
/// line.
const MAX_LINE: usize = 64 * 1024;

/// Stdout and stderr of the launcher. Both may be the same terminal, so one lock covers both.
///
/// Writing blocks while the reader of the launcher's output does not read. Then the clients block
/// too, since their pipes fill up. The server never waits for a reader of its records.
pub(crate) struct Output {
    /// The first write to stdout that failed. A closed stdout does not count.
    failed: Mutex<Option<io::Error>>,
    stdout_in_colour: bool,
    stderr_in_colour: bool,
    /// The width of the longest name.
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

    /// The prefixes for the lines of a child with this name and index.
    pub(crate) fn prefix(&self, name: &str, index: usize, stream: Stream) -> Prefix {
        let in_colour = match stream {
            Stream::Stdout => self.stdout_in_colour,
            Stream::Stderr => self.stderr_in_colour,
        };
        let with = |mark: char| {
            let name = format!("{name:width$} {mark}", width = self.name_width);
            if in_colour {
                let colour = COLOURS[index % COLOURS.len()];
                format!("\x1b[{colour}m{name}\x1b[0m ")
            } else {
                format!("{name} ")
            }
        };
        Prefix { line: with('|'), first_piece: with('<'), further_piece: with('+') }
    }

    /// Writes whole lines. Lines that cannot be written are dropped, so that the children can go
    /// on.
    pub(crate) fn write(&self, stream: Stream, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match stream {
            Stream::Stdout => write_all(io::stdout().lock(), lines),
            // A failed write to stderr cannot be reported anywhere.
            Stream::Stderr => write_all(io::stderr().lock(), lines).or(Ok(())),
        };
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                failed.get_or_insert(error);
            }
            _ => {}
        }
    }

    /// Whether a thread is writing now. The output may be blocked.
    pub(crate) fn is_busy(&self) -> bool {
        self.failed.try_lock().is_err()
    }

    /// The error of the first lost write to stdout, if there was one.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take()
    }
}

/// The prefixes of a child's lines.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    line: String,
    /// For the first part of a line that is too long.
    first_piece: String,
    further_piece: String,
}

impl Prefix {
    fn piece(&self, is_further: bool) -> &str {
        if is_further { &self.further_piece } else { &self.first_piece }
    }
}

/// Red is reserved for errors. The server has the first colour, the clients the others. With more
/// children than colours, the colours repeat, including the server's.
const COLOURS: [&str; 6] = ["1;36", "32", "33", "34", "35", "36"];

/// A stream of a child, split into lines.
pub(crate) struct Lines<R> {
    from: R,
    prefix: Prefix,
    /// Whether the last line was split, so that its next part follows.
    goes_on: bool,
    /// Unread bytes: the first `len` of the buffer.
    buffer: Box<[u8]>,
    len: usize,
    /// Whether more data may come.
    open: bool,
}

impl<R: Read> Lines<R> {
    /// The lines that come from `from`, each to be shown with `prefix`.
    pub(crate) fn new(from: R, prefix: Prefix) -> Self {
        Self { from, prefix, goes_on: false, buffer: vec![0; MAX_LINE].into(), len: 0, open: true }
    }

    /// Reads once. Returns whether data came.
    fn read(&mut self) -> bool {
        match self.from.read(&mut self.buffer[self.len..]) {
            Ok(0) => self.open = false,
            Ok(len) => {
                self.len += len;
                return true;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                // A failed stream counts as ended.
                _ => self.open = false,
            },
        }
        false
    }

    /// Takes the whole lines with their prefixes, and calls `see` with each, without its LF. An
    /// incomplete line stays, unless the stream has ended. If the buffer is full, a part of the
    /// overlong line is taken; `see` does not get such a line.
    fn take(&mut self, mut see: impl FnMut(&[u8])) -> Vec<u8> {
        let unread = &self.buffer[..self.len];
        let (taken, is_piece) = match memchr::memrchr(b'\n', unread) {
            Some(at) => (at + 1, false),
            None if !self.open => (self.len, false),
            None if self.len < MAX_LINE => (0, false),
            None => (whole_characters(unread), true),
        };
        let mut block = Vec::new();
        for line in unread[..taken].split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if self.goes_on || is_piece {
                block.extend_from_slice(self.prefix.piece(self.goes_on).as_bytes());
            } else {
                see(line);
                block.extend_from_slice(self.prefix.line.as_bytes());
            }
            block.extend_from_slice(line);
            block.push(b'\n');
            self.goes_on = is_piece;
        }
        self.buffer.copy_within(taken..self.len, 0);
        self.len -= taken;
        block
    }
}

/// How many of `bytes` end with a whole UTF-8 character. Other bytes are cut anywhere.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(4);
    let begins = |at: &usize| !(0x80..0xc0).contains(&bytes[*at]);
    let Some(last) = (tail..bytes.len()).rev().find(begins) else {
        return bytes.len();
    };
    match std::str::from_utf8(&bytes[last..]) {
        // An incomplete character: its rest has not arrived.
        Err(error) if error.error_len().is_none() => last,
        _ => bytes.len(),
    }
}

/// Forwards both streams of a child, which are non-blocking, until they end. `see` gets the lines
/// on stderr. `spoke` is called whenever output was forwarded.
///
/// The lines stay in the order in which the child wrote them, although they come through two pipes.
/// What the child wrote to stdout before a line on stderr is in the pipe when that line is read.
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
    // Enough to empty a pipe, which holds 64 KiB by default, before stderr is shown.
    const READS: usize = 16;
    while stdout.open || stderr.open {
        let mut ready = Vec::with_capacity(2);
        if stdout.open {
            ready.push(PollFd::new(&stdout.from, PollFlags::IN));
        }
        if stderr.open {
            ready.push(PollFd::new(&stderr.from, PollFlags::IN));
        }
        // An interrupted poll does no harm, since the reads do not block.
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

    /// Returns at most `.1` bytes per read.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(buffer.len());
            self.0.read(&mut buffer[..len])
        }
    }

    /// The blocks shown of `input`, one per read, and the lines seen.
    fn taken(input: &[u8], step: usize) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let prefix = Prefix {
            line: "a | ".to_owned(),
            first_piece: "a < ".to_owned(),
            further_piece: "a + ".to_owned(),
        };
        let mut lines = Lines::new(Trickle(input, step), prefix);
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
    fn overlong_lines_come_in_pieces_that_pass_for_no_line() {
        let mut input = b"listening on 127.0.0.1:1".to_vec();
        // Three bytes each: every part but the last would end within a character.
        input.extend("→".repeat(MAX_LINE).as_bytes());
        input.extend(b"\nlistening on 127.0.0.1:2\n");
        let (blocks, seen) = taken(&input, 10_000);
        assert_eq!(seen, [b"listening on 127.0.0.1:2"]);
        assert!(blocks.iter().all(|block| block.len() < MAX_LINE + 100));
        let shown = String::from_utf8(blocks.concat()).expect("cut between characters");
        let mut whole = String::new();
        for (number, line) in shown.lines().enumerate() {
            let mark = match number {
                0 => "a < ",
                1..4 => "a + ",
                _ => "a | ",
            };
            let (prefix, text) = line.split_at(4);
            assert_eq!(prefix, mark, "line {number}");
            whole.push_str(text);
            whole.push_str(if number < 3 { "" } else { "\n" });
        }
        assert_eq!(whole.as_bytes(), input);
    }

    #[test]
    fn foreign_bytes_are_cut_anywhere() {
        for (bytes, len) in [
            (&b"abc"[..], 3),
            (b"ab\xc3", 2),
            (b"ab\xc3\xa9", 4),
            (b"a\xf0\x9f\x98", 1),
            (b"a\xff", 2),
            (b"\x80\x80\x80\x80\x80", 5),
        ] {
            assert_eq!(whole_characters(bytes), len, "{bytes:?}");
        }
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
        let server = plain.prefix("server", 0, Stream::Stdout);
        assert_eq!((&*server.line, server.piece(true)), ("server   | ", "server   + "));
        let prefix = |stream| output(true).prefix("client 1", 1, stream).line;
        assert_eq!(prefix(Stream::Stderr), "client 1 | ");
        assert_eq!(prefix(Stream::Stdout), "\x1b[32mclient 1 |\x1b[0m ");
    }
}
