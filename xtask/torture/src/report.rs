//! The results of faults, and the summary of a run.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use common::units::{count, plural};
use test_support::numbered::Verification;

/// Exit code if some faults were not injected for lack of time.
const EXIT_INCOMPLETE: u8 = 5;

/// The result of a fault, or of several injections of it.
#[derive(Default)]
pub(crate) struct FaultReport {
    pub(crate) name: String,
    /// The number of injections; 0 stands for one in the report of one.
    pub(crate) times: u32,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
    /// Broken promises.
    pub(crate) broken: Vec<String>,
    /// Measurements, or why the fault was skipped.
    pub(crate) note: String,
    pub(crate) skipped: bool,
}

impl FaultReport {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Messages that were all acknowledged.
    pub(crate) fn acknowledged(messages: u64) -> Self {
        Self { sent: messages, acknowledged: messages, ..Self::default() }
    }

    pub(crate) fn of(verification: &Verification) -> Self {
        let mut report = Self::acknowledged(verification.acknowledged);
        report.sent = verification.sent;
        report.lost = verification.lost;
        report.expect(verification.is_good(), format!("{verification:?}"));
        report
    }

    pub(crate) fn skipped(why: &str) -> Self {
        let mut report = Self::default();
        report.remark(&format!("skipped: {why}"));
        report.skipped = true;
        report
    }

    pub(crate) fn broken(why: String) -> Self {
        let mut report = Self::default();
        report.broken.push(why);
        report
    }

    /// Adds the report of another injection.
    pub(crate) fn add(&mut self, other: Self) {
        self.times += other.times.max(u32::from(!other.skipped));
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.broken.extend(other.broken);
        self.note = other.note;
        self.skipped |= other.skipped;
    }

    pub(crate) fn remark(&mut self, what: &str) {
        self.note += if self.note.is_empty() { "" } else { ", " };
        self.note += what;
    }

    pub(crate) fn expect(&mut self, kept: bool, otherwise: String) {
        if !kept {
            self.broken.push(otherwise);
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Whether it was not injected for lack of time.
    fn is_left(&self) -> bool {
        self.times == 0 && !self.skipped && !self.is_broken()
    }

    fn conclusion(&self) -> &'static str {
        match self.times {
            _ if self.is_broken() => "BROKEN",
            _ if self.is_left() => "no time left",
            0 => "-",
            _ => "kept",
        }
    }
}

/// Runs something that panics when it fails, as a test does; the error is its message.
pub(crate) fn attempt<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(action)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic").to_owned()
    })
}

/// Prints all results and a summary; returns the matching exit code.
pub(crate) fn conclude(reports: &[FaultReport]) -> ExitCode {
    let width = reports.iter().map(|it| it.name.len()).max().unwrap_or(0);
    let mut text = format!(
        "{:<width$} {:>6} {:>11} {:>13} {:>5}  {}\n",
        "fault", "times", "sent", "acknowledged", "lost", "verification"
    );
    for it in reports {
        let counts = [it.times.into(), it.sent, it.acknowledged, it.lost];
        let [times, sent, acknowledged, lost] = counts.map(count);
        let (name, conclusion) = (&it.name, it.conclusion());
        let line = format!(
            "{name:<width$} {times:>6} {sent:>11} {acknowledged:>13} {lost:>5}  {conclusion:<8} {}",
            it.note
        );
        // Writing to a String cannot fail.
        _ = writeln!(text, "{}", line.trim_end());
        for broken in &it.broken {
            _ = writeln!(text, "    {broken}");
        }
    }
    let (summary, code) = summary(reports);
    _ = writeln!(text, "torture: {summary}");
    // A closed pipe is no error.
    _ = io::stdout().write_all(text.as_bytes());
    code
}

fn summary(reports: &[FaultReport]) -> (String, ExitCode) {
    let names = |is_meant: fn(&FaultReport) -> bool| {
        let meant = reports.iter().filter(|it| is_meant(it));
        let names: Vec<_> = meant.map(|it| it.name.as_str()).collect();
        names.join(", ")
    };
    let (broken, left) = (names(FaultReport::is_broken), names(FaultReport::is_left));
    let acknowledged = reports.iter().map(|it| it.acknowledged).sum();
    let lost = count(reports.iter().map(|it| it.lost).sum());
    let sums = format!("{} acknowledged, {lost} lost", plural(acknowledged, "message"));
    if !broken.is_empty() {
        (format!("BROKEN: {broken}; {sums}"), ExitCode::FAILURE)
    } else if !left.is_empty() {
        let text = format!("none broken, but the time was too short for: {left}; {sums}");
        (text, ExitCode::from(EXIT_INCOMPLETE))
    } else {
        (format!("every promise was kept; {sums}"), ExitCode::SUCCESS)
    }
}

/// Reports what happens now.
pub(crate) fn say(text: &str) {
    _ = io::stderr().write_all(text.as_bytes());
}
