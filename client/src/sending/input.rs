//! Input of the lines: standard input, files, or a followed file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::PathBuf;

use follow::{FilePosition, Follow, Line, Watch};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::options::Options;

/// The token of the input in the sender's poll.
const INPUT: Token = Token(0);

/// Size of one read, in bytes.
const CHUNK: usize = 256 << 10;

/// A line of the input.
pub(super) struct InputLine {
    /// Without its LF.
    pub(super) text: Vec<u8>,
    /// The position after this line, in a followed file.
    pub(super) after: Option<FilePosition>,
}

/// The source of the lines to send.
pub(super) enum Input {
    Stream(Stream),
    Follow { follow: Box<Follow>, watch: Watch, lines: VecDeque<Line> },
}

/// Standard input, or files one after another.
pub(super) struct Stream {
    current: Option<File>,
    /// Whether `current` is registered with the poll. If not, it counts as always readable.
    is_waited_for: bool,
    files: VecDeque<PathBuf>,
    buffer: Vec<u8>,
    /// Where the unread part of the buffer begins.
    start: usize,
    /// Bytes read so far, and the total if it is known.
    position: u64,
    total: Option<u64>,
}

impl Input {
    /// Opens the input that the options name. Standard input is registered with `registry`'s poll
    /// if that is possible.
    pub(super) fn open(
        options: &Options,
        place: Option<FilePosition>,
        registry: &Registry,
    ) -> Result<Self, String> {
        if let Some(path) = &options.follow {
            let failed = |error: io::Error| format!("cannot follow {}: {error}", path.display());
            return Ok(Self::Follow {
                follow: Box::new(Follow::new(path, place).map_err(failed)?),
                watch: Watch::new(path, registry, INPUT).map_err(failed)?,
                lines: VecDeque::new(),
            });
        }
        let mut stream = Stream {
            current: None,
            is_waited_for: false,
            files: options.files.iter().cloned().collect(),
            buffer: Vec::new(),
            start: 0,
            position: 0,
            total: None,
        };
        if stream.files.is_empty() {
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            let stdin = stdin.map_err(|error| format!("cannot read standard input: {error}"))?;
            let descriptor = stdin.as_raw_fd();
            let interest = Interest::READABLE;
            // epoll does not accept a regular file. Reading one never blocks.
            let registered = registry.register(&mut SourceFd(&descriptor), INPUT, interest);
            stream.is_waited_for = registered.is_ok();
            stream.current = Some(File::from(stdin));
        } else {
            let sizes = stream.files.iter().map(|path| {
                let size = std::fs::metadata(path).map(|metadata| metadata.len());
                size.map_err(|error| format!("cannot read {}: {error}", path.display()))
            });
            stream.total = Some(sizes.sum::<Result<u64, _>>()?);
        }
        Ok(Self::Stream(stream))
    }

    /// The next line, if one is available now.
    pub(super) fn next(&mut self) -> Result<Option<InputLine>, String> {
        match self {
            Self::Stream(stream) => stream.next(),
            Self::Follow { follow, watch, lines } => {
                watch.clear();
                while lines.is_empty() {
                    let more = follow.read(lines);
                    if !more.map_err(|error| format!("cannot read what is followed: {error}"))? {
                        break;
                    }
                }
                Ok(lines
                    .pop_front()
                    .map(|line| InputLine { text: line.text, after: Some(line.after) }))
            }
        }
    }

    /// Whether no more lines will come.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Stream(stream) => {
                stream.current.is_none() && stream.files.is_empty() && stream.buffer.is_empty()
            }
            Self::Follow { .. } => false,
        }
    }

    pub(super) fn notices(&mut self) -> Vec<String> {
        match self {
            Self::Stream(_) => Vec::new(),
            Self::Follow { follow, .. } => follow.notices(),
        }
    }

    /// Total size in bytes, if it is known.
    pub(super) fn total(&self) -> Option<u64> {
        match self {
            Self::Stream(stream) => stream.total,
            Self::Follow { .. } => None,
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Stream(stream) => stream.position,
            Self::Follow { .. } => 0,
        }
    }
}

impl Stream {
    fn next(&mut self) -> Result<Option<InputLine>, String> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(end) = memchr::memchr(b'\n', &unread[searched..]) {
                let end = searched + end;
                let text = unread[..end].to_vec();
                self.start += end + 1;
                return Ok(Some(self.give(text)));
            }
            searched = unread.len();
            if !self.has_more()? {
                return Ok(None);
            }
            if self.fill()? == 0 {
                self.current = None;
                // The last line of a file may lack its LF.
                if searched > 0 {
                    let text = self.buffer[self.start..].to_vec();
                    self.start = self.buffer.len();
                    return Ok(Some(self.give(text)));
                }
            }
        }
    }

    fn give(&mut self, text: Vec<u8>) -> InputLine {
        self.position += text.len() as u64 + 1;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        InputLine { text, after: None }
    }

    /// Whether a read would return at once, with data or at the end of the file.
    fn has_more(&mut self) -> Result<bool, String> {
        if self.current.is_none() {
            let Some(path) = self.files.pop_front() else {
                return Ok(false);
            };
            let file = File::open(&path);
            let file = file.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            self.current = Some(file);
        }
        let Some(file) = self.current.as_ref().filter(|_| self.is_waited_for) else {
            return Ok(true);
        };
        let mut ready = [PollFd::new(file, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut ready, Some(&at_once)).is_ok_and(|ready| ready > 0))
    }

    /// Reads once. Returns 0 at the end of the file.
    fn fill(&mut self) -> Result<usize, String> {
        let Some(file) = &mut self.current else {
            return Ok(0);
        };
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let read = loop {
            match file.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let n = read.map_err(|error| format!("cannot read the input: {error}"))?;
        self.buffer.truncate(filled + n);
        Ok(n)
    }
}

/// Where to cut `text` so that the first part has at most `most` bytes and ends with a whole UTF-8
/// character. Text that is not UTF-8 is cut at any byte.
pub(super) fn cut(text: &[u8], most: usize) -> usize {
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| (0x80..0xc0).contains(byte));
    let begins = (most.saturating_sub(3)..=most).rev().find(|at| !is_inside(*at));
    begins.filter(|at| *at > 0).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_with_whole_characters() {
        for (text, most, expected) in [
            (&b"abcdef"[..], 4, 4),
            ("aé→b".as_bytes(), 2, 1),
            ("aé→b".as_bytes(), 3, 3),
            ("aé→b".as_bytes(), 5, 3),
            ("→".as_bytes(), 1, 1),
            (b"\x80\x80\x80\x80\x80\x80", 4, 4),
        ] {
            assert_eq!(cut(text, most), expected, "{text:?} {most}");
        }
    }
}
