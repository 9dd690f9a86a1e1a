//! A sender that follows a file, while server, sender, log and source are killed, stopped, rotated and
//! filled up. The reader has to find every line exactly once.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use test_support::follow::Follow;

use crate::report::{FaultReport, attempt};

/// The number of faults in one run, and of lines written before each.
const FAULT_COUNT: u32 = 12;
const LINES: u64 = 5_000;

/// The sender's timeout for a connection. A stopped server is stopped for longer.
const TIMEOUT: &str = "300ms";
const STOPPED: Duration = Duration::from_millis(600);

/// How long the disk is full.
const FULL: Duration = Duration::from_millis(200);

/// A name, and the function that injects the fault.
type Fault = (&'static str, fn(&mut Follow));

const FAULTS: &[Fault] = &[
    ("server killed", |it| it.server.restart()),
    ("sender killed", Follow::restart_sender),
    ("both killed", |it| {
        it.kill_sender();
        it.server.restart();
        it.restart_sender();
    }),
    ("server stopped", |it| {
        it.server.signal(Signal::STOP);
        thread::sleep(STOPPED);
        it.server.signal(Signal::CONT);
    }),
    ("disk full", |it| {
        it.server.limit_files(Some(it.log_size()));
        thread::sleep(FULL);
        it.server.limit_files(None);
    }),
    ("log rotated", Follow::rotate_log),
    ("source rotated", Follow::rotate_source),
];

/// One run: faults at random moments, then the check.
pub(crate) fn under_faults(random: &mut Rng) -> FaultReport {
    let mut follow = Follow::start(TIMEOUT);
    for n in 0..FAULT_COUNT {
        follow.write_lines(LINES);
        thread::sleep(Duration::from_micros(random.u64(..50_000)));
        let (name, inject) = FAULTS[random.usize(..FAULTS.len())];
        if let Err(why) = attempt(|| inject(&mut follow)) {
            return FaultReport::broken(format!("{name}, the {n}th: {why}"));
        }
    }
    let followed = follow.finish();
    let (lines, shown) = (followed.lines, followed.shown);
    let mut report = FaultReport::acknowledged(lines);
    report.times = FAULT_COUNT;
    report.lost = lines.saturating_sub(shown);
    let what = format!("{shown} lines are not the {lines} that were written");
    report.expect(followed.is_equal, what);
    report
}
