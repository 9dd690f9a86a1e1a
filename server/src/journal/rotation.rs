//! Rotation of the log: when it reaches a limit, it is renamed, a new one is created in its place, and old
//! rotated files are deleted. Failures and recoveries are reported.
//!
//! - [`policy`]: when to rotate, and how many rotated files to keep; no I/O
//! - `rename`: the steps on the file system, each of which leaves the log whole
//! - [`folder`]: the rotated files that exist; `number`: the number file

mod errors;
pub mod folder;
mod number;
pub mod policy;
mod rename;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use common::rate_limit::RateLimit;
use common::units::plural;
use time::OffsetDateTime;

use super::{Journal, Storage};
use folder::Folder;
use policy::{Policy, Schedule};
use rename::{Renamer, Rotated, RotationError};

/// The interval between reports that rotating fails.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The rotation of one log.
#[derive(Debug)]
pub struct Rotation {
    renamer: Renamer,
    schedule: Schedule,
    errors: RateLimit,
    /// Rotations since the start.
    pub count: u64,
}

impl Rotation {
    /// Rotation of the log at `path`, which need not exist. Changes nothing. If `path` is a symbolic link,
    /// its target is rotated. Times without a zone in records are UTC if `utc`, else local.
    ///
    /// Returns an error if every rotation would fail: if the folder is not writable, if the name is too long
    /// for that of a rotated file, or if the number file cannot be opened.
    pub fn new(path: &Path, utc: bool, policy: Policy) -> io::Result<Self> {
        Ok(Self {
            renamer: Renamer::new(path, utc, policy.keep)?,
            schedule: Schedule::new(policy),
            errors: RateLimit::new(REPORT_INTERVAL),
            count: 0,
        })
    }

    /// The folder of the log.
    pub fn folder(&mut self) -> &mut Folder {
        &mut self.renamer.folder
    }

    /// When the log is to be rotated, as far as it is known now. An empty log never is.
    pub fn due(&self) -> Option<Instant> {
        self.schedule.due()
    }

    /// Whether the log is to be rotated now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| now >= due)
    }

    /// Begins with a log that was just opened by its name: its folder may be another one.
    pub fn reopened<F: Storage>(&mut self, journal: &Journal<F>, now: Instant) {
        self.renamer.forget();
        self.begin(journal, now);
    }

    /// Begins with a log that was just opened.
    pub fn begin<F: Storage>(&mut self, journal: &Journal<F>, now: Instant) {
        self.schedule.restart();
        self.poll(journal, 0, now);
    }

    /// Checks the log after it has grown by `grown_by` bytes. Another program may have truncated it.
    pub fn poll<F: Storage>(&mut self, journal: &Journal<F>, grown_by: u64, now: Instant) {
        // Without the length nothing can be decided. The next commit polls again.
        let Ok(length) = journal.length() else {
            return;
        };
        let renamer = &self.renamer;
        let age = || age_of(renamer.first_time(journal).ok().flatten());
        self.schedule.poll(length, grown_by, now, age);
    }

    /// Rotates the log and reports it. A failure is reported at most once a minute. Returns whether the
    /// journal writes the log that has its name: if no new log could be opened, it continues in the rotated
    /// file.
    ///
    /// # Errors
    /// A sync failed. No later result can be trusted.
    pub fn rotate<F: Storage>(
        &mut self,
        journal: &mut Journal<F>,
        now: Instant,
    ) -> io::Result<bool> {
        match self.renamer.rotate(journal) {
            Ok(rotated) => {
                self.count += 1;
                self.report(&rotated);
                self.begin(journal, now);
                self.delete_old(now);
            }
            Err(RotationError::Refused(error)) => {
                self.schedule.retry_later(now);
                if let Some(ending) = self.errors.allow(now) {
                    let log = self.renamer.folder.log.display();
                    log::error!("cannot rotate {log}: {error}; records go on into it{ending}");
                }
            }
            Err(RotationError::Unopened(rotated_file, error)) => {
                self.count += 1;
                let log = self.renamer.folder.log.display();
                let rotated_file = rotated_file.display();
                log::error!(
                    "cannot begin a new {log}: {error}; records go on into {rotated_file}, and the new log is \
                     tried again every second"
                );
                return Ok(false);
            }
            Err(RotationError::Fatal(error)) => return Err(error),
        }
        Ok(true)
    }

    fn report(&self, rotated: &Rotated) {
        let log = self.renamer.folder.log.display();
        let (rotated_file, bytes) = (rotated.file.display(), plural(rotated.length, "byte"));
        let level = if self.schedule.has_failed() { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{log}: rotated, {bytes} are in {rotated_file} now");
        if !rotated.damage.is_none() {
            log::warn!("{log}: {}", rotated.damage);
        }
    }

    /// Whether there are rotated files to delete, more than one call deletes.
    pub fn has_old(&self) -> bool {
        self.renamer.folder.has_old()
    }

    /// Deletes rotated files in excess of `-keep`, within a budget.
    pub fn delete_old(&mut self, now: Instant) {
        let deleted = self.renamer.folder.delete_old();
        if deleted.is_err() {
            self.renamer.forget();
        }
        let log = self.renamer.folder.log.display();
        match deleted {
            Ok(0) => {}
            Ok(deleted) => {
                let rotated_files = plural(deleted, "rotated file");
                let keep = self.renamer.folder.keep.unwrap_or_default();
                log::info!("{log}: deleted {rotated_files}, -keep {keep} keeps the others");
            }
            Err(error) => {
                if let Some(ending) = self.errors.allow(now) {
                    log::error!(
                        "{log}: cannot delete old rotated files: {error}; tried again at the next rotation{ending}"
                    );
                }
            }
        }
    }
}

/// How long ago the first record of a log was written, if its time is known. A record from the future counts
/// as new: the clock was set back.
fn age_of(first: Option<OffsetDateTime>) -> Duration {
    let age = first.map(|first| OffsetDateTime::now_utc() - first);
    age.and_then(|age| age.try_into().ok()).unwrap_or_default()
}
