//! Periodic tasks: once a second, checks of state that no event reports.

use std::time::Instant;

use super::{PERIOD, Server};
use crate::backend::BackEnd;
use crate::terminal::Terminal;

impl<B: BackEnd> Server<B> {
    /// Runs the checks that no event triggers, about once a second while any of them is needed.
    pub(super) fn run_periodic_tasks(&mut self) {
        self.next_periodic_tasks = self.now + PERIOD;
        let time = self.clock.text();
        self.terminal.retry(time);
        self.stderr.with_terminal(Terminal::retry);
        self.commits.back_end.run_periodic_tasks(self.now);
        self.warnings.unread.report(self.now);
        if self.stop.is_none() {
            self.timeouts.begin(&self.clients, self.now);
        }
        self.clients.check_openings();
    }

    /// When the log needs its periodic tasks, but not before the next period.
    pub(super) fn back_end_tasks_due(&self) -> Option<Instant> {
        let due = self.commits.back_end.periodic_tasks_due()?;
        Some(due.max(self.next_periodic_tasks))
    }

    pub(super) fn needs_periodic_tasks(&self) -> bool {
        !self.clients.is_empty()
            || self.terminal.needs_retry()
            || self.stderr.needs_retry()
            || self.commits.back_end.needs_periodic_tasks()
            || self.warnings.unread.is_pending()
    }
}
