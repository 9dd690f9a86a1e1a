//! Runs of a setting, and its results.

use std::time::{Duration, Instant};

use common::units::{latency, plural};
use fastrand::Rng;
use test_support::programs::{MOUNT, succeeds};

use super::faults::Fault;
use super::fixture::{Fixture, HAPROXY, Setting};
use crate::options::Options;
use crate::report::{FaultReport, attempt, say};

/// The number of times each fault is injected before the check.
const ROUNDS: u32 = 2;

/// The longest outage with `-short`.
const SHORT: Duration = Duration::from_secs(1);

/// A setting, and its results so far.
pub(crate) struct Runs {
    setting: &'static Setting,
    rows: Vec<Row>,
    /// The results of all checks.
    pub(crate) total: FaultReport,
    short: bool,
    begun: Instant,
    /// No fault is injected after this.
    deadline: Instant,
}

/// A fault; and, for each injection, the longest time without an `ok` of any client.
struct Row {
    name: String,
    fault: &'static Fault,
    silences: Vec<Duration>,
}

impl Runs {
    /// A setting with the selected faults; none if nothing is selected or possible. Prints what is missing.
    pub(crate) fn of(
        (setting, faults): &'static (Setting, &[Fault]),
        options: &Options,
        deadline: Instant,
    ) -> Option<Self> {
        let name = setting.name;
        let row = |fault: &'static Fault| Row {
            name: format!("{name}: {}", fault.0),
            fault,
            silences: Vec::new(),
        };
        let mut rows: Vec<_> = faults.iter().map(row).collect();
        rows.retain(|row| row.name.contains(&options.only));
        if rows.is_empty() || options.short && !setting.short {
            return None;
        }
        if setting.disk.is_some() && !succeeds(MOUNT) {
            say(&format!("skipped {name}: a tmpfs cannot be mounted\n"));
            return None;
        }
        if setting.servers > 1 && !succeeds(HAPROXY) {
            say(&format!("{name}: one server, because HAProxy is not installed\n"));
        }
        Some(Self {
            setting,
            rows,
            total: FaultReport::named(name),
            short: options.short,
            begun: Instant::now(),
            deadline,
        })
    }

    /// Runs it once, if there is time: each fault, then the check.
    pub(crate) fn run(&mut self, random: &mut Rng) {
        if Instant::now() >= self.deadline {
            return;
        }
        say(&format!("{}\n", self.total.name));
        let longest = if self.short { SHORT } else { Duration::MAX };
        let start = || Fixture::start(self.setting, longest, random);
        let report = attempt(start).and_then(|mut fixture| {
            let injected = self.inject(&mut fixture, random);
            attempt(|| fixture.account(injected.err()))
        });
        self.total.add(report.unwrap_or_else(FaultReport::broken));
    }

    /// Injects every fault `ROUNDS` times, each round in a new random order.
    fn inject(&mut self, fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
        let mut order: Vec<_> = (0..self.rows.len()).collect();
        for _ in 0..if self.short { 1 } else { ROUNDS } {
            random.shuffle(&mut order);
            for index in &order {
                if Instant::now() >= self.deadline {
                    return Ok(());
                }
                let row = &mut self.rows[*index];
                let silence = attempt(|| row.inject(fixture, random));
                let silence = silence.map_err(|why| format!("{}: {why}", row.name))?;
                let (seconds, name) = (self.begun.elapsed().as_secs(), row.fault.0);
                let acknowledged = plural(fixture.clients.acknowledged(), "message");
                say(&format!(
                    "{seconds:>5} s  {name:<32} {silence:>7} of silence, {acknowledged} acknowledged\n"
                ));
            }
        }
        Ok(())
    }

    /// The results of the faults, and of the checks.
    pub(crate) fn reports(self) -> impl Iterator<Item = FaultReport> {
        self.rows.into_iter().map(Row::report).chain([self.total])
    }
}

impl Row {
    /// Injects the fault, and repairs what it left; returns the longest time without an `ok` of any client.
    fn inject(&mut self, fixture: &mut Fixture, random: &mut Rng) -> String {
        fixture.rest(random, Duration::from_millis(300));
        fixture.clients.take_silence();
        self.fault.1(fixture, random);
        fixture.repair();
        let silence = fixture.clients.take_silence();
        self.silences.push(silence);
        time(&silence)
    }

    fn report(mut self) -> FaultReport {
        let mut report = FaultReport::named(&self.name);
        report.times = self.silences.len() as u32;
        self.silences.sort_unstable();
        if let Some(longest) = self.silences.last() {
            let median = &self.silences[self.silences.len() / 2];
            let (median, longest) = (time(median), time(longest));
            report.remark(&format!("without an ok: median {median}, longest {longest}"));
        }
        report
    }
}

fn time(time: &Duration) -> String {
    latency(time.as_nanos() as f64)
}
