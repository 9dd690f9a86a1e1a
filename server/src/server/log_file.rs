//! The journal as the loop sees it, and what people are told about it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::protocol::Reply;

use super::Failure;
use crate::batch::Batch;
use crate::diagnostics::Throttle;
use crate::journal::{CommitError, Journal, Storage};
use crate::terminal::plural;

#[derive(Debug)]
pub(super) struct LogFile<F: Storage> {
    journal: Journal<F>,
    path: PathBuf,
    /// It was said that messages cannot be written, and not yet that they can again.
    failing: bool,
    complaint: Throttle,
    /// The path leads elsewhere by now; said once.
    displaced: bool,
    /// Bytes of the records in it, since the start.
    pub(super) bytes: u64,
    /// The longest that a commit took.
    pub(super) longest_commit: Duration,
}

impl<F: Storage> LogFile<F> {
    pub(super) fn new(journal: Journal<F>, path: PathBuf) -> Self {
        Self {
            journal,
            path,
            failing: false,
            complaint: Throttle::default(),
            displaced: false,
            bytes: 0,
            longest_commit: Duration::ZERO,
        }
    }

    /// Whether commits are synced to disk.
    pub(super) fn syncs(&self) -> bool {
        self.journal.syncs()
    }

    /// Writes the records of `batch`. If the log does not take them, they are dropped, and what is
    /// returned is the answer to their messages.
    pub(super) fn commit(
        &mut self,
        batch: &mut Batch,
        now: Instant,
    ) -> Result<Option<Reply>, Failure> {
        let begun = Instant::now();
        // Losing the record of a reply in a power cut breaks no promise.
        let durable = batch.messages() > 0;
        let result = self.journal.commit(batch.records(), durable);
        self.longest_commit = self.longest_commit.max(begun.elapsed());
        let path = self.path.display();
        match result {
            Ok(()) => {
                self.bytes += batch.records().len() as u64;
                // Records of replies may fit where messages do not.
                if batch.messages() > 0 && std::mem::take(&mut self.failing) {
                    log::warn!("{path}: can be written again");
                }
                Ok(None)
            }
            Err(CommitError::Refused(error)) => {
                if let Some(ending) = self.complaint.pass(now) {
                    self.failing = true;
                    let n = batch.messages();
                    let noun = plural(n, "message");
                    log::error!("cannot write {path}: {error}; answered {n} {noun} so{ending}");
                }
                batch.forget_records();
                Ok(Some(Reply::log(&error)))
            }
            Err(CommitError::Unknown(error)) => Err(Failure::Sync(error)),
        }
    }

    /// Opens it by its path again, as after a rotation.
    pub(super) fn reopen(&mut self) {
        let path = self.path.display();
        match self.journal.reopen(&self.path) {
            Ok(mended) => {
                self.displaced = false;
                if mended {
                    log::warn!("{path}: ended a torn record at its end");
                }
                log::info!("{path}: opened anew");
            }
            Err(error) => log::error!("cannot open {path} anew: {error}; the old file is kept"),
        }
    }

    /// Says once if the path does not lead to the open file any more.
    pub(super) fn check_path(&mut self) {
        if !self.displaced && !self.journal.is_at(&self.path) {
            self.displaced = true;
            let path = self.path.display();
            log::warn!(
                "{path} was moved or deleted: records go on into the file that was opened, \
                 until SIGHUP has it opened by its name again"
            );
        }
    }
}
