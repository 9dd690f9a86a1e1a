//! What is staged, what is under way, and when a commit is due.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::group_commit_delay::{GroupCommitDelay, MAX_DELAY};
use crate::backend::{BackEnd, CommitOutcome, Finished};
use crate::batch::Batch;
use crate::distribution::Distribution;

/// How long `send:` records may wait for others to share a write with.
pub(super) const LONE_RECORDS_WAIT: Duration = Duration::from_millis(2);

/// No batch waits longer than this for others to share its commit, whichever wait it is.
pub(super) const MAX_WAIT: Duration = if LONE_RECORDS_WAIT.as_nanos() > MAX_DELAY.as_nanos() {
    LONE_RECORDS_WAIT
} else {
    MAX_DELAY
};

/// The log's back end, and the batches on their way through it.
///
/// In memory are the one that gathers and as many as the back end has room for, each within
/// [`BackEnd::batch_bytes`] and what the last message or write of replies brought beyond that.
#[derive(Debug)]
pub(super) struct Commits<B> {
    pub(super) back_end: B,
    /// What gathers for the next commit.
    pub(super) staged: Batch,
    under_way: VecDeque<UnderWay>,
    /// Finished in this turn, and to be shown.
    completed: Vec<Batch>,
    /// The memory of one that is done with, for the one that gathers next.
    spare: Batch,
    /// Since when `send:` records wait to share a write.
    lone_since: Instant,
    /// Of the next commit, if the back end delays commits.
    delay: GroupCommitDelay,
    /// Bytes of the records that are in the log, since the start.
    pub(super) kept_bytes: u64,
    /// The longest that a commit took.
    pub(super) longest: Duration,
    /// How long commits took, in seconds.
    pub(super) seconds: Distribution,
    /// How large the batches were, in bytes.
    pub(super) sizes: Distribution,
    /// When the log was last written.
    pub(super) last: Option<Instant>,
}

/// In seconds: from what a write into the page cache takes to a disk that hangs.
const SECONDS: &[f64] = &[
    0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0,
];

/// In bytes: from a record to a full batch.
const BYTES: &[f64] = &[
    128.0,
    1024.0,
    8192.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    2_097_152.0,
];

/// What is remembered of a batch while the back end has it.
#[derive(Debug)]
struct UnderWay {
    begun: Instant,
    owed: u64,
}

impl<B: BackEnd> Commits<B> {
    pub(super) fn new(back_end: B, now: Instant) -> Self {
        Self {
            back_end,
            staged: Batch::default(),
            under_way: VecDeque::new(),
            completed: Vec::new(),
            spare: Batch::default(),
            lone_since: now,
            delay: GroupCommitDelay::new(now),
            kept_bytes: 0,
            longest: Duration::ZERO,
            seconds: Distribution::new(SECONDS),
            sizes: Distribution::new(BYTES),
            last: None,
        }
    }

    /// The batch takes no more: nothing is to be read or sent before it is submitted.
    pub(super) fn is_full(&self) -> bool {
        self.staged.size() >= self.back_end.batch_bytes()
    }

    /// Something is staged whose time has come, and the back end has room for it. Unless `at_once`, lone
    /// `send:` records are kept waiting for a moment, and messages where the back end wants them to.
    pub(super) fn can_submit(&self, now: Instant, at_once: bool) -> bool {
        let waited = at_once || self.is_full() || now >= self.lone_since + LONE_RECORDS_WAIT;
        let asked = self.staged.messages() > 0 || !self.staged.replies().is_empty();
        let due = asked || waited && !self.staged.is_empty();
        due && self.back_end.has_room() && (at_once || self.delay_is_over(now))
    }

    /// No more messages are waited for to share the commit of those that are staged.
    pub(super) fn delay_is_over(&self, now: Instant) -> bool {
        let staged = self.staged.messages();
        if !self.back_end.delays_commits() || staged == 0 || self.is_full() {
            return true;
        }
        // A client whose last message is not answered sends no next one.
        self.under_way.is_empty() && self.delay.is_over(staged, now)
    }

    /// When what is staged and is delayed is submitted at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = !self.staged.is_empty() && self.back_end.has_room();
        waits.then(|| match self.staged.messages() {
            0 => self.lone_since + LONE_RECORDS_WAIT,
            _ => self.delay.deadline(),
        })
    }

    /// Hands what is staged to the back end, and begins a new batch.
    pub(super) fn submit(&mut self, now: Instant) {
        debug_assert!(self.back_end.has_room() && !self.staged.is_empty());
        if self.staged.messages() > 0 {
            self.delay.end(self.staged.messages());
        }
        let next = std::mem::take(&mut self.spare);
        let batch = std::mem::replace(&mut self.staged, next);
        let (begun, owed) = (Instant::now(), batch.owed());
        self.under_way.push_back(UnderWay { begun, owed });
        self.back_end.submit(batch, now);
    }

    /// The next batch that the log has decided about.
    pub(super) fn finished(&mut self, now: Instant) -> Option<Finished> {
        let mut finished = self.back_end.finished()?;
        let under_way = self.under_way.pop_front();
        debug_assert!(
            under_way.as_ref().map(|batch| batch.owed) == Some(finished.batch.owed()),
            "batches are finished in the order of submission"
        );
        let begun = under_way.map(|batch| batch.begun);
        let took = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        self.longest = self.longest.max(took);
        self.seconds.observe(took.as_secs_f64());
        match finished.outcome {
            CommitOutcome::Committed => {
                let bytes = finished.batch.records().len();
                self.sizes.observe(bytes as f64);
                self.kept_bytes += bytes as u64;
                self.last = begun.map(|begun| begun + took);
                let (messages, staged) = (finished.batch.messages(), self.staged.messages());
                self.delay.begin(messages, took, staged, now);
            }
            // Dropped, not tried again: the messages are answered so.
            CommitOutcome::Rejected(_) | CommitOutcome::Unknown | CommitOutcome::Fatal(_) => {
                finished.batch.forget_records();
            }
        }
        Some(finished)
    }

    /// Keeps a batch whose replies are due, until its records are shown.
    pub(super) fn keep_to_show(&mut self, batch: Batch) {
        self.completed.push(batch);
    }

    /// Lends the batches that were completed in this turn, then keeps their memory for others.
    pub(super) fn show(&mut self, mut show: impl FnMut(&Batch)) {
        for mut batch in self.completed.drain(..) {
            show(&batch);
            batch.clear();
            self.spare = batch;
        }
    }

    /// Records of replies are about to be staged; if they are the first, they begin to wait.
    pub(super) fn expect_lone_records(&mut self, now: Instant) {
        if self.staged.is_empty() {
            self.lone_since = now;
        }
    }

    /// Nothing is staged or under way.
    pub(super) fn is_idle(&self) -> bool {
        self.staged.is_empty() && self.under_way.is_empty()
    }

    /// Replies that nothing has been decided about.
    pub(super) fn undecided(&self) -> u64 {
        let under_way: u64 = self.under_way.iter().map(|batch| batch.owed).sum();
        under_way + self.staged.owed()
    }
}
