//! The log file. A commit is in the log completely, or it is an error that says what is known of it.

mod damage;
#[cfg(test)]
mod model;
pub mod ownership;
pub mod rotation;
mod storage;

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use common::record;

pub use damage::{Damage, Left};
use ownership::Ownership;
pub use storage::Storage;

/// How many bytes of disk space are reserved at once: as many as the log has, within this range. So a small
/// log stays small on the disk. Writing to reserved space takes a tenth less kernel time per message
/// (docs/experiments.md).
const RESERVE: RangeInclusive<u64> = 1 << 20..=4 << 20;

/// The log, written one batch at a time.
#[derive(Debug)]
pub struct Journal<F: Storage = File> {
    file: F,
    sync: bool,
    /// Bytes that may be written before more disk space is reserved.
    reserved_bytes: u64,
    /// Whether disk space is reserved at all.
    reserves: bool,
    /// Where a batch begins that was written in part and could not be cut off yet. Nothing is written until
    /// it is cut off. The offset is absolute, since a cut that reports an error may have worked.
    torn_from: Option<u64>,
}

/// Why a commit failed, and what is known of the batch.
#[derive(Debug)]
pub enum CommitError {
    /// Nothing of the batch is in the log or will be. The next batch may be committed.
    Refused(io::Error),
    /// Part of the batch may be in the log, now or later. The next batch may be committed.
    Unknown(io::Error),
    /// A sync failed. The kernel may drop the dirty pages, and the next sync would succeed without them. No
    /// later result can be trusted.
    Fatal(io::Error),
}

/// A write that failed.
struct FailedWrite {
    error: io::Error,
    /// Bytes of the batch that the kernel has reported as written.
    written: usize,
}

impl<F: Storage> Journal<F> {
    /// A journal on a file that is opened to append. With `sync`, commits are synced to disk.
    pub fn new(file: F, sync: bool) -> Self {
        Self { file, sync, reserved_bytes: 0, reserves: true, torn_from: None }
    }

    /// Whether commits are synced to disk.
    pub fn syncs(&self) -> bool {
        self.sync
    }

    /// Writes `records` to the log, all or nothing.
    ///
    /// With `durable` they are also synced to disk, if this journal syncs at all.
    pub fn commit(&mut self, records: &[u8], durable: bool) -> Result<(), CommitError> {
        // This cuts off an earlier batch whose outcome was unknown. If the cut fails, nothing of this batch
        // is written.
        self.take_back()?;
        self.reserve(records.len() as u64);
        if let Err(failed) = self.append(records) {
            return Err(self.roll_back(failed, records));
        }
        if self.sync && durable {
            self.file.sync().map_err(CommitError::Fatal)?;
        }
        Ok(())
    }

    /// Reserves disk space for `count` more bytes, and some in advance, unless enough is reserved.
    fn reserve(&mut self, count: u64) {
        if self.reserves
            && count > self.reserved_bytes
            && let Ok(length) = self.file.length()
        {
            self.reserved_bytes = count + length.clamp(*RESERVE.start(), *RESERVE.end());
            self.file.reserve(length, self.reserved_bytes);
        }
        self.reserved_bytes = self.reserved_bytes.saturating_sub(count);
    }

    /// Releases the disk space that was reserved and not used, and reserves no more. For a file that is about
    /// to be closed or replaced.
    pub fn give_back_reserve(&mut self) {
        self.reserves = false;
        self.release_reserve();
    }

    /// Reserves disk space again: the file stays in use after all.
    pub fn reserve_again(&mut self) {
        self.reserves = true;
    }

    /// The length of the log in bytes.
    pub fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    /// Bytes that are free on its disk for users other than root.
    pub fn free_bytes(&self) -> Option<u64> {
        self.file.free_bytes()
    }

    /// Releases the reserved disk space until the next write.
    fn release_reserve(&mut self) {
        if std::mem::take(&mut self.reserved_bytes) > 0
            && let Ok(length) = self.file.length()
        {
            // If this fails, the space stays reserved.
            _ = self.file.truncate(length);
        }
    }

    fn append(&mut self, records: &[u8]) -> Result<(), FailedWrite> {
        debug_assert!(self.torn_from.is_none(), "nothing is written after torn records");
        let mut written = 0;
        while written < records.len() {
            let error = match self.file.write(&records[written..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    written += n;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(FailedWrite { error, written });
        }
        Ok(())
    }

    /// Cuts off what a failed write of `records` left. The result is `Refused` only if nothing of them stays
    /// in the file.
    fn roll_back(&mut self, failed: FailedWrite, records: &[u8]) -> CommitError {
        let FailedWrite { error, written } = failed;
        let is_certain = match self.find_torn(written, records) {
            Ok(is_certain) => is_certain,
            Err(error) => return CommitError::Fatal(error),
        };
        let explain = |why: &str| io::Error::new(error.kind(), format!("{error}; {why}"));
        match self.take_back() {
            Ok(()) if is_certain => CommitError::Refused(error),
            Ok(()) => CommitError::Unknown(explain("another program has changed its length")),
            Err(CommitError::Refused(cut)) => {
                CommitError::Unknown(explain(&format!("cutting it back failed: {cut}")))
            }
            Err(fatal) => fatal,
        }
    }

    /// Finds where the failed batch begins, of which `written` bytes were reported as written. Returns false
    /// if bytes of it may be elsewhere in the file.
    fn find_torn(&mut self, written: usize, records: &[u8]) -> io::Result<bool> {
        let position = self.file.position()?;
        let begin = position.saturating_sub(written as u64);
        let Ok(length) = self.file.length() else {
            self.torn_from = Some(begin);
            return Ok(false);
        };
        // A write that reports an error may still have written something, for example on a file system that
        // syncs each write. Another program may have truncated the file or appended to it.
        let excess = length.checked_sub(position);
        let is_ours = |excess: u64| self.holds(position, &records[written..], excess);
        let (is_torn, is_certain) = match excess {
            Some(0) => (written > 0, true),
            Some(_) if written > 0 => (true, true),
            Some(excess) if is_ours(excess) => (true, true),
            Some(_) | None => (written > 0, false),
        };
        if is_torn {
            self.torn_from = Some(begin.min(length));
        } else if !is_certain {
            self.file.seek_to_end()?;
        }
        Ok(is_certain)
    }

    /// Whether the `count` bytes at `offset` are the first of `records`.
    fn holds(&self, offset: u64, records: &[u8], count: u64) -> bool {
        let expected = usize::try_from(count).ok().and_then(|n| records.get(..n));
        expected.is_some_and(|expected| {
            let mut found = vec![0; expected.len()];
            self.file.read_at(&mut found, offset).is_ok() && found == expected
        })
    }

    /// Cuts off what a failed write left. With `sync` the cut is synced too: a refused batch must not
    /// reappear after a power cut.
    fn take_back(&mut self) -> Result<(), CommitError> {
        if self.torn_from.is_some() {
            self.cut_back().map_err(CommitError::Refused)?;
            if self.sync {
                self.file.sync().map_err(CommitError::Fatal)?;
            }
        }
        Ok(())
    }

    fn cut_back(&mut self) -> io::Result<()> {
        if let Some(begin) = self.torn_from {
            // Another program may have emptied the file.
            self.file.truncate(begin.min(self.file.length()?))?;
            self.torn_from = None;
        }
        Ok(())
    }
}

impl<F: Storage> Drop for Journal<F> {
    fn drop(&mut self) {
        // The last attempt to cut. If it fails, the torn batch has still not been answered.
        _ = self.cut_back();
        self.give_back_reserve();
    }
}

/// How a log file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Empty it.
    Overwrite,
    /// Write after the existing records. A torn last record is ended with a newline first. Other damage from
    /// a power cut is reported.
    Append,
}

/// The result of opening a log.
#[derive(Debug)]
pub struct Opened<F: Storage = File> {
    /// The log, locked.
    pub journal: Journal<F>,
    /// The size in bytes of an old log that was emptied.
    pub emptied_bytes: u64,
    /// Damage from a crash or a power cut, in a log that is appended to.
    pub damage: Damage,
}

impl<F: Storage> Journal<F> {
    /// Opens the log at `path` and locks it against other servers. Nothing is changed before the lock is
    /// held. A file that is created gets the ownership `like`.
    ///
    /// With [`Opening::Overwrite`], a file that is not empty and does not begin like a log is an error and
    /// stays unchanged: emptying it would destroy other data.
    pub fn open(
        path: &Path,
        opening: Opening,
        sync: bool,
        like: Option<Ownership>,
    ) -> io::Result<Opened<F>> {
        let mut file = F::open(path, like)?;
        let length = file.length()?;
        let mut reserves = true;
        let damage = match opening {
            Opening::Overwrite => {
                check_that_it_is_a_log(&file, length)?;
                file.truncate(0)?;
                Damage::default()
            }
            Opening::Append => {
                // A server that was killed could not release the space it had reserved. Where truncation is
                // not permitted (chattr +a), nothing is reserved.
                reserves = file.truncate(length).is_ok();
                damage::mend(&mut file, length)?
            }
        };
        if sync {
            file.sync_with_name(path)?;
        }
        let mut journal = Self::new(file, sync);
        journal.reserves = reserves;
        Ok(Opened {
            journal,
            emptied_bytes: if opening == Opening::Overwrite { length } else { 0 },
            damage,
        })
    }

    /// Opens the log again by its name to append, for example after a rotation by another program.
    ///
    /// If the name still leads to the same file, nothing changes. On an error this journal stays as it is.
    /// Otherwise it continues in the new file and returns the damage found there. A file that is created gets
    /// the ownership of the old one.
    pub fn reopen(&mut self, path: &Path) -> io::Result<Damage> {
        if self.is_at(path) {
            self.reserve_again();
            return Ok(Damage::default());
        }
        let like = self.file.ownership();
        let opened = Self::open(path, Opening::Append, self.sync, like)?;
        // After the switch, torn records could no longer be cut off the old file.
        self.cut_back()?;
        *self = opened.journal;
        Ok(opened.damage)
    }

    /// Whether `path` leads to the file that this journal writes.
    pub fn is_at(&self, path: &Path) -> bool {
        self.file.is_at(path)
    }
}

fn check_that_it_is_a_log(file: &impl Storage, length: u64) -> io::Result<()> {
    let mut beginning = [0; record::BEGINNING];
    let beginning = &mut beginning[..record::BEGINNING.min(length as usize)];
    file.read_at(beginning, 0)?;
    if record::may_begin_log(beginning) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a log"))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// An in-memory file whose operations fail as planned.
    #[derive(Default)]
    struct Faulty {
        bytes: RefCell<Vec<u8>>,
        position: Cell<u64>,
        /// What the next writes do: accept that many bytes, or fail. Without a plan they accept everything.
        writes: RefCell<VecDeque<Result<usize, i32>>>,
        truncate_fails: Cell<bool>,
        sync_fails: Cell<bool>,
        syncs: Cell<u32>,
    }

    const EINTR: i32 = 4;
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;

    fn fail_if(fails: bool) -> io::Result<()> {
        if fails {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    impl Write for Faulty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let plan = self.writes.borrow_mut().pop_front();
            let n = plan.unwrap_or(Ok(bytes.len()));
            let n = n.map_err(io::Error::from_raw_os_error)?.min(bytes.len());
            self.bytes.borrow_mut().extend_from_slice(&bytes[..n]);
            self.seek_to_end()?;
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Storage for Faulty {
        fn open(_: &Path, _: Option<Ownership>) -> io::Result<Self> {
            Ok(Self::default())
        }

        fn is_at(&self, path: &Path) -> bool {
            path == "here"
        }

        fn length(&self) -> io::Result<u64> {
            Ok(self.bytes.borrow().len() as u64)
        }

        fn position(&self) -> io::Result<u64> {
            Ok(self.position.get())
        }

        fn seek_to_end(&self) -> io::Result<()> {
            self.position.set(self.length()?);
            Ok(())
        }

        fn truncate(&self, length: u64) -> io::Result<()> {
            fail_if(self.truncate_fails.get())?;
            self.position.set(length);
            self.bytes.borrow_mut().truncate(length as usize);
            Ok(())
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            buffer.copy_from_slice(&self.bytes.borrow()[offset as usize..][..buffer.len()]);
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            self.syncs.set(self.syncs.get() + 1);
            fail_if(self.sync_fails.get())
        }

        fn sync_with_name(&self, _: &Path) -> io::Result<()> {
            self.sync()
        }
    }

    fn journal(sync: bool, writes: &[Result<usize, i32>]) -> Journal<Faulty> {
        let file = Faulty::default();
        file.writes.borrow_mut().extend(writes);
        Journal::new(file, sync)
    }

    /// Commits. Returns the error number if the batch was refused.
    fn refused(journal: &mut Journal<Faulty>, records: &str) -> Option<i32> {
        match journal.commit(records.as_bytes(), true) {
            Ok(()) => None,
            Err(CommitError::Refused(error)) => error.raw_os_error().or(Some(0)),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Commits a batch that ends with an unknown outcome.
    fn tear(journal: &mut Journal<Faulty>, records: &str) {
        let result = journal.commit(records.as_bytes(), true);
        assert!(matches!(result, Err(CommitError::Unknown(_))), "{result:?}");
    }

    fn content(journal: &Journal<Faulty>) -> String {
        String::from_utf8(journal.file.bytes.borrow().clone()).unwrap()
    }

    #[test]
    fn short_and_interrupted_writes_are_continued() {
        let mut journal = journal(false, &[Ok(1), Err(EINTR), Ok(2), Ok(3)]);
        assert_eq!(refused(&mut journal, "a record\n"), None);
        assert_eq!(content(&journal), "a record\n");
    }

    #[test]
    fn a_failed_write_is_cut_off_and_the_next_batch_is_written() {
        for first in [Ok(0), Ok(3), Ok(8)] {
            let mut journal = journal(false, &[Ok(99), first, Err(ENOSPC)]);
            assert_eq!(refused(&mut journal, "before\n"), None);
            assert!(refused(&mut journal, "refused 1\nrefused 2\n").is_some());
            assert_eq!(content(&journal), "before\n", "{first:?}");
            journal.file.writes.borrow_mut().clear();
            assert_eq!(refused(&mut journal, "after\n"), None);
            assert_eq!(content(&journal), "before\nafter\n");
        }
    }

    #[test]
    fn nothing_is_written_after_a_failed_cut() {
        let mut journal = journal(false, &[Ok(3), Err(ENOSPC)]);
        journal.file.truncate_fails.set(true);
        tear(&mut journal, "torn\n");
        assert_eq!(refused(&mut journal, "refused\n"), Some(EIO));
        assert_eq!(content(&journal), "tor");
        journal.file.truncate_fails.set(false);
        assert_eq!(refused(&mut journal, "after\n"), None);
        assert_eq!(content(&journal), "after\n");
    }

    #[test]
    fn a_file_emptied_by_another_program_is_not_cut_too_far() {
        let mut journal = journal(false, &[Ok(3), Err(ENOSPC)]);
        journal.file.truncate_fails.set(true);
        tear(&mut journal, "torn\n");
        journal.file.bytes.borrow_mut().clear();
        journal.file.truncate_fails.set(false);
        assert_eq!(refused(&mut journal, "after\n"), None);
        assert_eq!(content(&journal), "after\n");
    }

    #[test]
    fn a_refused_batch_does_not_reappear_after_a_power_cut() {
        let mut journal = journal(true, &[Ok(3), Err(ENOSPC)]);
        assert_eq!(refused(&mut journal, "refused\n"), Some(ENOSPC));
        assert_eq!((content(&journal).as_str(), journal.file.syncs.get()), ("", 1));
        // A failed write of no bytes needs no cut and no sync.
        journal.file.writes.borrow_mut().push_back(Err(ENOSPC));
        assert_eq!(refused(&mut journal, "refused\n"), Some(ENOSPC));
        assert_eq!(journal.file.syncs.get(), 1);
        journal.file.writes.borrow_mut().extend([Ok(3), Err(ENOSPC)]);
        journal.file.sync_fails.set(true);
        let result = journal.commit(b"refused\n", true);
        assert!(matches!(result, Err(CommitError::Fatal(_))), "{result:?}");
    }

    #[test]
    fn only_durable_batches_are_synced() {
        for (sync, durable, expected) in [(true, true, 1), (true, false, 0), (false, true, 0)] {
            let mut journal = journal(sync, &[]);
            journal.commit(b"a record\n", durable).unwrap();
            assert_eq!(journal.file.syncs.get(), expected);
        }
    }

    #[test]
    fn a_failed_sync_is_fatal() {
        let mut journal = journal(true, &[]);
        journal.file.sync_fails.set(true);
        let result = journal.commit(b"a record\n", true);
        assert!(matches!(result, Err(CommitError::Fatal(_))), "{result:?}");
    }

    #[test]
    fn reopening_cuts_back_first_and_keeps_the_old_file_if_it_cannot() {
        let mut journal = journal(false, &[Ok(3), Err(ENOSPC)]);
        journal.file.truncate_fails.set(true);
        tear(&mut journal, "torn\n");
        journal.reopen(Path::new("here")).unwrap();
        journal.reopen(Path::new("elsewhere")).unwrap_err();
        assert_eq!(content(&journal), "tor");
        journal.file.truncate_fails.set(false);
        let damage = journal.reopen(Path::new("elsewhere")).unwrap();
        assert_eq!(damage, Damage::default());
        assert_eq!(refused(&mut journal, "after\n"), None);
        assert_eq!(content(&journal), "after\n");
    }

    #[test]
    fn reserved_space_shows_in_no_length_and_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let opened: Opened = Journal::open(&path, Opening::Overwrite, false, None).unwrap();
        let mut journal = opened.journal;
        let record = b"0123456789abcde\n".repeat(1 << 12);
        for n in 1..=50 {
            journal.commit(&record, false).unwrap();
            assert_eq!(path.metadata().unwrap().len(), n * record.len() as u64);
        }
        assert!(journal.reserved_bytes > 0);
        drop(journal);
        let file = path.metadata().unwrap();
        assert_eq!(file.len(), 50 * record.len() as u64);
        assert!(file.blocks() * 512 < file.len() + (128 << 10), "{} blocks", file.blocks());
        assert_eq!(std::fs::read(&path).unwrap(), record.repeat(50));
    }
}
