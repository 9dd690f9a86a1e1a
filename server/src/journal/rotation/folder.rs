//! The rotated files in the folder of a log.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use common::rotated_files::{Listing, RotatedFile, RotatedFiles};
use rustix::fs::Access;
use time::OffsetDateTime;

use super::errors::{at, not_found};
use crate::journal::damage::{self, Damage};
use crate::journal::ownership::Ownership;
use crate::journal::storage::Storage as _;

/// How many old files are deleted at once, since deleting blocks the event loop.
pub(super) const DELETE_BUDGET: usize = 64;

/// How many rotated files are checked at start.
pub(super) const MAX_CHECKED: usize = 16;

/// The folder of a log. What is in it is cached, so that a large folder is not listed at each rotation.
#[derive(Debug)]
pub struct Folder {
    /// The path of the log.
    pub(super) log: PathBuf,
    /// The number of rotated files to keep. `None` keeps all.
    pub(super) keep: Option<usize>,
    /// `None`: the folder is listed before the next rotation.
    known: Option<Known>,
    /// The rotated files to check at start, the newest first.
    pub(super) newest: Vec<PathBuf>,
}

/// The content of the folder.
#[derive(Debug)]
pub(super) struct Known {
    /// The log that they belong to.
    pub(super) rotated_files: RotatedFiles,
    /// The files, and the highest number in use. No files if all are kept.
    pub(super) listing: Listing,
}

impl Folder {
    /// The folder of the log at `log`. Changes nothing. Returns an error if no rotated file could be created
    /// there.
    pub(super) fn open(log: &Path, keep: Option<usize>) -> io::Result<Self> {
        let rotated_files = rotated_files_of(log)?;
        let folder = rotated_files.folder();
        rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| at(folder)(error.into()))?;
        let longest = rotated_files.path(&time_in_name(OffsetDateTime::UNIX_EPOCH), u64::MAX);
        not_found(longest.symlink_metadata())?;
        let listing = list(&rotated_files)?;
        let newest = listing.files.iter().rev().take(MAX_CHECKED);
        Ok(Self {
            log: log.to_owned(),
            keep,
            newest: newest.map(|file| file.path.clone()).collect(),
            known: Some(Known::new(rotated_files, listing, keep)),
        })
    }

    /// The ownership for a log that does not exist: that of the newest rotated file. A server that was killed
    /// during a rotation leaves no log.
    pub fn ownership_of_missing_log(&self) -> Option<Ownership> {
        let is_there = self.log.metadata().is_ok();
        let newest = self.newest.first().filter(|_| !is_there)?;
        newest.metadata().ok().as_ref().map(Ownership::of)
    }

    /// Checks the newest rotated files for damage: at most 16 files, within the last
    /// `LOOK_BACK_BYTES` of all records. `logged` of these bytes are in the log
    /// itself. Returns the oldest file first. Call it once, at start.
    pub fn find_damage(&mut self, logged: u64) -> Vec<(PathBuf, io::Result<Damage>)> {
        let mut budget = damage::LOOK_BACK_BYTES.saturating_sub(logged);
        let mut found = Vec::new();
        for path in std::mem::take(&mut self.newest) {
            if budget == 0 {
                break;
            }
            let checked = File::open(&path).and_then(|file| {
                let length = file.length()?;
                let damage = damage::look_for(&file, length, budget);
                budget = budget.saturating_sub(length);
                damage
            });
            if !checked.as_ref().is_ok_and(Damage::is_none) {
                found.push((path, checked));
            }
        }
        found.reverse();
        found
    }

    /// Discards the cached content. The next rotation lists the folder again.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// The content of the folder. Lists it if necessary.
    pub(super) fn known(&mut self) -> io::Result<&mut Known> {
        let rotated_files = rotated_files_of(&self.log)?;
        let is_current = |known: &Known| known.rotated_files == rotated_files;
        let known = if let Some(known) = self.known.take().filter(is_current) {
            known
        } else {
            let listing = list(&rotated_files)?;
            Known::new(rotated_files, listing, self.keep)
        };
        Ok(self.known.insert(known))
    }

    /// Adds a rotated file that was created.
    pub(super) fn add(&mut self, file: &Path, number: u64) {
        if let Some(known) = &mut self.known {
            let listing = &mut known.listing;
            debug_assert!(number > listing.highest, "numbers are unique");
            listing.highest = number;
            let path = file.to_owned();
            let kept = self.keep.map(|_| RotatedFile { number, path });
            listing.files.extend(kept);
        }
    }

    /// Whether there are rotated files to delete.
    pub(super) fn has_old(&self) -> bool {
        let files = self.known.as_ref().map(|known| known.listing.files.len());
        files.zip(self.keep).is_some_and(|(files, keep)| files > keep)
    }

    /// Deletes the oldest rotated files in excess of `keep`, at most `DELETE_BUDGET` at once. Returns the
    /// number of deleted files.
    pub(super) fn delete_old(&mut self) -> io::Result<u64> {
        let Some(keep) = self.keep else {
            return Ok(0);
        };
        let files = &mut self.known()?.listing.files;
        let old = files.len().saturating_sub(keep).min(DELETE_BUDGET);
        let mut deleted = 0;
        for RotatedFile { path, .. } in files.drain(..old) {
            let removed = not_found(fs::remove_file(&path)).map_err(at(&path))?;
            deleted += u64::from(removed.is_some());
        }
        Ok(deleted)
    }
}

impl Known {
    fn new(rotated_files: RotatedFiles, mut listing: Listing, keep: Option<usize>) -> Self {
        if keep.is_none() {
            listing.files = Vec::new();
        }
        Self { rotated_files, listing }
    }
}

/// The file that is renamed: the target if the log's name is a symbolic link.
pub(super) fn target(path: &Path) -> io::Result<PathBuf> {
    match not_found(path.symlink_metadata())? {
        Some(metadata) if metadata.is_symlink() => path.canonicalize(),
        _ => Ok(path.to_owned()),
    }
}

fn list(rotated_files: &RotatedFiles) -> io::Result<Listing> {
    rotated_files.list().map_err(at(rotated_files.folder()))
}

fn rotated_files_of(path: &Path) -> io::Result<RotatedFiles> {
    RotatedFiles::of(&target(path)?).ok_or_else(|| io::Error::other("not a file name"))
}

/// A time as it appears in a rotated file's name.
pub(super) fn time_in_name(time: OffsetDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = u8::from(month);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}
