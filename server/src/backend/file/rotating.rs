//! The schedule of rotations, and the reports about them.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use common::units::plural;
use time::OffsetDateTime;

use crate::journal::rotation::{Rotated, Rotation, RotationError};
use crate::journal::{Journal, Storage};
use common::rate_limit::RateLimit;

/// The pause after a failed attempt.
const RETRY: Duration = Duration::from_secs(1);

/// The interval between reports that rotating fails.
const COMPLAINT: Duration = Duration::from_secs(60);

/// When a log is rotated, and how many rotated files are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Rotate when the log reaches this size in bytes.
    pub size: Option<u64>,
    /// Rotate when the oldest record reaches this age.
    pub age: Option<Duration>,
    /// How many rotated files are kept. `None` keeps all.
    pub keep: Option<usize>,
}

impl Limits {
    /// Whether the log is rotated at all.
    pub fn rotates(&self) -> bool {
        self.size.is_some() || self.age.is_some()
    }
}

/// The result of a rotation attempt.
#[derive(Debug)]
pub(super) enum RotationResult {
    /// The journal continues in a new log, or in the present one if rotating is not possible now.
    Continues,
    /// The log has been renamed, and the journal continues in the rotated file until a log can be opened by
    /// its name.
    Unopened,
    /// A sync failed. No later result can be trusted.
    Fatal(io::Error),
}

/// Decides when the log is rotated.
#[derive(Debug)]
pub(super) struct Rotating {
    rotation: Rotation,
    limits: Limits,
    /// Since when the log has reached the size limit.
    full_since: Option<Instant>,
    /// When its first record reaches the age limit.
    too_old_at: Option<Instant>,
    /// After a failed attempt: when the next one may begin.
    retry_at: Option<Instant>,
    complaint: RateLimit,
    /// Rotations since the start.
    pub(super) count: u64,
}

impl Rotating {
    pub(super) fn new(rotation: Rotation, limits: Limits) -> Self {
        debug_assert!(limits.rotates());
        Self {
            rotation,
            limits,
            full_since: None,
            too_old_at: None,
            retry_at: None,
            complaint: RateLimit::new(COMPLAINT),
            count: 0,
        }
    }

    /// When the log is to be rotated, as far as it is known now. An empty log never is.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = [self.full_since, self.too_old_at]
            .into_iter()
            .flatten()
            .min()?;
        Some(self.retry_at.map_or(due, |retry_at| due.max(retry_at)))
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| now >= due)
    }

    /// Call it after the log was reopened by its name: its folder may be another one.
    pub(super) fn forget(&mut self) {
        self.rotation.forget();
    }

    /// Reads size and age of a log that was just opened.
    pub(super) fn refresh<F: Storage>(&mut self, journal: &Journal<F>, now: Instant) {
        (self.full_since, self.too_old_at, self.retry_at) = (None, None, None);
        self.poll(journal, 0, now);
    }

    /// Checks the log after it has grown by `grown_by` bytes. Another program may have truncated it.
    pub(super) fn poll<F: Storage>(&mut self, journal: &Journal<F>, grown_by: u64, now: Instant) {
        // Without the length nothing can be decided. The next commit polls again.
        let Ok(length) = journal.length() else {
            return;
        };
        let is_full = self.limits.size.is_some_and(|size| length >= size);
        self.full_since = is_full.then(|| self.full_since.unwrap_or(now));
        // The log was empty before this write.
        if length <= grown_by {
            self.too_old_at = None;
        }
        if let (Some(age), None, true) = (self.limits.age, self.too_old_at, length > 0) {
            self.too_old_at = Some(now + age.saturating_sub(self.age_of(journal)));
        }
    }

    /// How long ago the first record of the log was written.
    fn age_of<F: Storage>(&self, journal: &Journal<F>) -> Duration {
        let begun = self.rotation.begun(journal).ok().flatten();
        let age = begun.map(|begun| OffsetDateTime::now_utc() - begun);
        // A record from the future counts as new: the clock was set back.
        age.and_then(|age| age.try_into().ok()).unwrap_or_default()
    }

    /// Rotates the log at `path` and reports it. A failure is reported at most once a minute.
    pub(super) fn rotate<F: Storage>(
        &mut self,
        journal: &mut Journal<F>,
        path: &Path,
        now: Instant,
    ) -> RotationResult {
        let log = path.display();
        match self.rotation.rotate(journal) {
            Ok(rotated) => {
                self.count += 1;
                let failed_before = self.retry_at.is_some();
                self.refresh(journal, now);
                report(path, &rotated, failed_before);
                self.delete_old(path, now);
                RotationResult::Continues
            }
            Err(RotationError::Refused(error)) => {
                self.retry_at = Some(now + RETRY);
                if let Some(ending) = self.complaint.allow(now) {
                    log::error!("cannot rotate {log}: {error}; records go on into it{ending}");
                }
                RotationResult::Continues
            }
            Err(RotationError::Unopened(rotated_file, error)) => {
                self.count += 1;
                let rotated_file = rotated_file.display();
                log::error!(
                    "cannot begin a new {log}: {error}; records go on into {rotated_file}, and the new log is \
                     tried again every second"
                );
                RotationResult::Unopened
            }
            Err(RotationError::Fatal(error)) => RotationResult::Fatal(error),
        }
    }

    /// Whether there are rotated files to delete, more than one call deletes.
    pub(super) fn has_old(&self) -> bool {
        self.rotation.has_old()
    }

    /// Deletes rotated files in excess of `-keep`, within a budget.
    pub(super) fn delete_old(&mut self, path: &Path, now: Instant) {
        let log = path.display();
        match self.rotation.delete_old() {
            Ok(0) => {}
            Ok(deleted) => {
                let (rotated_files, keep) = (
                    plural(deleted, "rotated file"),
                    self.limits.keep.unwrap_or(0),
                );
                log::info!("{log}: deleted {rotated_files}, -keep {keep} keeps the others");
            }
            Err(error) => {
                if let Some(ending) = self.complaint.allow(now) {
                    log::error!(
                        "{log}: cannot delete old rotated files: {error}; tried again at the next rotation{ending}"
                    );
                }
            }
        }
    }
}

fn report(path: &Path, rotated: &Rotated, failed_before: bool) {
    let (log, rotated_file) = (path.display(), rotated.rotated_file.display());
    let bytes = plural(rotated.length, "byte");
    let level = if failed_before {
        log::Level::Warn
    } else {
        log::Level::Info
    };
    log::log!(level, "{log}: rotated, {bytes} are in {rotated_file} now");
    if !rotated.damage.is_none() {
        log::warn!("{log}: {}", rotated.damage);
    }
}
