//! When the log is rotated, and what people are told about it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use common::units::plural;
use time::OffsetDateTime;

use crate::diagnostics::RateLimit;
use crate::journal::rotation::{Rotated, Rotation, RotationError};
use crate::journal::{Journal, Storage};

/// After an attempt that failed, the next one comes so much later.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is said that it fails.
const COMPLAINT: Duration = Duration::from_secs(60);

/// When a log is rotated, and how many rotated files are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// When it has so many bytes.
    pub size: Option<u64>,
    /// When its first record is so old.
    pub age: Option<Duration>,
    /// All, if it is none.
    pub keep: Option<usize>,
}

impl Limits {
    /// Whether a log is rotated at all.
    pub fn rotates(&self) -> bool {
        self.size.is_some() || self.age.is_some()
    }
}

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum RotationResult {
    /// The journal goes on in a new log; or, since that is not possible now, in the present one.
    Continues,
    /// It goes on in what is a rotated file by now, until the log can be opened by its name again.
    Unopened,
    /// A sync failed: no later result can be trusted.
    Fatal(io::Error),
}

/// Knows when the log has to be rotated.
#[derive(Debug)]
pub(super) struct Rotating {
    rotation: Rotation,
    limits: Limits,
    /// Since when it has been as long as it may be.
    full_since: Option<Instant>,
    /// When its first record is too old.
    too_old_at: Option<Instant>,
    /// The last attempt failed, and the next one has to wait until then.
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

    /// When the log is to be rotated, as far as that can be told now. An empty one never is.
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

    /// The log was opened by its name again: its folder may be another one.
    pub(super) fn forget(&mut self) {
        self.rotation.forget();
    }

    /// Looks at a log that was just opened.
    pub(super) fn refresh<F: Storage>(&mut self, journal: &Journal<F>, now: Instant) {
        (self.full_since, self.too_old_at, self.retry_at) = (None, None, None);
        self.poll(journal, 0, now);
    }

    /// Looks at the log, which has just grown by so many bytes, or may have been cut by somebody else.
    pub(super) fn poll<F: Storage>(&mut self, journal: &Journal<F>, grown_by: u64, now: Instant) {
        // Without its length there is no telling; the next commit brings another look.
        let Ok(length) = journal.length() else {
            return;
        };
        let is_full = self.limits.size.is_some_and(|size| length >= size);
        self.full_since = is_full.then(|| self.full_since.unwrap_or(now));
        // Nothing was before what has come now.
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
        // What comes from the future, by a clock that was set back, is as good as new.
        age.and_then(|age| age.try_into().ok()).unwrap_or_default()
    }

    /// Rotates the log, called `path`, and says so; or says once a minute why it does not.
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

    /// Whether there are rotated files to delete, more than were deleted at once.
    pub(super) fn has_old(&self) -> bool {
        self.rotation.has_old()
    }

    /// Deletes rotated files that are not to be kept, within a budget.
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
