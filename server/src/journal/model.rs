//! A model test of the journal with random file faults: no refused batch is in the file, every committed
//! batch is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::ownership::Ownership;
use super::{CommitError, Journal, Storage};

/// The byte that another program writes.
const FOREIGN: u8 = 0xff;

#[derive(Clone, Copy, Debug)]
enum Call {
    Works,
    Fails,
    /// It reports an error although it has worked.
    FailsLate,
}

#[derive(Clone, Copy, Debug)]
enum Writing {
    Takes(usize),
    Fails,
    /// It writes that many bytes and reports an error.
    FailsLate(usize),
    Interrupted,
}

#[derive(Clone, Debug)]
enum Step {
    /// A batch of that many bytes, and the results of its writes. After the commit, writes succeed again.
    Commit(usize, bool, Vec<Writing>),
    /// The results of the next truncations.
    Cuts(Vec<Call>),
    Sync(Call),
    Length(Call),
    /// Another program truncates the file to that many bytes.
    ForeignCut(usize),
    ForeignAppend(usize),
    Reopen,
}

/// The content of a file, and what it may be after a power cut.
#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<u8>,
    position: usize,
    /// Every content since the last sync, the synced one included.
    possible: Vec<Vec<u8>>,
    writes: VecDeque<Writing>,
    cuts: VecDeque<Call>,
    sync: Option<Call>,
    length: Option<Call>,
    has_synced_in_vain: bool,
}

impl Disk {
    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.bytes);
        self.possible.push(self.bytes.clone());
    }
}

#[derive(Clone, Debug, Default)]
struct ModelFile(Rc<RefCell<Disk>>);

fn failed<T>() -> io::Result<T> {
    Err(io::ErrorKind::StorageFull.into())
}

impl Write for ModelFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let disk = &mut *self.0.borrow_mut();
        let (count, is_told) = match disk.writes.pop_front() {
            None => (bytes.len(), true),
            Some(Writing::Takes(n)) => (n.min(bytes.len()), true),
            Some(Writing::FailsLate(n)) => (n.min(bytes.len()), false),
            Some(Writing::Fails) => return failed(),
            Some(Writing::Interrupted) => return Err(io::ErrorKind::Interrupted.into()),
        };
        disk.change(|all| all.extend_from_slice(&bytes[..count]));
        if !is_told {
            return failed();
        }
        disk.position = disk.bytes.len();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for ModelFile {
    fn open(_: &Path, _: Option<Ownership>) -> io::Result<Self> {
        failed()
    }

    fn is_at(&self, _: &Path) -> bool {
        false
    }

    fn length(&self) -> io::Result<u64> {
        let disk = &mut *self.0.borrow_mut();
        match disk.length.take() {
            None | Some(Call::Works) => Ok(disk.bytes.len() as u64),
            Some(_) => failed(),
        }
    }

    fn position(&self) -> io::Result<u64> {
        Ok(self.0.borrow().position as u64)
    }

    fn seek_to_end(&self) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        disk.position = disk.bytes.len();
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        let call = disk.cuts.pop_front().unwrap_or(Call::Works);
        assert!(length as usize <= disk.bytes.len(), "a cut that fills up");
        if !matches!(call, Call::Fails) {
            disk.change(|bytes| bytes.truncate(length as usize));
            disk.position = disk.bytes.len();
        }
        if matches!(call, Call::Works) { Ok(()) } else { failed() }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.0.borrow();
        buffer.copy_from_slice(&disk.bytes[offset as usize..][..buffer.len()]);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        assert!(!disk.has_synced_in_vain, "nothing is done after a failed sync");
        match disk.sync.take() {
            None | Some(Call::Works) => {
                disk.possible = vec![disk.bytes.clone()];
                Ok(())
            }
            Some(_) => {
                disk.has_synced_in_vain = true;
                failed()
            }
        }
    }

    fn sync_with_name(&self, _: &Path) -> io::Result<()> {
        self.sync()
    }
}

/// The result of a batch. Every byte of a batch is its number.
#[derive(Clone, Copy, Debug)]
enum Said {
    Kept { length: usize, durable: bool },
    Refused,
}

struct World {
    disk: ModelFile,
    sync: bool,
    said: Vec<(u8, Said)>,
    batches: u8,
}

impl World {
    /// Applies one step. Returns false after a fatal error of the journal.
    fn take(&mut self, journal: &mut Journal<ModelFile>, step: Step) -> bool {
        let disk = Rc::clone(&self.disk.0);
        match step {
            Step::Commit(length, durable, writes) => {
                self.batches += 1;
                disk.borrow_mut().writes = writes.into();
                let result = journal.commit(&vec![self.batches; length], durable);
                disk.borrow_mut().writes.clear();
                let said = match result {
                    Ok(()) => Said::Kept { length, durable },
                    Err(CommitError::Refused(_)) => Said::Refused,
                    Err(CommitError::Unknown(_)) => return true,
                    Err(CommitError::Fatal(_)) => return false,
                };
                self.said.push((self.batches, said));
            }
            Step::Cuts(cuts) => disk.borrow_mut().cuts = cuts.into(),
            Step::Sync(call) => disk.borrow_mut().sync = Some(call),
            Step::Length(call) => disk.borrow_mut().length = Some(call),
            Step::ForeignCut(length) => {
                disk.borrow_mut().change(|bytes| bytes.truncate(length));
                // Batches that another program cut off need not be in the file.
                self.said.retain(|(_, said)| matches!(said, Said::Refused));
            }
            Step::ForeignAppend(count) => {
                let foreign = [FOREIGN].repeat(count);
                disk.borrow_mut().change(|bytes| bytes.extend_from_slice(&foreign));
            }
            // A new file cannot be opened here, so the journal continues in the old one.
            Step::Reopen => assert!(journal.reopen(Path::new("elsewhere")).is_err()),
        }
        true
    }

    fn check(&self) -> TestCaseResult {
        let disk = self.disk.0.borrow();
        // Without syncs there is no guarantee after a power cut.
        let states =
            if self.sync { disk.possible.as_slice() } else { std::slice::from_ref(&disk.bytes) };
        for (batch, said) in &self.said {
            let count = |state: &Vec<u8>| memchr::memchr_iter(*batch, state).count();
            match said {
                Said::Refused => {
                    for state in states {
                        prop_assert_eq!(count(state), 0, "batch {} was refused", batch);
                    }
                }
                Said::Kept { length, durable } => {
                    prop_assert_eq!(count(&disk.bytes), *length, "batch {} was kept", batch);
                    for state in states.iter().filter(|_| *durable) {
                        prop_assert_eq!(count(state), *length, "batch {} was synced", batch);
                    }
                }
            }
        }
        Ok(())
    }
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        2 => Just(Call::Works),
        3 => Just(Call::Fails),
        1 => Just(Call::FailsLate),
    ]
}

fn writing(foreign: bool) -> impl Strategy<Value = Writing> {
    // If another program truncates the file at the same time, what a write left cannot be found.
    prop_oneof![
        4 => (1..6usize).prop_map(Writing::Takes),
        4 => Just(Writing::Fails),
        2 * u32::from(!foreign) => (0..6usize).prop_map(Writing::FailsLate),
        1 => Just(Writing::Interrupted),
    ]
}

fn step(foreign: bool) -> impl Strategy<Value = Step> {
    let writes = prop::collection::vec(writing(foreign), 0..4);
    let commit = (1..12usize, any::<bool>(), writes);
    let commit = commit.prop_map(|(length, durable, writes)| Step::Commit(length, durable, writes));
    let by_others = u32::from(foreign);
    prop_oneof![
        8 => commit,
        3 => prop::collection::vec(call(), 0..4).prop_map(Step::Cuts),
        1 => call().prop_map(Step::Sync),
        1 => call().prop_map(Step::Length),
        1 => Just(Step::Reopen),
        by_others => (0..20usize).prop_map(Step::ForeignCut),
        by_others => (1..6usize).prop_map(Step::ForeignAppend),
    ]
}

fn run(sync: bool, ends: bool, steps: Vec<Step>) -> TestCaseResult {
    let disk = ModelFile::default();
    disk.0.borrow_mut().possible.push(Vec::new());
    let mut world = World { disk: disk.clone(), sync, said: Vec::new(), batches: 0 };
    let mut journal = Journal::new(disk, sync);
    for step in steps {
        let goes_on = world.take(&mut journal, step);
        world.check()?;
        if !goes_on {
            break;
        }
    }
    // At a stop the journal is dropped. A killed process drops nothing.
    if ends {
        drop(journal);
    } else {
        std::mem::forget(journal);
    }
    world.check()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn refused_batches_are_not_in_the_file_and_committed_ones_are(
        sync: bool,
        ends: bool,
        steps in prop::collection::vec(step(false), 1..25),
    ) {
        run(sync, ends, steps)?;
    }

    #[test]
    fn other_programs_make_no_refusal_false(
        ends: bool,
        steps in prop::collection::vec(step(true), 1..25),
    ) {
        run(false, ends, steps)?;
    }
}
