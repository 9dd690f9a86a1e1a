//! Logs of the schedules: one in memory that fails on demand, and a back end that delays its commits.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use mio::{Registry, Token, Waker};

use super::test_client::END;
use crate::backend::file::LogFile;
use crate::backend::{BackEnd, CommitOutcome, Finished};
use crate::batch::Batch;
use crate::journal::ownership::Ownership;
use crate::journal::{Journal, Storage};

/// A back end that finishes batches when the schedule demands it, which the poll reports.
pub(super) struct Delayed {
    file: LogFile<Disk>,
    batch_bytes: usize,
    held: VecDeque<Batch>,
    /// An event has arrived.
    noted: bool,
    /// Decisions of the schedule that the back end has received.
    decisions: VecDeque<Decision>,
    pub(super) control: Rc<RefCell<Control>>,
}

/// The schedule's side of a [`Delayed`].
#[derive(Default)]
pub(super) struct Control {
    /// The most batches that may be submitted at the same time. With 0 they are finished in place.
    pub(super) room: usize,
    /// The number of submitted batches.
    pub(super) under_way: usize,
    /// The number of those that are about to be finished.
    finishing: usize,
    /// The number of batches whose outcome the file left unknown.
    pub(super) unknown: usize,
    /// The decisions on the next batches.
    decisions: VecDeque<Decision>,
    waker: Option<Waker>,
}

/// The schedule's decision on a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decision {
    /// It is written if the disk takes it.
    Decided,
    /// It is written or not, and its outcome is unknown.
    Unknown { written: bool },
}

impl Control {
    /// Finishes the next batch, which the poll reports.
    pub(super) fn finish(&mut self, decision: Decision) {
        if self.finishing < self.under_way {
            self.finishing += 1;
            self.decisions.push_back(decision);
            self.waker.as_ref().unwrap().wake().unwrap();
        }
    }
}

impl Delayed {
    pub(super) fn new(disk: Disk, room: usize, batch_bytes: usize) -> Self {
        let control = Control { room, ..Control::default() };
        Self {
            file: LogFile::new(Journal::new(disk, false), "log".into()),
            batch_bytes,
            held: VecDeque::new(),
            noted: false,
            decisions: VecDeque::new(),
            control: Rc::new(RefCell::new(control)),
        }
    }

    fn write(&mut self, batch: Batch) -> Finished {
        self.file.submit(batch, Instant::now());
        let finished = self.file.finished().unwrap();
        let is_unknown = matches!(finished.outcome, CommitOutcome::Unknown);
        self.control.borrow_mut().unknown += usize::from(is_unknown);
        finished
    }
}

impl BackEnd for Delayed {
    fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.control.borrow_mut().waker = Some(Waker::new(registry, token)?);
        Ok(())
    }

    fn on_event(&mut self) {
        self.noted = true;
    }

    fn advance(&mut self, _: Instant) {
        if std::mem::take(&mut self.noted) {
            self.decisions.extend(self.control.borrow_mut().decisions.drain(..));
        }
    }

    fn is_worth_sharing(&self) -> bool {
        self.control.borrow().room > 0
    }

    fn delays_commits(&self) -> bool {
        self.control.borrow().room == 1
    }

    fn has_room(&self) -> bool {
        self.held.len() < self.control.borrow().room.max(1)
    }

    fn submit(&mut self, batch: Batch, _: Instant) {
        assert!(self.has_room());
        self.held.push_back(batch);
        let mut control = self.control.borrow_mut();
        control.under_way += 1;
        if control.room == 0 {
            control.finishing += 1;
            self.decisions.push_back(Decision::Decided);
        }
    }

    fn finished(&mut self) -> Option<Finished> {
        let decision = self.decisions.pop_front()?;
        let mut control = self.control.borrow_mut();
        control.under_way -= 1;
        control.finishing -= 1;
        drop(control);
        let batch = self.held.pop_front().unwrap();
        match decision {
            Decision::Decided => Some(self.write(batch)),
            Decision::Unknown { written } => {
                let batch = if written { self.write(batch).batch } else { batch };
                let outcome = CommitOutcome::Unknown;
                Some(Finished { batch, outcome })
            }
        }
    }

    fn reopen(&mut self, now: Instant) {
        self.file.reopen(now);
    }

    fn run_periodic_tasks(&mut self, now: Instant) {
        self.file.run_periodic_tasks(now);
    }

    fn needs_periodic_tasks(&self) -> bool {
        self.file.needs_periodic_tasks()
    }
}

/// A log in memory that can be full, and may then not even be cut back.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) state: Rc<RefCell<State>>,
}

pub(super) struct State {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Option<usize>,
    pub(super) can_cut: bool,
    /// The length of `bytes` whose records are in `records`.
    seen: usize,
    /// For each client, the numbers of its messages and the ends of their records.
    records: HashMap<usize, (Vec<usize>, Vec<usize>)>,
}

impl Default for State {
    fn default() -> Self {
        Self { bytes: Vec::new(), room: None, can_cut: true, seen: 0, records: HashMap::new() }
    }
}

impl State {
    /// The messages of a client whose records are in the log, in the order of the log.
    pub(super) fn records(&mut self, id: usize) -> &[usize] {
        let unseen = &self.bytes[self.seen..];
        let whole = memchr::memrchr(b'\n', unseen).map_or(0, |end| end + 1);
        for line in unseen[..whole].split_inclusive(|&byte| byte == b'\n') {
            self.seen += line.len();
            let line = str::from_utf8(line).unwrap();
            let Some((_, message)) = line.trim_end().split_once(" recieved: ") else {
                continue;
            };
            let Some(whole) = message.strip_suffix(END) else {
                // The possible beginning of another protocol is a message if the input ends there.
                let is_half = message.starts_with(|first: char| first.is_ascii_digit());
                assert!(!is_half, "half a message is none: {message}");
                continue;
            };
            let (id, n) = whole.split_once(' ').unwrap();
            let (numbers, ends) = self.records.entry(id.parse().unwrap()).or_default();
            numbers.push(n.parse().unwrap());
            ends.push(self.seen);
        }
        let entry = self.records.entry(id).or_default();
        &entry.0
    }

    fn cut(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.seen = self.seen.min(length);
        for (numbers, ends) in self.records.values_mut() {
            let kept = ends.partition_point(|&end| end <= length);
            ends.truncate(kept);
            numbers.truncate(kept);
        }
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let n = state.room.unwrap_or(usize::MAX).min(bytes.len());
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.bytes.extend_from_slice(&bytes[..n]);
        state.room = state.room.map(|room| room - n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Disk {
    fn open(_: &Path, _: Option<Ownership>) -> io::Result<Self> {
        Ok(Self::default())
    }

    fn is_at(&self, _: &Path) -> bool {
        true
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.state.borrow().bytes.len() as u64)
    }

    fn position(&self) -> io::Result<u64> {
        self.length()
    }

    fn seek_to_end(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        if !state.can_cut {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let cut = state.bytes.len() - length as usize;
        state.room = state.room.map(|room| room + cut);
        state.cut(length as usize);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        buffer.copy_from_slice(&self.state.borrow().bytes[offset as usize..][..buffer.len()]);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_with_name(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
