//! Injects the faults of one server, round by round.

use std::time::Instant;

use fastrand::Rng;

use crate::faults::{FAULTS, Fault};
use crate::options::Options;
use crate::report::{FaultReport, attempt, say};

/// Injects each selected fault once, then round by round up to its maximum, until the time is up.
pub(crate) fn torture(options: &Options, random: &mut Rng, deadline: Instant) -> Vec<FaultReport> {
    let selected = FAULTS.iter().filter(|it| it.0.contains(&options.only));
    let row = |fault: &'static Fault| (fault, FaultReport::named(fault.0));
    let mut rows: Vec<_> = selected.map(row).collect();
    let mut again = true;
    while again {
        again = false;
        for (fault, total) in &mut rows {
            let Fault(name, at_most, inject) = fault;
            let at_most = if options.short { 1 } else { *at_most };
            if total.times >= at_most || total.skipped || Instant::now() >= deadline {
                continue;
            }
            say(&format!("{name}\n"));
            total.add(attempt(|| inject(random)).unwrap_or_else(FaultReport::broken));
            again = true;
        }
    }
    rows.into_iter().map(|(_, total)| total).collect()
}
