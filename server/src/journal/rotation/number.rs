//! The number file of a log. It keeps the number of the last rotated file, so that numbers stay unique even if
//! all rotated files are deleted.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::errors::{at, not_found};
use crate::journal::ownership::{Ownership, PRIVATE};
use crate::journal::storage::Storage as _;

/// The state of the number file.
#[derive(Debug, Default)]
pub(super) struct NumberFile {
    /// Whether the file and its name are synced.
    is_synced: bool,
    /// Whether it was reported that the file holds no number, and it still holds none.
    is_reported: bool,
    /// A number file and a number that was written to it and not used, since the log could not be renamed.
    unused: Option<(PathBuf, u64)>,
}

impl NumberFile {
    /// Reads the file at `path`, which need not exist. Warns if it holds no number; `highest` is the highest
    /// number in the name of a rotated file.
    pub(super) fn check(path: &Path, highest: u64) -> io::Result<Self> {
        let mut checked = Self::default();
        if let Some(file) = not_found(File::open(path)).map_err(at(path))? {
            let number = read(&file).map_err(at(path))?;
            checked.is_reported = number.is_none();
            report(number, path, highest);
        }
        Ok(checked)
    }

    /// Takes the next number and writes it to the file at `path`. A new file gets the ownership `like`. With
    /// `sync`, the number is synced.
    pub(super) fn take(
        &mut self,
        path: &Path,
        highest: u64,
        like: Option<Ownership>,
        sync: bool,
    ) -> io::Result<u64> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(PRIVATE).open(path).map_err(at(path))?;
        let is_new = file.length()? == 0;
        if is_new && let Some(like) = like {
            like.give(&file);
        }
        let last = read(&file).map_err(at(path))?;
        if !is_new && !std::mem::replace(&mut self.is_reported, last.is_none()) {
            report(last, path, highest);
        }
        // The file may have been deleted, or lost in a power cut.
        let last = last.unwrap_or(0);
        let is_unused = |(file, number): &(PathBuf, u64)| file == path && *number == last;
        let number = if highest < last && self.unused.as_ref().is_some_and(is_unused) {
            last
        } else {
            let next = last.max(highest).checked_add(1);
            next.ok_or_else(|| at(path)(Errno::OVERFLOW.into()))?
        };
        debug_assert!(number > highest && number >= last && number > 0);
        // Written in place with a constant length, so a server that is killed leaves it complete.
        file.write_all_at(format!("{number:020}\n").as_bytes(), 0)
            .and_then(|()| self.sync(&file, path, is_new, sync))
            .map_err(at(path))?;
        Ok(number)
    }

    /// Returns a number that [`take`](Self::take) has given for the file at `path`. It is taken again.
    pub(super) fn put_back(&mut self, path: PathBuf, number: u64) {
        self.unused = Some((path, number));
    }

    /// The number that was taken is in use.
    pub(super) fn used(&mut self) {
        self.unused = None;
    }

    /// The file at the path may have become another one.
    pub(super) fn forget(&mut self) {
        self.is_synced = false;
    }

    /// Syncs the file, and its name unless this server has synced it before.
    fn sync(&mut self, file: &File, path: &Path, is_new: bool, sync: bool) -> io::Result<()> {
        self.is_synced &= !is_new;
        if !self.is_synced && (sync || is_new) {
            file.sync_with_name(path)?;
            self.is_synced = true;
        } else if sync {
            file.sync()?;
        }
        Ok(())
    }
}

/// The number that was taken last, or `None` if the file holds no number.
fn read(file: &File) -> io::Result<Option<u64>> {
    let mut text = [0; 32];
    let length = FileExt::read_at(file, &mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..length]);
    // A person may have added lines. The first line counts.
    Ok(text.lines().next().unwrap_or_default().trim().parse().ok())
}

/// Warns if the number file holds no number. `highest` is the highest number in a name.
fn report(number: Option<u64>, path: &Path, highest: u64) {
    if number.is_none() {
        let (path, next) = (path.display(), highest.saturating_add(1));
        log::warn!(
            "{path} holds no number, as after a power cut: numbers of rotated files go on with {next}, after the \
             highest one in this folder; if later ones were moved elsewhere, write the last number into that file"
        );
    }
}
