//! Standard output and standard error, which may be slow, stopped or closed, and must never delay
//! an `ok`.
//!
//! A descriptor that the server inherits is shared with other programs, so it cannot be made
//! non-blocking without surprising them. On Linux, opening its `/proc/self/fd` path gives a handle
//! of our own on a tty or a pipe. A socket is sent to with `MSG_DONTWAIT`. Regular files and
//! devices like `/dev/full` are simply written.
//!
//! Where there is no such path (other systems), or it may not be opened (a tty of another user),
//! the descriptor is duplicated and writes block: there, run the server with `-quiet` if nobody
//! reads its terminal.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::Instant;

use common::record::Level;
use memchr::{memchr_iter, memrchr};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::net::SendFlags;

/// How many bytes wait for a slow terminal before records are skipped.
const BACKLOG: usize = 1 << 20;

/// Lines for people: shown if that can be done at once, kept for a while, or counted.
#[derive(Debug)]
pub struct Terminal {
    output: Output,
    /// What the terminal has not taken yet, whole lines but for the first.
    backlog: Vec<u8>,
    /// The descriptor took nothing the last time: wait until it is said to be writable.
    blocked: bool,
    /// Lines that were neither shown nor kept.
    skipped: u64,
}

#[derive(Debug)]
enum Output {
    /// A tty, pipe or file.
    File(File),
    Socket(OwnedFd),
    /// Nobody will ever read it.
    Closed,
}

impl Terminal {
    /// A terminal on a standard descriptor.
    pub fn open(descriptor: impl AsFd) -> Self {
        Self::on(output(descriptor).unwrap_or(Output::Closed))
    }

    /// A terminal that shows nothing, and counts nothing.
    pub fn closed() -> Self {
        Self::on(Output::Closed)
    }

    fn on(output: Output) -> Self {
        Self {
            output,
            backlog: Vec::new(),
            blocked: false,
            skipped: 0,
        }
    }

    /// Has `token` told when the terminal takes output again. Files are never slow, and not
    /// watched.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let descriptor = match &self.output {
            Output::File(file) => file.as_raw_fd(),
            Output::Socket(socket) => socket.as_raw_fd(),
            Output::Closed => return Ok(()),
        };
        match registry.register(&mut SourceFd(&descriptor), token, Interest::WRITABLE) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }

    /// Shows `text`, which is `lines` whole lines. `time` is for the line that says how many were
    /// skipped before.
    pub fn show(&mut self, text: &[u8], lines: u64, time: &str) {
        if matches!(self.output, Output::Closed) {
            return;
        }
        self.retry(time);
        if self.skipped > 0 {
            self.skipped += lines;
            return;
        }
        let shown = if self.backlog.is_empty() {
            self.write(text)
        } else {
            0
        };
        self.keep(&text[shown..]);
    }

    /// The descriptor is said to take output again.
    pub fn writable(&mut self, time: &str) {
        self.blocked = false;
        self.retry(time);
    }

    /// Shows what was kept, and how many lines were skipped, unless the terminal is known to be
    /// blocked.
    pub fn retry(&mut self, time: &str) {
        if self.blocked || !self.is_behind() {
            return;
        }
        let backlog = std::mem::take(&mut self.backlog);
        let shown = self.write(&backlog);
        if shown < backlog.len() {
            self.backlog = backlog;
            self.backlog.drain(..shown);
            return;
        }
        let skipped = std::mem::take(&mut self.skipped);
        if skipped > 0 {
            let (level, noun) = (Level::Warning, plural(skipped, "record"));
            let notice = format!("{level}\t| {time} --server: {skipped} {noun} not shown\n");
            let shown = self.write(notice.as_bytes());
            // A notice that does not fit at all has to be made anew with a larger number.
            match shown {
                0 if !matches!(self.output, Output::Closed) => self.skipped = skipped,
                _ => self.keep(&notice.as_bytes()[shown..]),
            }
        }
    }

    /// Some lines have not been shown yet.
    pub fn is_behind(&self) -> bool {
        !self.backlog.is_empty() || self.skipped > 0
    }

    /// Lines are waiting, and no event will say when to try again.
    pub fn needs_retry(&self) -> bool {
        self.is_behind() && !self.blocked
    }

    /// Waits until everything is shown, but not past `deadline`: the program is about to end.
    pub fn finish(&mut self, deadline: Instant, time: &str) {
        self.retry(time);
        while self.is_behind() && self.blocked {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else {
                return;
            };
            let ready = match &self.output {
                Output::File(file) => poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&left)),
                Output::Socket(socket) => {
                    poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&left))
                }
                Output::Closed => return,
            };
            match ready {
                Ok(0) => return,
                Ok(_) | Err(Errno::INTR) => self.writable(time),
                Err(_) => return,
            }
        }
    }

    /// Writes as much as is taken at once.
    fn write(&mut self, text: &[u8]) -> usize {
        let mut written = 0;
        while written < text.len() {
            let rest = &text[written..];
            let result = match &mut self.output {
                Output::File(file) => file.write(rest),
                Output::Socket(socket) => {
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    rustix::net::send(socket, rest, flags).map_err(io::Error::from)
                }
                Output::Closed => return text.len(),
            };
            match result {
                Ok(n) => written += n,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        self.blocked = true;
                        break;
                    }
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                        *self = Self::closed();
                        return text.len();
                    }
                    // A full disk may have room later: the next attempt will tell.
                    _ => break,
                },
            }
        }
        written
    }

    /// Keeps what there is room for, in whole lines, and counts the others.
    fn keep(&mut self, text: &[u8]) {
        if matches!(self.output, Output::Closed) {
            return;
        }
        let room = BACKLOG.saturating_sub(self.backlog.len());
        let kept = if text.len() <= room {
            text.len()
        } else {
            memrchr(b'\n', &text[..room]).map_or(0, |end| end + 1)
        };
        self.backlog.extend_from_slice(&text[..kept]);
        self.skipped += memchr_iter(b'\n', &text[kept..]).count() as u64;
    }
}

fn output(descriptor: impl AsFd) -> io::Result<Output> {
    let descriptor = descriptor.as_fd();
    let duplicate = || Ok(Output::File(descriptor.try_clone_to_owned()?.into()));
    match FileType::from_raw_mode(fstat(descriptor)?.st_mode) {
        FileType::Socket => return Ok(Output::Socket(descriptor.try_clone_to_owned()?)),
        // Opened anew, it would be written from its start.
        FileType::RegularFile => return duplicate(),
        _ => {}
    }
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Ok(own) => Ok(Output::File(own.into())),
        // A named pipe that nobody reads.
        Err(Errno::NXIO) => Ok(Output::Closed),
        Err(_) => duplicate(),
    }
}

/// The noun for `count` things.
pub fn plural(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    const NOW: &str = "2019-02-24 15:10:14";

    /// Everything that can be read without waiting.
    fn read_all(reader: &mut (impl io::Read + AsFd)) -> Vec<u8> {
        rustix::io::ioctl_fionbio(&*reader, true).unwrap();
        let mut bytes = Vec::new();
        match reader.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
            _ => bytes,
        }
    }

    /// Numbered lines of some length, shown until some are skipped; returns how many.
    fn overfill(terminal: &mut Terminal) -> u64 {
        let mut lines = 0;
        while terminal.skipped < 3 {
            let line = format!("{lines:99}\n");
            terminal.show(line.as_bytes(), 1, NOW);
            lines += 1;
        }
        assert!(terminal.is_behind() && !terminal.needs_retry());
        lines
    }

    /// Reads until the terminal has caught up: the lines shown, then the count of those skipped.
    fn check_catching_up(terminal: &mut Terminal, reader: &mut (impl io::Read + AsFd), lines: u64) {
        let mut shown = Vec::new();
        while terminal.is_behind() {
            shown.append(&mut read_all(reader));
            terminal.writable(NOW);
        }
        shown.append(&mut read_all(reader));
        let shown = String::from_utf8(shown).unwrap();
        let notice = format!("WARNING\t| {NOW} --server: 3 records not shown");
        let expected = (0..lines - 3).map(|line| format!("{line:99}"));
        assert!(shown.lines().eq(expected.chain([notice])), "{shown}");
    }

    #[test]
    fn a_full_pipe_skips_lines_and_says_how_many() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut terminal = Terminal::open(writer);
        let lines = overfill(&mut terminal);
        check_catching_up(&mut terminal, &mut reader, lines);
        terminal.show(b"again\n", 1, NOW);
        assert_eq!(read_all(&mut reader), b"again\n");
    }

    #[test]
    fn a_full_socket_too() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let mut terminal = Terminal::open(writer);
        let lines = overfill(&mut terminal);
        check_catching_up(&mut terminal, &mut reader, lines);
    }

    #[test]
    fn a_closed_pipe_is_forgotten() {
        let (reader, writer) = io::pipe().unwrap();
        let mut terminal = Terminal::open(&writer);
        drop(reader);
        terminal.show(b"nobody reads this\n", 1, NOW);
        assert!(!terminal.is_behind());
    }

    #[test]
    fn a_full_device_counts_and_is_tried_again() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut terminal = Terminal::open(&full);
        terminal.show(
            &b"line\n".repeat(BACKLOG / 5 + 2),
            BACKLOG as u64 / 5 + 2,
            NOW,
        );
        assert_eq!(terminal.skipped, 2);
        assert!(terminal.needs_retry());
    }

    #[test]
    fn a_file_is_written_where_the_descriptor_stands() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before\n").unwrap();
        Terminal::open(&file).show(b"after\n", 1, NOW);
        io::Seek::rewind(&mut file).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before\nafter\n");
    }
}
