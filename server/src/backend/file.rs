//! The log as a file, written in place: a batch is finished when it has been submitted. Says what
//! people are to know about it.

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use super::{BackEnd, Finished, Verdict};
use crate::batch::Batch;
use crate::diagnostics::Throttle;
use crate::journal::{CommitError, Journal, Storage};
use common::units::plural;

/// The journal as the back end of the loop.
#[derive(Debug)]
pub struct LogFile<F: Storage = File> {
    journal: Journal<F>,
    path: PathBuf,
    finished: Option<Finished>,
    /// It was said that messages cannot be written, and not yet that they can again.
    failing: bool,
    complaint: Throttle,
    /// The path leads elsewhere by now; said once.
    displaced: bool,
    /// The path could not be opened anew; tried again until it can.
    reopen_failed: bool,
}

impl<F: Storage> LogFile<F> {
    /// A back end on a journal that was opened at `path`.
    pub fn new(journal: Journal<F>, path: PathBuf) -> Self {
        Self {
            journal,
            path,
            finished: None,
            failing: false,
            complaint: Throttle::default(),
            displaced: false,
            reopen_failed: false,
        }
    }

    /// Writes the records of `batch`, and says what is to be said about that.
    fn commit(&mut self, batch: &Batch, now: Instant) -> Verdict {
        let path = self.path.display();
        // Losing the record of a reply in a power cut breaks no promise.
        let durable = batch.messages() > 0;
        match self.journal.commit(batch.records(), durable) {
            Ok(()) => {
                // Records of replies may fit where messages do not.
                if durable && std::mem::take(&mut self.failing) {
                    log::warn!("{path}: can be written again");
                }
                Verdict::Kept
            }
            Err(CommitError::Refused(error)) => {
                if let Some(ending) = self.complaint.pass(now) {
                    self.failing = true;
                    let messages = plural(batch.messages(), "message");
                    log::error!("cannot write {path}: {error}; {messages} not kept{ending}");
                }
                Verdict::Refused(error)
            }
            Err(CommitError::Unknown(error)) => Verdict::Unknown(error),
        }
    }

    /// Says once if the path does not lead to the open file any more.
    fn check_path(&mut self) {
        if !self.displaced && !self.journal.is_at(&self.path) {
            self.displaced = true;
            self.journal.give_back_reserve();
            let path = self.path.display();
            log::warn!(
                "{path} was moved or deleted: records go on into the file that was opened, \
                 until SIGHUP has it opened by its name again"
            );
        }
    }
}

impl<F: Storage> BackEnd for LogFile<F> {
    /// After a failed sync the kernel may drop the pages, and the next sync succeed without them.
    const ENDS_WHEN_UNSURE: bool = true;

    fn has_room(&self) -> bool {
        self.finished.is_none()
    }

    fn submit(&mut self, batch: Batch, now: Instant) {
        debug_assert!(self.has_room());
        let verdict = self.commit(&batch, now);
        self.finished = Some(Finished { batch, verdict });
    }

    fn finished(&mut self) -> Option<Finished> {
        self.finished.take()
    }

    fn reopen(&mut self, _: Instant) {
        let path = self.path.display();
        let again = self.reopen_failed;
        match self.journal.reopen(&self.path) {
            Ok(damage) => {
                self.displaced = false;
                self.reopen_failed = false;
                if !damage.is_none() {
                    log::warn!("{path}: {damage}");
                }
                let level = if again {
                    log::Level::Warn
                } else {
                    log::Level::Info
                };
                log::log!(level, "{path}: opened anew");
            }
            Err(error) => {
                self.reopen_failed = true;
                if !again {
                    log::error!(
                        "cannot open {path} anew: {error}; the old file is kept, and the new one \
                         tried again every second"
                    );
                }
            }
        }
    }

    fn is_worth_sharing(&self) -> bool {
        self.journal.syncs()
    }

    fn do_chores(&mut self, now: Instant) {
        self.check_path();
        if self.reopen_failed {
            self.reopen(now);
        }
    }

    fn needs_chores(&self) -> bool {
        self.reopen_failed
    }
}
