//! Lines of the logs, in order, or of one log as they are written.

mod step;
mod streamed;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::rotated_files::by_log;
use follow::{Follow, Watch};
use mio::{Events, Poll, Token};

use crate::options::Options;

pub(crate) use self::step::Step;
use self::step::{LOOK, Taken, stop};
use self::streamed::Streamed;

/// Size of one read, in bytes.
const CHUNK: usize = 1 << 20;

/// Maximum length of a line in bytes: four for each byte of the largest message.
const MAX: usize = 1 << 32;

pub(crate) enum Logs {
    /// Several logs are merged by the times of their records.
    Chains(Vec<Chain>),
    Followed(Box<Followed>),
    Streamed(Box<Streamed>),
}

pub(crate) struct Followed {
    follow: Follow,
    watch: Watch,
    poll: Poll,
    events: Events,
    stop: Arc<AtomicBool>,
    path: PathBuf,
}

/// The lines of files that are read one after another, such as the rotated files of one log.
pub(crate) struct Chain {
    files: VecDeque<PathBuf>,
    lines: Option<Lines>,
    /// The names of files that end within a line.
    torn: Vec<String>,
}

/// The lines of one file.
pub(crate) struct Lines {
    input: Box<dyn Read>,
    name: String,
    buffer: Vec<u8>,
    /// Where the unread part of the buffer begins.
    start: usize,
    ended: bool,
    /// Whether the file ends within a line.
    torn: bool,
}

impl Logs {
    pub(crate) fn open(options: &Options) -> Result<Self, String> {
        if let Some(streamed) = Streamed::open(options)? {
            return Ok(Self::Streamed(Box::new(streamed)));
        }
        if options.follow {
            let path = options.files[0].clone();
            return Followed::open(path).map(|followed| Self::Followed(Box::new(followed)));
        }
        let logs = by_log(&options.files);
        // A sender's lines may be in any log. Merging by time puts them in order.
        let chains = if options.once {
            logs.into_iter().map(Chain::open).collect()
        } else {
            Chain::open(logs.into_iter().flatten()).map(|all| vec![all])
        };
        chains.map(Self::Chains)
    }

    /// Reads on, and passes each line to `take`.
    pub(crate) fn next(&mut self, take: impl FnMut(&[u8]) -> Taken) -> Result<Step, String> {
        match self {
            Self::Chains(logs) => merge(logs, take),
            Self::Followed(followed) => followed.next(take),
            Self::Streamed(streamed) => streamed.next(take),
        }
    }

    /// The files, or messages of a stream, that end within a line.
    pub(crate) fn torn(&self) -> Vec<&String> {
        match self {
            Self::Chains(chains) => chains.iter().flat_map(|chain| &chain.torn).collect(),
            Self::Followed(_) => Vec::new(),
            Self::Streamed(streamed) => streamed.torn.iter().collect(),
        }
    }

    /// The warnings about a followed log or a stream since the last call.
    pub(crate) fn notices(&mut self) -> Vec<String> {
        match self {
            Self::Followed(followed) => followed.follow.notices(),
            Self::Chains(_) => Vec::new(),
            Self::Streamed(streamed) => streamed.notices(),
        }
    }

    /// Waits until more may be written. Returns `Break` after a signal.
    pub(crate) fn wait(&mut self) -> Result<ControlFlow<()>, String> {
        match self {
            Self::Followed(followed) => followed.wait(),
            _ => Ok(ControlFlow::Continue(())),
        }
    }
}

impl Followed {
    fn open(path: PathBuf) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot follow {}: {error}", path.display());
        let poll = Poll::new().map_err(failed)?;
        Ok(Self {
            follow: Follow::new(&path, None).map_err(failed)?,
            watch: Watch::new(&path, poll.registry(), Token(0)).map_err(failed)?,
            poll,
            events: Events::with_capacity(8),
            stop: stop().map_err(failed)?,
            path,
        })
    }

    fn next(&mut self, mut take: impl FnMut(&[u8]) -> Taken) -> Result<Step, String> {
        self.watch.clear();
        let mut lines = VecDeque::new();
        let more = self.follow.read(&mut lines);
        let more = more.map_err(|error| format!("cannot read {}: {error}", self.path.display()))?;
        for line in lines {
            if take(&line.text)?.is_break() {
                return Ok(Step::End);
            }
        }
        Ok(if more { Step::More } else { Step::CaughtUp })
    }

    fn wait(&mut self) -> Result<ControlFlow<()>, String> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(ControlFlow::Break(()));
        }
        match self.poll.poll(&mut self.events, Some(LOOK)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(format!("cannot wait for the log: {error}"))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }
}

/// Passes all lines of all logs to `take`, the earliest time first.
fn merge(logs: &mut [Chain], mut take: impl FnMut(&[u8]) -> Taken) -> Result<Step, String> {
    if let [log] = logs {
        while let Some(line) = log.next()? {
            if take(line)?.is_break() {
                break;
            }
        }
        return Ok(Step::End);
    }
    loop {
        let mut earliest: Option<(Vec<u8>, usize)> = None;
        for (at, log) in logs.iter_mut().enumerate() {
            if let Some(line) = log.peek()? {
                let time = time_of(line);
                if earliest.as_ref().is_none_or(|(least, _)| *time < **least) {
                    earliest = Some((time.to_vec(), at));
                }
            }
        }
        let Some((time, at)) = earliest else {
            return Ok(Step::End);
        };
        // While the time stays the same, the other logs need not be compared.
        while let Some(line) = logs[at].peek()? {
            if *time_of(line) > *time {
                break;
            }
            if let Some(line) = logs[at].next()?
                && take(line)?.is_break()
            {
                return Ok(Step::End);
            }
        }
    }
}

/// The time of a record as text, which sorts by time within one format. Empty for a line that is
/// not a record, so that it sorts first.
fn time_of(line: &[u8]) -> &[u8] {
    common::record::time(line).unwrap_or_default()
}

impl Chain {
    fn open(files: impl IntoIterator<Item = PathBuf>) -> Result<Self, String> {
        let mut chain = Self { files: files.into_iter().collect(), lines: None, torn: Vec::new() };
        // A missing file is reported before anything is printed.
        chain.has_next()?;
        Ok(chain)
    }

    /// Whether there is another line in any of the files.
    fn has_next(&mut self) -> Result<bool, String> {
        loop {
            if let Some(lines) = &mut self.lines {
                if lines.find()?.is_some() {
                    return Ok(true);
                }
                if lines.torn {
                    self.torn.push(std::mem::take(&mut lines.name));
                }
            }
            let next = self.files.pop_front();
            self.lines = next.map(|path| Lines::open(&path)).transpose()?;
            if self.lines.is_none() {
                return Ok(false);
            }
        }
    }

    /// The next line, without consuming it.
    fn peek(&mut self) -> Result<Option<&[u8]>, String> {
        self.has_next()?;
        self.lines.as_mut().map_or(Ok(None), Lines::peek)
    }

    fn next(&mut self) -> Result<Option<&[u8]>, String> {
        self.has_next()?;
        self.lines.as_mut().map_or(Ok(None), Lines::next)
    }
}

impl Lines {
    fn open(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let input: Box<dyn Read> = if name == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(path);
            Box::new(file.map_err(|error| format!("cannot read {name}: {error}"))?)
        };
        Ok(Self { input, name, buffer: Vec::new(), start: 0, ended: false, torn: false })
    }

    /// The next line, without consuming it.
    fn peek(&mut self) -> Result<Option<&[u8]>, String> {
        let end = self.find()?;
        Ok(end.map(|(end, _)| &self.buffer[self.start..end]))
    }

    fn next(&mut self) -> Result<Option<&[u8]>, String> {
        let Some((end, after)) = self.find()? else {
            return Ok(None);
        };
        let start = std::mem::replace(&mut self.start, after);
        Ok(Some(&self.buffer[start..end]))
    }

    /// The end of the next line, and the start of the one after it.
    fn find(&mut self) -> Result<Option<(usize, usize)>, String> {
        let mut searched = self.start;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                return Ok(Some((searched + at, searched + at + 1)));
            }
            if self.ended {
                // A line without LF was torn. The server did not acknowledge it.
                self.torn = self.start < self.buffer.len();
                return Ok(None);
            }
            let unread = self.buffer.len() - self.start;
            if unread > MAX {
                return Err(format!("{}: a line without end", self.name));
            }
            self.fill()?;
            searched = unread;
        }
    }

    fn fill(&mut self) -> Result<(), String> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let n = read.map_err(|error| format!("cannot read {}: {error}", self.name))?;
        self.buffer.truncate(filled + n);
        self.ended = n == 0;
        Ok(())
    }
}
