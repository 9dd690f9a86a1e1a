//! Rotation of the log: it is renamed, a new one is created in its place, and old rotated files are deleted.
//!
//! Every step leaves the log whole. A server that is killed between two steps has lost, repeated or split no
//! record:
//!
//! 1. With `-sync`, the log is synced: its content is on the disk before its name changes.
//! 2. The number of the new rotated file is written to the number file, so that it is unique. A server that is
//!    killed now leaves it unused. A new number file is synced together with its name, with or without `-sync`.
//! 3. The log is renamed. A server that is killed now leaves no log, and the next start creates one.
//! 4. A new log is opened and locked. With `-sync`, it and the folder that has both names are synced.
//! 5. Rotated files in excess of `-keep` are deleted.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use common::record;
use common::rotated_files::{Listing, RotatedFiles};
use rustix::fs::Access;
#[cfg(target_os = "linux")]
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use time::OffsetDateTime;

use super::ownership::{Ownership, PRIVATE};
use super::{CommitError, Damage, Journal, Opening, Storage, damage};
use crate::clock;

/// How many bytes of a log are searched for its first record. A power cut may have left other bytes before
/// it.
const BEGINNING_BYTES: u64 = 64 << 10;

/// How many old files are deleted at once, since deleting blocks the event loop.
const DELETE_BUDGET: usize = 64;

/// How many rotated files are checked at start.
const MAX_CHECKED: usize = 16;

/// Renames logs to rotated files.
#[derive(Debug)]
pub struct Rotation {
    path: PathBuf,
    /// Whether times without a zone in records are UTC.
    utc: bool,
    /// The number of rotated files to keep. `None` keeps all.
    keep: Option<usize>,
    /// The state of the folder. `None`: the folder is listed before the next rotation.
    known: Option<Known>,
    /// The rotated files to check at start, the oldest first.
    newest: Vec<PathBuf>,
    /// Whether the number file and its name are synced.
    is_number_synced: bool,
    /// Whether it was reported that the number file holds no number, and it still holds none.
    is_number_reported: bool,
    /// A number file and a number that was written to it and not used, since the log could not be renamed.
    unused: Option<(PathBuf, u64)>,
}

/// A cache of the rotated files, so that a large folder is not listed at each rotation.
#[derive(Debug)]
struct Known {
    /// The log that they belong to.
    rotated_files: RotatedFiles,
    /// The highest number in use.
    highest: u64,
    /// The rotated files, the oldest first. Empty if all are kept.
    files: VecDeque<PathBuf>,
}

impl Known {
    fn new(rotated_files: RotatedFiles, listing: Listing, keep: Option<usize>) -> Self {
        let files = listing.files.into_iter().map(|file| file.path);
        Self {
            rotated_files,
            highest: listing.highest,
            files: files.filter(|_| keep.is_some()).collect(),
        }
    }

    fn add(&mut self, file: &Path, number: u64, keep: Option<usize>) {
        debug_assert!(number > self.highest, "numbers are unique");
        self.highest = number;
        if keep.is_some() {
            self.files.push_back(file.to_owned());
        }
    }
}

/// A completed rotation.
#[derive(Debug)]
pub struct Rotated {
    /// The new name of the old log.
    pub rotated_file: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// Damage found in the new log. Only a file that existed already has any.
    pub damage: Damage,
}

/// Why a rotation failed, or was not completed.
#[derive(Debug)]
pub enum RotationError {
    /// Nothing has changed.
    Refused(io::Error),
    /// The log has the name of this rotated file, but a new log could not be opened. The journal continues in
    /// the rotated file.
    Unopened(PathBuf, io::Error),
    /// See [`CommitError::Fatal`].
    Fatal(io::Error),
}

impl From<CommitError> for RotationError {
    fn from(error: CommitError) -> Self {
        match error {
            // A torn batch has not been answered, and the log stays as it is.
            CommitError::Refused(error) | CommitError::Unknown(error) => Self::Refused(error),
            CommitError::Fatal(error) => Self::Fatal(error),
        }
    }
}

impl From<io::Error> for RotationError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

impl Rotation {
    /// Rotation of the log at `path`, which need not exist. Changes nothing. If `path` is a symbolic link,
    /// its target is rotated. Times without a zone in records are UTC if `utc`, else local. Without `keep`,
    /// all rotated files are kept.
    ///
    /// Returns an error if every rotation would fail: if the folder is not writable, if the name is too long
    /// for that of a rotated file, or if the number file cannot be opened.
    pub fn new(path: &Path, utc: bool, keep: Option<usize>) -> io::Result<Self> {
        let rotated_files = rotated_files_of(path)?;
        rustix::fs::access(rotated_files.folder(), Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| explain(rotated_files.folder(), error))?;
        let longest = rotated_files.path(&time_in_name(OffsetDateTime::UNIX_EPOCH), u64::MAX);
        match longest.symlink_metadata() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listing = rotated_files
            .list()
            .map_err(|error| explain(rotated_files.folder(), error))?;
        let number_path = rotated_files.number_path();
        let mut is_number_reported = false;
        let file = not_found(File::open(&number_path));
        if let Some(file) = file.map_err(|error| explain(&number_path, error))? {
            let given = read_number(&file).map_err(|error| explain(&number_path, error))?;
            is_number_reported = given.is_none();
            report_number(given, &number_path, listing.highest);
        }
        let newest = listing.files[listing.files.len().saturating_sub(MAX_CHECKED)..].iter();
        Ok(Self {
            path: path.to_owned(),
            utc,
            keep,
            newest: newest.map(|file| file.path.clone()).collect(),
            known: Some(Known::new(rotated_files, listing, keep)),
            is_number_synced: false,
            is_number_reported,
            unused: None,
        })
    }

    /// The ownership for a log that does not exist: that of the newest rotated file. A server that was killed
    /// during a rotation leaves no log.
    pub fn ownership_of_missing_log(&self) -> Option<Ownership> {
        let is_there = self.path.metadata().is_ok();
        let newest = self.newest.last().filter(|_| !is_there)?;
        newest.metadata().ok().as_ref().map(Ownership::of)
    }

    /// Checks the newest rotated files for damage: at most 16 files, within the last
    /// `LOOK_BACK_BYTES` of all records. `logged` of these bytes are in the log
    /// itself. Returns the oldest file first. Call it once, at start.
    pub fn find_damage(&mut self, logged: u64) -> Vec<(PathBuf, io::Result<Damage>)> {
        let mut budget = damage::LOOK_BACK_BYTES.saturating_sub(logged);
        let mut found = Vec::new();
        for path in std::mem::take(&mut self.newest).into_iter().rev() {
            if budget == 0 {
                break;
            }
            let looked = File::open(&path).and_then(|file| {
                let length = file.length()?;
                let damage = damage::look_for(&file, length, budget);
                budget = budget.saturating_sub(length);
                damage
            });
            if !looked.as_ref().is_ok_and(Damage::is_none) {
                found.push((path, looked));
            }
        }
        found.reverse();
        found
    }

    /// Discards the cached state of the folder, which may have changed. The next rotation lists it again.
    pub fn forget(&mut self) {
        self.known = None;
        self.is_number_synced = false;
    }

    /// The cached state of the log's folder. Lists the folder if necessary.
    fn known(&mut self) -> io::Result<&mut Known> {
        let rotated_files = rotated_files_of(&self.path)?;
        let known = self
            .known
            .take()
            .filter(|known| known.rotated_files == rotated_files);
        let known = if let Some(known) = known {
            known
        } else {
            let listing = rotated_files.list();
            let listing = listing.map_err(|error| explain(rotated_files.folder(), error))?;
            Known::new(rotated_files, listing, self.keep)
        };
        Ok(self.known.insert(known))
    }

    /// Renames the log that `journal` writes and opens a new one for it. Fails without any change if the log
    /// is empty or its name does not lead to it.
    pub fn rotate<F: Storage>(
        &mut self,
        journal: &mut Journal<F>,
    ) -> Result<Rotated, RotationError> {
        let rotated = self.try_to_rotate(journal);
        if rotated.is_err() {
            self.forget();
        }
        rotated
    }

    fn try_to_rotate<F: Storage>(
        &mut self,
        journal: &mut Journal<F>,
    ) -> Result<Rotated, RotationError> {
        let path = target(&self.path)?;
        journal.take_back()?;
        let length = journal.length()?;
        if length == 0 || !journal.is_at(&path) {
            return Err(io::Error::other("it is empty, or was moved").into());
        }
        // If the server is killed later, it cannot release this space.
        journal.release_reserve();
        if journal.sync {
            journal.file.sync().map_err(RotationError::Fatal)?;
        }
        let begun = self.begun(journal)?.unwrap_or_else(OffsetDateTime::now_utc);
        let (number, keep) = (self.take_number(journal)?, self.keep);
        let known = self.known()?;
        let file = known.rotated_files.path(&time_in_name(begun), number);
        if let Err(error) = rename_to_new(&path, &file) {
            self.unused = Some((known.rotated_files.number_path(), number));
            return Err(error.into());
        }
        known.add(&file, number, keep);
        self.unused = None;
        debug_assert!(length > 0, "an empty log is not rotated");
        match journal.begin_anew(&path) {
            Ok(damage) => Ok(Rotated {
                rotated_file: file,
                length,
                damage,
            }),
            Err(CommitError::Fatal(error)) => Err(RotationError::Fatal(error)),
            Err(CommitError::Refused(error) | CommitError::Unknown(error)) => {
                Err(RotationError::Unopened(file, error))
            }
        }
    }

    /// The time of the log's first record, if one is found.
    pub fn begun<F: Storage>(&self, journal: &Journal<F>) -> io::Result<Option<OffsetDateTime>> {
        let length = journal.length()?.min(BEGINNING_BYTES);
        let mut beginning = vec![0; length as usize];
        journal.file.read_at(&mut beginning, 0)?;
        let now = OffsetDateTime::now_utc();
        let mut lines = beginning.split(|byte| *byte == b'\n');
        Ok(lines.find_map(|line| {
            let time = std::str::from_utf8(record::time(line)?).ok()?;
            clock::moment(time, self.utc, now)
        }))
    }

    /// Whether there are rotated files to delete.
    pub fn has_old(&self) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| self.keep.is_some_and(|keep| known.files.len() > keep))
    }

    /// Deletes the oldest rotated files in excess of `keep`, at most `DELETE_BUDGET` at once. Returns the
    /// number of deleted files.
    pub fn delete_old(&mut self) -> io::Result<u64> {
        let Some(keep) = self.keep else {
            return Ok(0);
        };
        let known = self.known()?;
        let old = known.files.len().saturating_sub(keep).min(DELETE_BUDGET);
        let mut deleted = 0;
        for _ in 0..old {
            let Some(path) = known.files.pop_front() else {
                break;
            };
            match not_found(fs::remove_file(&path)) {
                Ok(gone) => deleted += u64::from(gone.is_some()),
                Err(error) => {
                    self.forget();
                    return Err(explain(&path, error));
                }
            }
        }
        Ok(deleted)
    }

    /// Takes the number of the next rotated file and writes it to the number file.
    fn take_number<F: Storage>(&mut self, journal: &Journal<F>) -> io::Result<u64> {
        let known = self.known()?;
        let (path, highest) = (known.rotated_files.number_path(), known.highest);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let opened = options.mode(PRIVATE).open(&path);
        let file = opened.map_err(|error| explain(&path, error))?;
        let is_new = file.length()? == 0;
        if is_new && let Some(like) = journal.file.ownership() {
            like.give(&file);
        }
        let given = read_number(&file).map_err(|error| explain(&path, error))?;
        if !is_new && !std::mem::replace(&mut self.is_number_reported, given.is_none()) {
            report_number(given, &path, highest);
        }
        // The number file may have been deleted, or lost in a power cut.
        let given = given.unwrap_or(0);
        let unused = self.unused.as_ref().filter(|(of, _)| *of == path);
        let number = match unused {
            Some((_, number)) if *number == given && highest < given => given,
            _ => {
                let next = given.max(highest).checked_add(1);
                next.ok_or_else(|| explain(&path, Errno::OVERFLOW))?
            }
        };
        debug_assert!(number > highest && number >= given && number > 0);
        // Written in place with a constant length, so a server that is killed leaves it complete.
        file.write_all_at(format!("{number:020}\n").as_bytes(), 0)
            .and_then(|()| self.sync_number(&file, &path, is_new, journal.sync))
            .map_err(|error| explain(&path, error))?;
        Ok(number)
    }

    /// Syncs the number file, and its name unless this server has synced it before.
    fn sync_number(
        &mut self,
        file: &File,
        path: &Path,
        is_new: bool,
        sync: bool,
    ) -> io::Result<()> {
        self.is_number_synced &= !is_new;
        if !self.is_number_synced && (sync || is_new) {
            file.sync_with_name(path)?;
            self.is_number_synced = true;
        } else if sync {
            file.sync()?;
        }
        Ok(())
    }
}

impl<F: Storage> Journal<F> {
    /// Continues in a new log at `path`, with the owner, group and mode of the old one.
    fn begin_anew(&mut self, path: &Path) -> Result<Damage, CommitError> {
        // The sync follows below. If it fails, the old log cannot be used either.
        let like = self.file.ownership();
        let opened = Self::open_like(path, Opening::Append, false, like);
        let opened = opened.map_err(CommitError::Refused)?;
        let mut new = opened.journal;
        if self.sync {
            new.file.sync_with_name(path).map_err(CommitError::Fatal)?;
        }
        debug_assert!(self.torn_from.is_none(), "a torn log is not rotated");
        new.sync = self.sync;
        *self = new;
        Ok(opened.damage)
    }
}

/// The file that is renamed: the target if the log's name is a symbolic link.
fn target(path: &Path) -> io::Result<PathBuf> {
    match not_found(path.symlink_metadata())? {
        Some(metadata) if metadata.is_symlink() => path.canonicalize(),
        _ => Ok(path.to_owned()),
    }
}

fn rotated_files_of(path: &Path) -> io::Result<RotatedFiles> {
    RotatedFiles::of(&target(path)?).ok_or_else(|| io::Error::other("not a file name"))
}

/// Renames a file. It is an error if the new name exists.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system supports this.
        Err(Errno::INVAL | Errno::NOSYS) => {}
        renamed => return Ok(renamed?),
    }
    match not_found(to.symlink_metadata())? {
        Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        None => fs::rename(from, to),
    }
}

/// The number that was taken last, or `None` if the file holds no number.
fn read_number(file: &File) -> io::Result<Option<u64>> {
    let mut text = [0; 32];
    let length = FileExt::read_at(file, &mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..length]);
    // A person may have added lines. The first line counts.
    Ok(text.lines().next().unwrap_or_default().trim().parse().ok())
}

/// Warns if the number file holds no number. `highest` is the highest number in a name.
fn report_number(given: Option<u64>, path: &Path, highest: u64) {
    if given.is_none() {
        let (path, next) = (path.display(), highest.saturating_add(1));
        log::warn!(
            "{path} holds no number, as after a power cut: numbers of rotated files go on with {next}, after the \
             highest one in this folder; if later ones were moved elsewhere, write the last number into that file"
        );
    }
}

/// A time as it appears in a rotated file's name.
fn time_in_name(time: OffsetDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = u8::from(month);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn not_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Adds the path to an error.
fn explain(path: impl AsRef<OsStr>, error: impl Into<io::Error>) -> io::Error {
    let (path, error) = (Path::new(path.as_ref()).display(), error.into());
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::journal::Opened;

    struct Log {
        journal: Journal,
        rotation: Rotation,
        path: PathBuf,
    }

    fn record(time: &str, message: &str) -> String {
        format!("INFO\t| {time} --127.0.0.1:49030 recieved: {message}\n")
    }

    impl Log {
        fn open(path: PathBuf, sync: bool) -> Self {
            let rotation = Rotation::new(&path, true, None).unwrap();
            let opened: Opened = Journal::open(&path, Opening::Append, sync).unwrap();
            Self {
                journal: opened.journal,
                rotation,
                path,
            }
        }

        fn write(&mut self, records: &str) {
            self.journal.commit(records.as_bytes(), true).unwrap();
        }

        fn rotate(&mut self) -> Result<Rotated, RotationError> {
            self.rotation.rotate(&mut self.journal)
        }

        /// Writes a record and rotates. Returns the name of the rotated file.
        fn rotated_file(&mut self, time: &str) -> String {
            self.write(&record(time, "hello"));
            let rotated_file = self.rotate().unwrap().rotated_file;
            rotated_file
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        }
    }

    fn log(sync: bool) -> (TempDir, Log) {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path().join("logging.log"), sync);
        (folder, log)
    }

    /// The names in a folder, without the number file.
    fn names(folder: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let name =
            |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = entries
            .map(name)
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_log_becomes_a_rotated_file_and_a_new_one_is_begun() {
        for sync in [false, true] {
            let (folder, mut log) = log(sync);
            let before =
                record("2026-11-25 03:35:12", "before") + &record("2026-11-25 03:35:13", "b");
            log.write(&before);
            let rotated = log.rotate().unwrap();
            let rotated_file = "logging-20261125T033512Z-000001.log";
            assert_eq!(rotated.rotated_file, folder.path().join(rotated_file));
            assert_eq!(rotated.length, before.len() as u64);
            assert!(rotated.damage.is_none());
            let after = record("2026-11-25 03:35:14", "after");
            log.write(&after);
            assert_eq!(names(&folder), [rotated_file, "logging.log"]);
            assert_eq!(fs::read_to_string(&rotated.rotated_file).unwrap(), before);
            assert_eq!(fs::read_to_string(&log.path).unwrap(), after);
            // The new log is locked, and disk space is reserved for it.
            let other = Journal::<File>::open(&log.path, Opening::Append, false);
            assert_eq!(
                other.unwrap_err().to_string(),
                "another server is writing it"
            );
            assert_eq!(log.journal.syncs(), sync);
        }
    }

    /// The number grows across restarts, even if rotated files or the number file were deleted.
    #[test]
    fn a_number_is_never_given_twice() {
        const TIME: &str = "2026-11-25 03:35:12";
        let (folder, mut log) = log(false);
        assert_eq!(
            log.rotated_file(TIME),
            "logging-20261125T033512Z-000001.log"
        );
        assert_eq!(
            log.rotated_file(TIME),
            "logging-20261125T033512Z-000002.log"
        );
        for name in names(&folder) {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        let path = log.path.clone();
        let mut log = Log::open(path.clone(), false);
        assert_eq!(
            log.rotated_file(TIME),
            "logging-20261125T033512Z-000003.log"
        );
        // Without the number file, the names give the number.
        let number = folder.path().join(".logging.log.number");
        fs::remove_file(&number).unwrap();
        assert_eq!(
            log.rotated_file(TIME),
            "logging-20261125T033512Z-000004.log"
        );
        assert_eq!(
            fs::read_to_string(&number).unwrap(),
            "00000000000000000004\n"
        );
        // The next name is that of a folder. It is left alone, and the parent folder is listed again.
        fs::create_dir(folder.path().join("logging-20261125T033512Z-000005.log")).unwrap();
        log.write(&record(TIME, "hello"));
        let refused = log.rotate().unwrap_err();
        assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
        assert_eq!(
            log.rotated_file(TIME),
            "logging-20261125T033512Z-000006.log"
        );
        fs::write(&number, u64::MAX.to_string()).unwrap();
        let refused = log.rotate().unwrap_err();
        assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
        // If the number file holds no number, the names give it.
        let mut next = 7;
        for damaged in ["", "\0\0\0\0", "six\n", "-1", "\0\0\x007\n"] {
            fs::write(&number, damaged).unwrap();
            for is_new_server in [false, true] {
                if is_new_server {
                    drop(log);
                    log = Log::open(path.clone(), false);
                }
                let expected = format!("logging-20261125T033512Z-{next:06}.log");
                assert_eq!(log.rotated_file(TIME), expected, "{damaged:?}");
                fs::write(&number, damaged).unwrap();
                next += 1;
            }
        }
    }

    /// The folder is listed at start, and again after an error or after `forget`.
    #[test]
    fn the_folder_is_not_listed_at_each_rotation() {
        const TIME: &str = "2026-11-25 03:35:12";
        let (folder, mut log) = log(false);
        log.rotated_file(TIME);
        let other = folder.path().join("logging-20261125T033511Z-000050.log");
        fs::write(other, "").unwrap();
        assert_eq!(
            log.rotated_file(TIME),
            "logging-20261125T033512Z-000002.log"
        );
        log.rotation.forget();
        assert_eq!(
            log.rotated_file(TIME),
            "logging-20261125T033512Z-000051.log"
        );
        fs::write(
            folder.path().join("logging-20261125T033511Z-000060.log"),
            "",
        )
        .unwrap();
        // An empty log is not rotated; that is an error.
        assert!(log.rotate().is_err());
        assert_eq!(
            log.rotated_file(TIME),
            "logging-20261125T033512Z-000061.log"
        );
    }

    #[test]
    fn no_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::write(&from, "from").unwrap();
        fs::write(&to, "to").unwrap();
        let error = rename_to_new(&from, &to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "to");
        fs::remove_file(&to).unwrap();
        rename_to_new(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "from");
    }

    #[test]
    fn damage_in_the_newest_rotated_files_is_found() {
        let (folder, mut log) = log(false);
        let nuls = "\0".repeat(5000);
        for n in 0..MAX_CHECKED + 2 {
            let file = log.rotated_file(&format!("2026-11-25 03:35:{n:02}"));
            let whole = record("2026-11-25 03:35:12", "hello");
            let content = match n {
                0 | 5 => format!("{whole}{nuls}\n{whole}"),
                9 => format!("{whole}torn"),
                _ => whole,
            };
            fs::write(folder.path().join(file), content).unwrap();
        }
        let mut rotation = Rotation::new(&log.path, true, None).unwrap();
        let found = rotation.find_damage(0);
        let numbers: Vec<_> = found
            .iter()
            .map(|(path, damage)| {
                let damage = damage.as_ref().unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                (
                    name[25..31].parse().unwrap(),
                    damage.lines,
                    damage.ended_last,
                )
            })
            .collect();
        // The first file is older than what is checked.
        assert_eq!(numbers, [(6, 1, false), (10, 0, true)]);
        let mut rotation = Rotation::new(&log.path, true, None).unwrap();
        assert!(rotation.find_damage(damage::LOOK_BACK_BYTES).is_empty());
        // The two newest files, and no more of the third than the budget allows.
        let mut rotation = Rotation::new(&log.path, true, None).unwrap();
        let size = rotation.newest[0].metadata().unwrap().len();
        assert!(
            rotation
                .find_damage(damage::LOOK_BACK_BYTES - 2 * size)
                .is_empty()
        );
    }

    /// The server was killed after the rename, before the next log was opened.
    #[test]
    fn a_log_that_is_not_there_has_the_ownership_of_the_newest_rotated_file() {
        let (folder, mut log) = log(false);
        let file = folder.path().join(log.rotated_file("2026-11-25 03:35:12"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let rotation = Rotation::new(&log.path, true, None).unwrap();
        assert_eq!(rotation.ownership_of_missing_log(), None);
        fs::remove_file(&log.path).unwrap();
        let expected = Ownership::of(&file.metadata().unwrap());
        assert_eq!(rotation.ownership_of_missing_log(), Some(expected));
    }

    /// A rename that fails uses up no number and changes nothing. It works when it is possible again.
    #[test]
    fn what_cannot_be_renamed_stays() {
        let folder = tempfile::tempdir().unwrap();
        // Short enough for the log and the number file, too long for a rotated file.
        let path = folder.path().join("x".repeat(240));
        let error = Rotation::new(&path, true, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename, "{error}");
        let opened: Opened = Journal::open(&path, Opening::Append, true).unwrap();
        let rotation = Rotation {
            path: path.clone(),
            utc: true,
            keep: None,
            known: None,
            newest: Vec::new(),
            is_number_synced: false,
            is_number_reported: false,
            unused: None,
        };
        let journal = opened.journal;
        let mut log = Log {
            journal,
            rotation,
            path,
        };
        let mut expected = String::new();
        for n in 0..3 {
            let text = record("2026-11-25 03:35:12", &n.to_string());
            log.write(&text);
            expected += &text;
            let refused = log.rotate().unwrap_err();
            assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
            assert_eq!(fs::read_to_string(&log.path).unwrap(), expected);
            assert_eq!(log.rotation.unused.as_ref().unwrap().1, 1);
        }
        assert_eq!(names(&folder).len(), 1);
    }

    #[test]
    fn a_number_that_was_not_used_is_used_once() {
        let (folder, mut log) = log(false);
        let number = folder.path().join(".logging.log.number");
        fs::write(&number, "7\n").unwrap();
        log.rotation.unused = Some((number, 7));
        for expected in [7, 8] {
            let rotated_file = log.rotated_file("2026-11-25 03:35:12");
            assert_eq!(
                rotated_file,
                format!("logging-20261125T033512Z-{expected:06}.log")
            );
            fs::remove_file(folder.path().join(rotated_file)).unwrap();
        }
    }

    #[test]
    fn what_is_empty_or_somebody_elses_is_left_alone() {
        let (folder, mut log) = log(false);
        assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
        log.write(&record("2026-11-25 03:35:12", "mine"));
        fs::rename(&log.path, folder.path().join("mine")).unwrap();
        fs::write(&log.path, "another's").unwrap();
        assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
        assert_eq!(names(&folder), ["logging.log", "mine"]);
    }

    /// The new log cannot be opened in place of the old one. No record is lost, and the old file is still
    /// written.
    #[test]
    fn a_new_log_that_cannot_be_opened_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logging.log");
        let mut log = Log::open(path.clone(), false);
        log.write(&record("2026-11-25 03:35:12", "before"));
        let rotated_file = folder.path().join("rotated file");
        fs::rename(&path, &rotated_file).unwrap();
        fs::create_dir(&path).unwrap();
        let refused = log.journal.begin_anew(&path).unwrap_err();
        assert!(matches!(refused, CommitError::Refused(_)), "{refused:?}");
        log.write("after\n");
        assert!(
            fs::read_to_string(rotated_file)
                .unwrap()
                .ends_with("before\nafter\n")
        );
    }

    #[test]
    fn the_name_tells_the_time_of_the_first_record_that_there_is() {
        let (_folder, mut log) = log(false);
        log.write("\0\0\0\nlf: torn\n");
        log.write("{\"time\":\"2026-11-25T03:35:12.123456+01:00\",\"peer\":\"[::1]:4\",\"error\":\"log\"}\n");
        assert_eq!(
            log.rotated_file("2026-11-25 09:00:00"),
            "logging-20261125T023512Z-000001.log"
        );
        // Longer than the bytes that are searched.
        log.write(&record("2026-11-25 03:35:13", &"x".repeat(100_000)));
        let begun = log.rotation.begun(&log.journal).unwrap().unwrap();
        assert_eq!(time_in_name(begun), "20261125T033513Z");
        log.rotate().unwrap();
        let before = OffsetDateTime::now_utc().unix_timestamp();
        log.write("no record at all\n");
        assert_eq!(log.rotation.begun(&log.journal).unwrap(), None);
        let rotated_file = log.rotate().unwrap().rotated_file;
        let name = rotated_file.to_str().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(before).unwrap();
        let minute = &time_in_name(now)[..8];
        assert!(name.contains(&format!("logging-{minute}")), "{name}");
    }

    #[test]
    fn only_old_rotated_files_of_its_own_are_deleted() {
        let (folder, mut log) = log(false);
        for second in 0..5 {
            log.rotated_file(&format!("2026-11-25 03:35:1{second}"));
        }
        let others = [
            "logging-20261125T033510Z-000001.log.gz",
            "logging-20261125T033510Z-000001.txt",
            "logging.log.1",
            "other-20261125T033510Z-000001.log",
        ];
        for other in others {
            fs::write(folder.path().join(other), "").unwrap();
        }
        let delete = |keep| {
            let mut rotation = Rotation::new(&log.path, true, Some(keep)).unwrap();
            rotation.delete_old().unwrap()
        };
        assert_eq!(delete(7), 0);
        assert_eq!(delete(2), 3);
        let mut left = others.map(str::to_owned).to_vec();
        left.extend(
            [
                "logging-20261125T033513Z-000004.log",
                "logging-20261125T033514Z-000005.log",
                "logging.log",
            ]
            .map(str::to_owned),
        );
        left.sort();
        assert_eq!(names(&folder), left);
        assert_eq!(delete(1), 1);
    }

    #[test]
    fn many_old_files_are_deleted_little_by_little() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logging.log");
        let rotated_files = RotatedFiles::of(&path).unwrap();
        for number in 1..=2 * DELETE_BUDGET as u64 {
            fs::write(rotated_files.path("20261125T033512Z", number), "").unwrap();
        }
        let mut rotation = Rotation::new(&path, true, Some(3)).unwrap();
        for expected in [DELETE_BUDGET, DELETE_BUDGET - 3] {
            assert!(rotation.has_old());
            assert_eq!(rotation.delete_old().unwrap(), expected as u64);
        }
        assert!(!rotation.has_old());
        let left: Vec<_> = rotated_files
            .find()
            .unwrap()
            .iter()
            .map(|file| file.number)
            .collect();
        assert_eq!(left, [126, 127, 128]);
        // Another program deletes it.
        fs::remove_file(rotated_files.path("20261125T033512Z", 126)).unwrap();
        rotation.keep = Some(1);
        assert_eq!(rotation.delete_old().unwrap(), 1);
    }

    #[test]
    fn of_a_link_the_file_is_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let data = tempfile::tempdir().unwrap();
        let link = folder.path().join("logging.log");
        symlink(data.path().join("real.log"), &link).unwrap();
        fs::write(data.path().join("real.log"), "").unwrap();
        let mut log = Log::open(link.clone(), true);
        assert_eq!(
            log.rotated_file("2026-11-25 03:35:12"),
            "real-20261125T033512Z-000001.log"
        );
        log.write(&record("2026-11-25 03:35:13", "after"));
        assert_eq!(
            names(&data),
            ["real-20261125T033512Z-000001.log", "real.log"]
        );
        assert!(fs::read_to_string(link).unwrap().ends_with("after\n"));
    }

    #[test]
    fn the_new_log_is_open_to_whom_the_old_one_was() {
        let (_folder, mut log) = log(false);
        fs::set_permissions(&log.path, fs::Permissions::from_mode(0o600)).unwrap();
        // Only root may give a file to any group.
        let is_given = std::os::unix::fs::chown(&log.path, None, Some(4321)).is_ok();
        log.rotated_file("2026-11-25 03:35:12");
        let new = log.path.metadata().unwrap();
        assert_eq!(new.permissions().mode() & 0o777, 0o600);
        assert_eq!(new.gid() == 4321, is_given);
        let number = log.path.with_file_name(".logging.log.number");
        let number = number.metadata().unwrap();
        assert_eq!(Ownership::of(&number), Ownership::of(&new));
    }

    #[test]
    fn reserved_space_is_given_back_before_the_log_is_renamed() {
        let (_folder, mut log) = log(false);
        log.write(&record("2026-11-25 03:35:12", "before"));
        assert!(log.journal.reserved_bytes > 0 && log.journal.reserves);
        log.rotate().unwrap();
        assert_eq!(log.journal.reserved_bytes, 0);
        log.write(&record("2026-11-25 03:35:13", "after"));
        assert!(log.journal.reserved_bytes > 0, "for the new one");
        // A rename that fails must not stop reserving.
        log.rotation.path = log.path.with_file_name("elsewhere");
        assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
        assert!(log.journal.reserves);
    }
}
