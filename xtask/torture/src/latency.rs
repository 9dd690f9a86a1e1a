//! How long a client waits for its replies while other clients are connected.

use std::time::Duration;

use test_support::server::Server;

use crate::report::FaultReport;

/// The number of messages whose replies are timed.
const ASKED: usize = 3_000;

/// The machine may be busy: the best of `ATTEMPTS` measurements counts, or of up to `MAX_ATTEMPTS` while
/// the limit is exceeded.
const ATTEMPTS: usize = 5;
const MAX_ATTEMPTS: usize = 30;

/// While other clients are connected, the p99 may grow by this factor.
const TIMES_AS_LONG: u32 = 3;

/// A shorter latency always passes: whether two processes share a CPU makes as much of a difference.
const SCHEDULING: Duration = Duration::from_micros(300);

/// The best p99 of `ATTEMPTS` measurements, or of more while it exceeds `enough`; and the number of
/// messages, all of them acknowledged.
pub(crate) fn best_p99(server: &Server, enough: Duration) -> (Duration, FaultReport) {
    let (mut best, mut asked) = (Duration::MAX, 0);
    for attempt in 0..MAX_ATTEMPTS {
        if attempt >= ATTEMPTS && best <= enough {
            break;
        }
        let times = server.connect().latencies(ASKED, Duration::ZERO);
        best = best.min(times[ASKED * 99 / 100]);
        asked += ASKED as u64;
    }
    (best, FaultReport::acknowledged(asked))
}

/// The p99 of a client on its own.
pub(crate) fn p99_alone(server: &Server) -> Duration {
    best_p99(server, Duration::MAX).0
}

/// Compares a client's p99 while others are connected with its p99 `alone`.
pub(crate) fn compare(alone: Duration, server: &Server) -> FaultReport {
    let bound = (TIMES_AS_LONG * alone).max(SCHEDULING);
    let (beside, mut report) = best_p99(server, bound);
    report.remark(&format!("p99 alone {alone:.0?}, beside them {beside:.0?}"));
    let what = format!("another client waits {beside:?} instead of {alone:?} (p99)");
    report.expect(beside <= bound, what);
    report
}
