//! The graceful stop: accept the backlog, read what the kernel holds, commit, reply, close without a reset.

use std::time::{Duration, Instant};

use super::stop::Stop;
use super::{Failure, Server};
use crate::backend::BackEnd;

/// How long the terminals may take for the last lines.
const SHOW_WITHIN: Duration = Duration::from_millis(300);

impl<B: BackEnd> Server<B> {
    /// Stops accepting once the backlog is empty, and reads every client until the kernel holds no more
    /// input.
    pub fn begin_stop(&mut self) {
        log::info!("stopping: {} connected", self.clients.len());
        self.stop = Some(Stop::new(&self.clients, self.now));
        self.supervisor.notify_stopping(self.now);
        if self.leaves_backlog {
            // Connections made from now on wait for the next server.
            self.listeners.close();
        }
        self.listeners.resume();
        self.listeners.mark_all_ready();
    }

    /// Advances the stop, if there is one.
    pub(super) fn advance_stop(&mut self) -> Result<(), Failure> {
        let Some(stop) = &mut self.stop else {
            return Ok(());
        };
        stop.advance(&mut self.clients, &mut self.listeners, self.now);
        match self.commits.undecided() {
            undecided @ 1.. if stop.abandons() => Err(Failure::Unanswered(undecided)),
            _ => Ok(()),
        }
    }

    /// All clients are removed, and all records are written.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_some()
            && self.listeners.is_empty()
            && self.clients.is_empty()
            && self.commits.is_idle()
    }

    /// Gives the terminals a short time for the last records.
    pub(super) fn finish(&mut self) {
        self.stop.iter().for_each(Stop::report);
        let deadline = Instant::now() + SHOW_WITHIN;
        self.terminal.finish(deadline, self.clock.text());
    }
}
