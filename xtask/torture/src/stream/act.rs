//! A setting that is run repeatedly, and its results.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use common::units::{count, latency, plural};
use fastrand::Rng;

use super::faults::Fault;
use super::fixture::Fixture;
use super::{Setting, Tools};
use crate::numbered::Verification;
use crate::say;

/// A setting, and its results so far.
pub(crate) struct Act {
    setting: &'static Setting,
    rows: Vec<Row>,
    /// The sums over all runs.
    sums: Verification,
    /// Broken promises.
    broken: Vec<String>,
}

/// A fault; and, for each injection, the longest time without an `ok` of any client.
struct Row {
    fault: &'static Fault,
    silences: Vec<Duration>,
}

impl Act {
    /// A setting with only those faults whose full names contain `only`.
    pub(crate) fn of(setting: &'static Setting, only: &str) -> Self {
        let is_wanted = |fault: &&Fault| format!("{}: {}", setting.name, fault.name).contains(only);
        let row = |fault| Row {
            fault,
            silences: Vec::new(),
        };
        Self {
            setting,
            rows: setting.faults.iter().filter(is_wanted).map(row).collect(),
            sums: Verification::default(),
            broken: Vec::new(),
        }
    }

    /// Whether any fault is selected.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Whether its tools are available; prints what is missing.
    pub(crate) fn is_possible(&self, tools: &Tools) -> bool {
        let Setting {
            name,
            disk,
            servers,
            ..
        } = self.setting;
        if disk.is_some() && !tools.mount {
            say(&format!("skipped {name}: a tmpfs cannot be mounted\n"));
            return false;
        }
        if *servers > 1 && !tools.balancer {
            say(&format!(
                "skipped {name} with {servers} servers: HAProxy is not installed; there is one\n"
            ));
        }
        true
    }

    pub(crate) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    pub(crate) fn name(&self) -> String {
        self.setting.name.to_owned()
    }

    /// The names of faults that were never injected.
    pub(crate) fn left(&self) -> impl Iterator<Item = String> {
        let left = self.rows.iter().filter(|row| row.silences.is_empty());
        left.map(|row| format!("{}: {}", self.setting.name, row.fault.name))
    }

    /// The sums over all runs.
    pub(crate) fn sums(&self) -> &Verification {
        &self.sums
    }

    /// Runs it once, if there is time.
    pub(crate) fn play(&mut self, tools: &Tools, random: &mut Rng) {
        if !tools.has_time() {
            return;
        }
        say(&format!("{}\n", self.setting.name));
        match Fixture::set(self.setting, tools, random) {
            Ok(mut fixture) => {
                if let Err(why) = self.inject(&mut fixture, tools, random) {
                    self.broken.push(why);
                }
                self.close(fixture);
            }
            Err(why) => self.broken.push(why),
        }
    }

    /// Injects every fault `rounds` times, each round in a new random order.
    fn inject(
        &mut self,
        fixture: &mut Fixture,
        tools: &Tools,
        random: &mut Rng,
    ) -> Result<(), String> {
        let rounds = if tools.short { 1 } else { self.setting.rounds };
        let mut order: Vec<_> = (0..self.rows.len()).collect();
        for _ in 0..rounds {
            random.shuffle(&mut order);
            for index in &order {
                if !tools.has_time() {
                    return Ok(());
                }
                let Row { fault, silences } = &mut self.rows[*index];
                let name = fault.name;
                let silence = fixture.run(fault, random);
                let silence = silence.map_err(|why| format!("{name}: {why}"))?;
                silences.push(silence);
                let (seconds, silence) = (tools.begun.elapsed().as_secs(), time(silence));
                let acknowledged = plural(fixture.clients.acknowledged(), "message");
                say(&format!(
                    "{seconds:>5} s  {name:<32} {silence:>7} of silence, {acknowledged} acknowledged\n"
                ));
            }
        }
        Ok(())
    }

    fn close(&mut self, fixture: Fixture) {
        match fixture.account(&mut self.broken) {
            Ok(verification) => {
                self.sums.sent += verification.sent;
                self.sums.acknowledged += verification.acknowledged;
                self.sums.errors += verification.errors;
                self.sums.unanswered += verification.unanswered;
                self.sums.lost += verification.lost;
            }
            Err(why) => self.broken.push(why),
        }
    }

    /// Prints the results.
    pub(crate) fn report(&self) {
        let name = self.setting.name;
        let mut text = line(name, "times", ["without an ok: median", "longest"]);
        for Row { fault, silences } in &self.rows {
            let mut silences = silences.clone();
            silences.sort_unstable();
            let shown = |at: usize| silences.get(at).map_or("-".to_owned(), |it| time(*it));
            let (median, longest) = (
                shown(silences.len() / 2),
                shown(silences.len().wrapping_sub(1)),
            );
            let times = count(silences.len() as u64);
            text += &line(&format!("  {}", fault.name), &times, [&median, &longest]);
        }
        let Verification {
            sent,
            acknowledged,
            errors,
            unanswered,
            lost,
            ..
        } = &self.sums;
        let verification = if self.is_broken() { "BROKEN" } else { "kept" };
        let [sent, acknowledged, errors, unanswered, lost] =
            [sent, acknowledged, errors, unanswered, lost].map(|it| count(*it));
        // Writing to a String cannot fail.
        _ = writeln!(
            text,
            "  {sent} sent, {acknowledged} acknowledged, {errors} refused, {unanswered} unanswered; {lost} lost: {verification}"
        );
        for broken in &self.broken {
            _ = writeln!(text, "    {broken}");
        }
        _ = io::stdout().write_all(text.as_bytes());
    }
}

fn line(fault: &str, times: &str, [median, longest]: [&str; 2]) -> String {
    format!("{fault:<36} {times:>6} {median:>22} {longest:>8}\n")
}

fn time(time: Duration) -> String {
    latency(time.as_nanos() as f64)
}
