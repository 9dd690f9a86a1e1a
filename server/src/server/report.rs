//! The status of the server, for metrics, health checks and the supervisor.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Server;
use crate::backend::{BackEnd, LogSpace};
use crate::figures::Figures;
use crate::metrics;
use crate::snapshot::{Process, Snapshot};
use crate::systemd::Status;

/// After a failed write, the log counts as unwritable for this long, even without further writes. Without
/// an end, a sender that sends only to healthy servers would never find out that the log works again.
const UNWELL: Duration = Duration::from_secs(10);

/// With less free space than this, the disk counts as full: one record may still fit, and the next one not.
const FULL_BYTES: u64 = 4096;

impl<B: BackEnd> Server<B> {
    /// Serves the requests for metrics and health.
    pub(super) fn serve_metrics(&mut self) {
        if let Some(mut http) = self.http.take() {
            let health = || self.unhealthy(&self.commits.back_end.space());
            let respond = |page| metrics::respond(page, health, || self.snapshot());
            http.serve(self.poll.registry(), self.now, respond);
            self.http = Some(http);
        }
    }

    /// The totals since the start.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            stats: self.stats.clone(),
            sends_replies: self.policy.sends_replies,
            rotations: self.commits.back_end.rotations(),
        }
    }

    /// The summary for the supervisor.
    pub(super) fn status(&self) -> Status {
        Status { clients: self.clients.served(), messages: self.stats.committed }
    }

    fn snapshot(&self) -> Snapshot {
        let log = self.commits.back_end.space();
        Snapshot {
            figures: self.figures(),
            connected: self.clients.served(),
            max_clients: self.clients.most(),
            last_commit: self.stats.commits.last.map(unix_time),
            terminal_skipped: self.terminal.skipped_ever(),
            started: unix_time(self.stats.started),
            unhealthy: self.unhealthy(&log),
            log,
            process: Process::now(self.idle_descriptors + self.clients.len()),
        }
    }

    /// Why the server takes or keeps no messages; `None` if it is healthy.
    fn unhealthy(&self, log: &LogSpace) -> Option<String> {
        if self.stop.is_some() {
            return Some("the server is stopping".to_owned());
        }
        why_not_kept(log, self.now)
    }
}

/// Why messages are not kept, as far as the log shows.
fn why_not_kept(log: &LogSpace, now: Instant) -> Option<String> {
    let (at, error) = log.failure.as_ref()?;
    let is_full = log.free.is_some_and(|free| free < FULL_BYTES);
    let is_recent = now.saturating_duration_since(*at) < UNWELL;
    (is_recent || is_full).then(|| format!("the log cannot be written: {error}"))
}

/// Seconds since the Unix epoch.
fn unix_time(at: Instant) -> f64 {
    let at = SystemTime::now().checked_sub(at.elapsed());
    let since = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_failed_is_tried_again_unless_its_disk_is_full() {
        let failed = Instant::now();
        let mut log = LogSpace {
            free: Some(FULL_BYTES),
            failure: Some((failed, "no space".to_owned())),
            ..LogSpace::default()
        };
        let expected = Some("the log cannot be written: no space".to_owned());
        assert_eq!(why_not_kept(&log, failed), expected);
        // A sender that sends only to healthy servers may try it now.
        assert_eq!(why_not_kept(&log, failed + UNWELL), None);
        log.free = Some(FULL_BYTES - 1);
        assert_eq!(why_not_kept(&log, failed + UNWELL), expected);
        log.failure = None;
        assert_eq!(why_not_kept(&log, failed), None);
    }
}
