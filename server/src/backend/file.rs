//! The log as a file, written in place: a batch is finished as soon as it is submitted. Failures and
//! recoveries are reported.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use super::{BackEnd, CommitOutcome, Finished, LogSpace};
use crate::batch::Batch;
use crate::journal::rotation::Rotation;
use crate::journal::{CommitError, Journal, Storage};
use common::protocol::Reply;
use common::rate_limit::RateLimit;
use common::units::plural;

/// The journal as a back end of the event loop.
#[derive(Debug)]
pub struct LogFile<F: Storage = File> {
    journal: Journal<F>,
    path: PathBuf,
    finished: Option<Finished>,
    /// It was reported that messages cannot be written, and not yet that they can be written again.
    failing: bool,
    /// When and why messages could not be written. `None` after a successful commit of messages.
    failure: Option<(Instant, String)>,
    errors: RateLimit,
    /// The path leads to another file, or to none. Reported once.
    displaced: bool,
    /// The path could not be reopened. Retried once a second.
    reopen_failed: bool,
    /// How often the path was reopened since the start.
    reopened: u64,
    rotation: Option<Rotation>,
    /// The error of a sync that failed outside a commit. The next commit returns it.
    unsure: Option<io::Error>,
}

impl<F: Storage> LogFile<F> {
    /// A back end on a journal that was opened at `path`.
    pub fn new(journal: Journal<F>, path: PathBuf) -> Self {
        Self {
            journal,
            path,
            finished: None,
            failing: false,
            failure: None,
            errors: RateLimit::default(),
            displaced: false,
            reopen_failed: false,
            reopened: 0,
            rotation: None,
            unsure: None,
        }
    }

    /// Rotates the log from now on.
    pub fn rotate_by(&mut self, mut rotation: Rotation, now: Instant) {
        rotation.begin(&self.journal, now);
        self.rotation = Some(rotation);
    }

    /// Writes the records of `batch`, and reports failures and recoveries.
    fn commit(&mut self, batch: &Batch, now: Instant) -> CommitOutcome {
        if let Some(error) = self.unsure.take() {
            return self.unsure_of(&error);
        }
        let path = self.path.display();
        // A lost record of a reply breaks no promise, so it needs no sync.
        let durable = batch.messages() > 0;
        match self.journal.commit(batch.records(), durable) {
            Ok(()) => {
                // Records of replies may fit on a full disk where messages do not.
                if durable {
                    self.failure = None;
                    if std::mem::take(&mut self.failing) {
                        log::warn!("{path}: can be written again");
                    }
                }
                CommitOutcome::Committed
            }
            Err(CommitError::Refused(error)) => {
                self.report_failure(&error, batch, "not kept", now);
                CommitOutcome::Rejected(Reply::log(&error))
            }
            // An error reply would claim that the messages are not in the log.
            Err(CommitError::Unknown(error)) => {
                let outcome = "may or may not be kept: connections closed without a reply";
                self.report_failure(&error, batch, outcome, now);
                CommitOutcome::Unknown
            }
            Err(CommitError::Fatal(error)) => self.unsure_of(&error),
        }
    }

    fn report_failure(&mut self, error: &io::Error, batch: &Batch, outcome: &str, now: Instant) {
        self.failure = Some((now, error.to_string()));
        if let Some(ending) = self.errors.allow(now) {
            self.failing = true;
            let (path, messages) = (self.path.display(), plural(batch.messages(), "message"));
            log::error!("cannot write {path}: {error}; {messages} {outcome}{ending}");
        }
    }

    /// After a failed sync the kernel may drop the dirty pages, and the next sync succeeds without them.
    fn unsure_of(&self, error: &io::Error) -> CommitOutcome {
        let path = self.path.display();
        CommitOutcome::Fatal(format!(
            "cannot sync {path}: {error}; what was not answered may be lost, so nothing more is; \
             check the disk before starting again"
        ))
    }

    /// Rotates the log if it is due, now that it ends with a whole batch. Returns only errors of a sync.
    fn rotate_if_due(&mut self, now: Instant) -> io::Result<()> {
        let is_due = |rotation: &Rotation| rotation.is_due(now);
        // While it is displaced, the periodic tasks check the path.
        if self.displaced || !self.rotation.as_ref().is_some_and(is_due) {
            return Ok(());
        }
        // Another program may have replaced the file at this path.
        self.check_path(now);
        let Some(rotation) = self.rotation.as_mut().filter(|_| !self.displaced) else {
            return Ok(());
        };
        // Another program may have truncated it.
        rotation.poll(&self.journal, 0, now);
        if is_due(rotation) && !rotation.rotate(&mut self.journal, now)? {
            (self.displaced, self.reopen_failed) = (true, true);
        }
        Ok(())
    }

    /// Reports once when the path no longer leads to the open file, and once when it does again.
    fn check_path(&mut self, now: Instant) {
        let path = self.path.display();
        match (self.displaced, self.journal.is_at(&self.path)) {
            (false, false) => {
                self.displaced = true;
                self.journal.give_back_reserve();
                let meanwhile = self.rotation.as_ref().map_or(
                    "",
                    |_| "; it is not rotated meanwhile. Move it back, or send SIGHUP to begin a new one",
                );
                log::warn!(
                    "{path} was moved or deleted; records still go to the open file, until \
                     SIGHUP reopens the log{meanwhile}"
                );
            }
            // If a reopen is pending, the reopen detects this.
            (true, true) if !self.reopen_failed => {
                self.displaced = false;
                self.journal.reserve_again();
                let rotates = self.rotation.as_mut().map_or("", |rotation| {
                    rotation.reopened(&self.journal, now);
                    ", and rotated again"
                });
                log::warn!("{path} is back: records go on into it{rotates}");
            }
            _ => {}
        }
    }
}

impl<F: Storage> BackEnd for LogFile<F> {
    fn has_room(&self) -> bool {
        self.finished.is_none()
    }

    fn submit(&mut self, batch: Batch, now: Instant) {
        debug_assert!(self.has_room());
        let mut outcome = self.commit(&batch, now);
        if let (CommitOutcome::Committed, Some(rotation)) = (&outcome, &mut self.rotation) {
            rotation.poll(&self.journal, batch.records().len() as u64, now);
            if let Err(error) = self.rotate_if_due(now) {
                outcome = self.unsure_of(&error);
            }
        }
        self.finished = Some(Finished { batch, outcome });
    }

    fn finished(&mut self) -> Option<Finished> {
        self.finished.take()
    }

    fn reopen(&mut self, now: Instant) {
        let path = self.path.display();
        let again = self.reopen_failed;
        match self.journal.reopen(&self.path) {
            Ok(damage) => {
                self.displaced = false;
                self.reopen_failed = false;
                self.reopened += 1;
                if let Some(rotation) = &mut self.rotation {
                    rotation.reopened(&self.journal, now);
                }
                if !damage.is_none() {
                    log::warn!("{path}: {damage}");
                }
                let level = if again { log::Level::Warn } else { log::Level::Info };
                log::log!(level, "{path}: reopened");
            }
            Err(error) => {
                self.reopen_failed = true;
                if !again {
                    log::error!(
                        "cannot reopen {path}: {error}; the old file stays open, and the server \
                         retries every second"
                    );
                }
            }
        }
    }

    fn is_worth_sharing(&self) -> bool {
        self.journal.syncs()
    }

    fn run_periodic_tasks(&mut self, now: Instant) {
        self.check_path(now);
        if self.reopen_failed {
            self.reopen(now);
        }
        if let Err(error) = self.rotate_if_due(now) {
            self.unsure = Some(error);
        }
        if let Some(rotation) = self.rotation.as_mut().filter(|it| it.has_old()) {
            rotation.delete_old(now);
        }
    }

    fn needs_periodic_tasks(&self) -> bool {
        let waits = |rotation: &Rotation| self.displaced || rotation.has_old();
        self.reopen_failed || self.rotation.as_ref().is_some_and(waits)
    }

    fn periodic_tasks_due(&self) -> Option<Instant> {
        let rotation = self.rotation.as_ref().filter(|_| !self.displaced);
        rotation.and_then(Rotation::due)
    }

    fn space(&self) -> LogSpace {
        LogSpace {
            length: self.journal.length().ok(),
            free: self.journal.free_bytes(),
            reopened: self.reopened,
            failure: self.failure.clone(),
            stream: None,
        }
    }

    fn rotations(&self) -> u64 {
        self.rotation.as_ref().map_or(0, |rotation| rotation.count)
    }
}
