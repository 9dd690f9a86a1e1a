//! What no event reports, looked after from time to time.

use std::time::{Duration, Instant};

use super::Server;
use crate::backend::BackEnd;
use crate::terminal::Terminal;

/// How often things are looked at that no event reports.
pub(super) const CHORES: Duration = Duration::from_secs(1);

impl<B: BackEnd> Server<B> {
    /// Things that no event reports, looked at about once a second if there is anything to see.
    pub(super) fn do_chores(&mut self) {
        self.next_chores = self.now + CHORES;
        let time = self.clock.text();
        self.terminal.retry(time);
        self.stderr.with_terminal(Terminal::retry);
        self.commits.back_end.do_chores(self.now);
        self.work.unread.tell(self.now);
        if self.stop.is_none() {
            self.watch.begin(&self.clients, self.now);
        }
        self.clients.check_openings();
    }

    /// When the log wants to be looked after; not more often than anything else is.
    pub(super) fn back_end_chores(&self) -> Option<Instant> {
        let due = self.commits.back_end.chores_due()?;
        Some(due.max(self.next_chores))
    }

    pub(super) fn needs_chores(&self) -> bool {
        !self.clients.is_empty()
            || self.terminal.needs_retry()
            || self.stderr.needs_retry()
            || self.commits.back_end.needs_chores()
            || self.work.unread.is_untold()
    }
}
