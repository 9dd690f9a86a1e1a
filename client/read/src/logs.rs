//! The lines of the logs, in order; or of one log, as they are written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token};
use send::follow::{Follow, Watch};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::options::Options;

/// Read at once, in bytes.
const CHUNK: usize = 1 << 20;

/// A longer line is no record: four bytes for each of the longest message.
const LONGEST: usize = 1 << 32;

/// How often a followed log is looked at if nothing tells of a change.
const LOOK: Duration = Duration::from_millis(250);

/// Takes a line, without its end; breaks off when it wants no more.
pub(crate) type Taken = Result<ControlFlow<()>, String>;

/// How far reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    /// All that is written so far was read.
    CaughtUp,
    /// Nothing comes any more.
    End,
}

pub(crate) enum Logs {
    /// One after another; and those that end within a line.
    Files(VecDeque<PathBuf>, Vec<String>),
    /// Several at the same time, by the times of their records.
    Merged(Vec<Lines>),
    Followed(Box<Followed>),
}

pub(crate) struct Followed {
    follow: Follow,
    watch: Watch,
    poll: Poll,
    events: Events,
    stop: Arc<AtomicBool>,
    path: PathBuf,
}

/// The lines of one log.
pub(crate) struct Lines {
    input: Box<dyn Read>,
    name: String,
    buffer: Vec<u8>,
    /// What of the buffer is not taken yet.
    start: usize,
    ended: bool,
    /// It ends within a line.
    torn: bool,
}

impl Logs {
    pub(crate) fn open(options: &Options) -> Result<Self, String> {
        if options.follow {
            let path = options.files[0].clone();
            return Followed::open(path).map(|followed| Self::Followed(Box::new(followed)));
        }
        if options.once && options.files.len() > 1 {
            // A sender's lines may be in any of them: by their times they come in order.
            let lines = options.files.iter().map(|path| Lines::open(path));
            return Ok(Self::Merged(lines.collect::<Result<_, _>>()?));
        }
        let files = options.files.iter().cloned().collect();
        Ok(Self::Files(files, Vec::new()))
    }

    /// Reads on, and lends each line to `take`.
    pub(crate) fn next(&mut self, mut take: impl FnMut(&[u8]) -> Taken) -> Result<Step, String> {
        match self {
            Self::Files(files, torn) => {
                let Some(path) = files.pop_front() else {
                    return Ok(Step::End);
                };
                let mut lines = Lines::open(&path)?;
                while let Some(line) = lines.next()? {
                    if take(line)?.is_break() {
                        return Ok(Step::End);
                    }
                }
                if lines.torn {
                    torn.push(lines.name);
                }
                Ok(Step::More)
            }
            Self::Merged(logs) => merge(logs, take),
            Self::Followed(followed) => followed.next(take),
        }
    }

    /// The logs that end within a line.
    pub(crate) fn torn(&self) -> Vec<String> {
        match self {
            Self::Files(_, torn) => torn.clone(),
            Self::Merged(logs) => {
                let torn = logs.iter().filter(|log| log.torn);
                torn.map(|log| log.name.clone()).collect()
            }
            Self::Followed(_) => Vec::new(),
        }
    }

    /// What is to be told of a followed log.
    pub(crate) fn notices(&mut self) -> Vec<String> {
        match self {
            Self::Followed(followed) => followed.follow.notices(),
            _ => Vec::new(),
        }
    }

    /// Waits until more may be written; breaks off when a signal asks it to.
    pub(crate) fn wait(&mut self) -> Result<ControlFlow<()>, String> {
        let Self::Followed(followed) = self else {
            return Ok(ControlFlow::Continue(()));
        };
        if followed.stop.load(Ordering::Relaxed) {
            return Ok(ControlFlow::Break(()));
        }
        match followed.poll.poll(&mut followed.events, Some(LOOK)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(format!("cannot wait for the log: {error}"))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }
}

impl Followed {
    fn open(path: PathBuf) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot follow {}: {error}", path.display());
        let poll = Poll::new().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, stop.clone()).map_err(failed)?;
        }
        Ok(Self {
            follow: Follow::new(&path, None).map_err(failed)?,
            watch: Watch::new(&path, poll.registry(), Token(0)).map_err(failed)?,
            poll,
            events: Events::with_capacity(8),
            stop,
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
}

/// All lines of all logs, the one with the earliest time first.
fn merge(logs: &mut [Lines], mut take: impl FnMut(&[u8]) -> Taken) -> Result<Step, String> {
    loop {
        let mut earliest: Option<(String, usize)> = None;
        for (at, log) in logs.iter_mut().enumerate() {
            if let Some(line) = log.peek()? {
                let time = time_of(line);
                if earliest.as_ref().is_none_or(|(least, _)| time < *least) {
                    earliest = Some((time, at));
                }
            }
        }
        let Some((time, at)) = earliest else {
            return Ok(Step::End);
        };
        // As long as its lines have this time, no other log has to be asked.
        while let Some(line) = logs[at].peek()? {
            if time_of(line) > time {
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

/// The time of a record, as text that compares as times do within one format; of other lines, the
/// earliest.
fn time_of(line: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Time {
        time: String,
    }
    if line.first() == Some(&b'{') {
        let time = serde_json::from_slice::<Time>(line).ok();
        return time.map_or(String::new(), |time| time.time);
    }
    let parts = common::record::parse(line);
    parts.map_or(String::new(), |parts| {
        String::from_utf8_lossy(parts.time).into_owned()
    })
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
        Ok(Self {
            input,
            name,
            buffer: Vec::new(),
            start: 0,
            ended: false,
            torn: false,
        })
    }

    /// The next line, which stays the next.
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

    /// The end of the next line, and where the one after it begins.
    fn find(&mut self) -> Result<Option<(usize, usize)>, String> {
        let mut searched = self.start;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                return Ok(Some((searched + at, searched + at + 1)));
            }
            if self.ended {
                // What has no end was cut short: nobody was told that it is there.
                self.torn = self.start < self.buffer.len();
                return Ok(None);
            }
            let unread = self.buffer.len() - self.start;
            if unread > LONGEST {
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
