//! The steps of a rotation on the file system. Every step leaves the log whole. A server that is killed
//! between two steps has lost, repeated or split no record:
//!
//! 1. With `-sync`, the log is synced: its content is on the disk before its name changes.
//! 2. The number of the new rotated file is written to the number file, so that it is unique. A server that is
//!    killed now leaves it unused. A new number file is synced together with its name, with or without `-sync`.
//! 3. The log is renamed. A server that is killed now leaves no log, and the next start creates one.
//! 4. A new log is opened and locked. With `-sync`, it and the folder that has both names are synced.
//! 5. Rotated files in excess of `-keep` are deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::record;
#[cfg(target_os = "linux")]
use rustix::fs::{CWD, RenameFlags};
#[cfg(target_os = "linux")]
use rustix::io::Errno;
use time::OffsetDateTime;

use super::errors::not_found;
use super::folder::{Folder, target, time_in_name};
use super::number::NumberFile;
use crate::clock;
use crate::journal::damage::Damage;
use crate::journal::storage::Storage;
use crate::journal::{CommitError, Journal, Opening};

/// How many bytes of a log are searched for its first record. A power cut may have left other bytes before
/// it.
const BEGINNING_BYTES: u64 = 64 << 10;

/// A completed rotation.
#[derive(Debug)]
pub(super) struct Rotated {
    /// The new name of the old log.
    pub(super) file: PathBuf,
    /// Its length in bytes.
    pub(super) length: u64,
    /// Damage found in the new log. Only a file that existed already has any.
    pub(super) damage: Damage,
}

/// Why a rotation failed, or was not completed.
#[derive(Debug)]
pub(super) enum RotationError {
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

/// Renames a log to rotated files.
#[derive(Debug)]
pub(super) struct Renamer {
    pub(super) folder: Folder,
    pub(super) number: NumberFile,
    /// Whether times without a zone in records are UTC.
    utc: bool,
}

impl Renamer {
    /// See [`Rotation::new`](super::Rotation::new).
    pub(super) fn new(path: &Path, utc: bool, keep: Option<usize>) -> io::Result<Self> {
        let mut folder = Folder::open(path, keep)?;
        let known = folder.known()?;
        let number = NumberFile::check(&known.rotated_files.number_path(), known.listing.highest)?;
        Ok(Self { folder, number, utc })
    }

    /// Discards the cached state of the folder, which may have changed.
    pub(super) fn forget(&mut self) {
        self.folder.forget();
        self.number.forget();
    }

    /// Renames the log that `journal` writes and opens a new one for it. Fails without any change if the log
    /// is empty or its name does not lead to it.
    pub(super) fn rotate<F: Storage>(
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
        let path = target(&self.folder.log)?;
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
        let rotated_file = self.rename(&path, journal)?;
        match journal.begin_anew(&path) {
            Ok(damage) => Ok(Rotated { file: rotated_file, length, damage }),
            Err(CommitError::Fatal(error)) => Err(RotationError::Fatal(error)),
            Err(CommitError::Refused(error) | CommitError::Unknown(error)) => {
                Err(RotationError::Unopened(rotated_file, error))
            }
        }
    }

    /// Takes a number and renames the log at `path`. Returns its new name.
    fn rename<F: Storage>(&mut self, path: &Path, journal: &Journal<F>) -> io::Result<PathBuf> {
        let first_time = self.first_time(journal)?;
        let time = time_in_name(first_time.unwrap_or_else(OffsetDateTime::now_utc));
        let known = self.folder.known()?;
        let number_path = known.rotated_files.number_path();
        let like = journal.file.ownership();
        let number = self.number.take(&number_path, known.listing.highest, like, journal.sync)?;
        let rotated_file = known.rotated_files.path(&time, number);
        if let Err(error) = rename_to_new(path, &rotated_file) {
            self.number.put_back(number_path, number);
            return Err(error);
        }
        self.number.used();
        self.folder.add(&rotated_file, number);
        Ok(rotated_file)
    }

    /// The time of the log's first record, if one is found.
    pub(super) fn first_time<F: Storage>(
        &self,
        journal: &Journal<F>,
    ) -> io::Result<Option<OffsetDateTime>> {
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
}

impl<F: Storage> Journal<F> {
    /// Continues in a new log at `path`, with the owner, group and mode of the old one.
    pub(super) fn begin_anew(&mut self, path: &Path) -> Result<Damage, CommitError> {
        // The sync follows below. If it fails, the old log cannot be used either.
        let like = self.file.ownership();
        let opened = Self::open(path, Opening::Append, false, like);
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

/// Renames a file. It is an error if the new name exists.
pub(super) fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
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
