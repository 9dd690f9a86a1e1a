//! The batches of the log: the staged one, those submitted, and when a commit is due.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::group_commit_delay::{GroupCommitDelay, MAX_DELAY};
use crate::backend::{BackEnd, CommitOutcome, Finished};
use crate::batch::Batch;
use crate::stats::Stats;

/// How long records of replies (`send:`) may wait to share a write with other records.
pub(super) const LONE_RECORDS_WAIT: Duration = Duration::from_millis(2);

/// The longest time that a batch waits to share its commit, for either reason.
pub(super) const MAX_WAIT: Duration =
    if LONE_RECORDS_WAIT.as_nanos() > MAX_DELAY.as_nanos() { LONE_RECORDS_WAIT } else { MAX_DELAY };

/// The log's back end, and the batches on their way through it.
///
/// Memory holds the staged batch and as many as the back end has room for. Each is at most
/// [`BackEnd::batch_bytes`] long, plus what the last message or write of replies added beyond that.
#[derive(Debug)]
pub(super) struct Commits<B> {
    pub(super) back_end: B,
    /// The batch of the next commit.
    pub(super) staged: Batch,
    under_way: VecDeque<UnderWay>,
    /// Batches that were finished in this turn and are to be shown.
    completed: Vec<Batch>,
    /// An empty batch whose memory the next batch reuses.
    spare: Batch,
    /// When `send:` records began to wait for others.
    lone_since: Instant,
    /// The delay of the next commit, if the back end delays commits.
    delay: GroupCommitDelay,
}

/// A submitted batch, as long as the back end has it.
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
        }
    }

    /// The batch is full: nothing more is read or sent before it is submitted.
    pub(super) fn is_full(&self) -> bool {
        self.staged.size() >= self.back_end.batch_bytes()
    }

    /// A batch is due, and the back end has room for it. Unless `at_once`, lone `send:` records wait for a
    /// short time, and messages wait if the back end delays commits.
    pub(super) fn can_submit(&self, now: Instant, at_once: bool) -> bool {
        let waited = at_once || self.is_full() || now >= self.lone_since + LONE_RECORDS_WAIT;
        let asked = self.staged.messages() > 0 || !self.staged.replies().is_empty();
        let due = asked || waited && !self.staged.is_empty();
        due && self.back_end.has_room() && (at_once || self.delay_is_over(now))
    }

    /// The staged messages wait for no others to share their commit.
    pub(super) fn delay_is_over(&self, now: Instant) -> bool {
        let staged = self.staged.messages();
        if !self.back_end.delays_commits() || staged == 0 || self.is_full() {
            return true;
        }
        // A client with an unanswered message is expected to send no next one.
        self.under_way.is_empty() && self.delay.is_over(staged, now)
    }

    /// The latest time at which a waiting batch is submitted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = !self.staged.is_empty() && self.back_end.has_room();
        waits.then(|| match self.staged.messages() {
            0 => self.lone_since + LONE_RECORDS_WAIT,
            _ => self.delay.deadline(),
        })
    }

    /// Submits the staged batch to the back end, and begins a new one.
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

    /// The next batch that the log has finished.
    pub(super) fn finished(&mut self, now: Instant, stats: &mut Stats) -> Option<Finished> {
        let mut finished = self.back_end.finished()?;
        let under_way = self.under_way.pop_front();
        debug_assert!(
            under_way.as_ref().map(|batch| batch.owed) == Some(finished.batch.owed()),
            "batches are finished in the order of submission"
        );
        let begun = under_way.map(|batch| batch.begun);
        let took = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        stats.commits.longest = stats.commits.longest.max(took);
        stats.commits.seconds.observe(took.as_secs_f64());
        match finished.outcome {
            CommitOutcome::Committed => {
                stats.count_commit(&finished.batch, begun.map(|begun| begun + took));
                let (messages, staged) = (finished.batch.messages(), self.staged.messages());
                self.delay.begin(messages, took, staged, now);
            }
            // The records are dropped and not retried: their messages are answered with an error or not at
            // all.
            CommitOutcome::Rejected(_) | CommitOutcome::Unknown | CommitOutcome::Fatal(_) => {
                finished.batch.forget_records();
            }
        }
        Some(finished)
    }

    /// Keeps a batch whose replies are due until its records are shown.
    pub(super) fn keep_to_show(&mut self, batch: Batch) {
        self.completed.push(batch);
    }

    /// Calls `show` with each batch that was finished in this turn, then keeps the memory of one for reuse.
    pub(super) fn show(&mut self, mut show: impl FnMut(&Batch)) {
        for mut batch in self.completed.drain(..) {
            show(&batch);
            batch.clear();
            self.spare = batch;
        }
    }

    /// Records of replies are about to be staged. If the batch is empty, their wait begins now.
    pub(super) fn expect_lone_records(&mut self, now: Instant) {
        if self.staged.is_empty() {
            self.lone_since = now;
        }
    }

    /// Nothing is staged or submitted.
    pub(super) fn is_idle(&self) -> bool {
        self.staged.is_empty() && self.under_way.is_empty()
    }

    /// The number of replies that no finished commit has decided yet.
    pub(super) fn undecided(&self) -> u64 {
        let under_way: u64 = self.under_way.iter().map(|batch| batch.owed).sum();
        under_way + self.staged.owed()
    }
}
