//! How a command ends: what it prints, what it says went wrong, and its exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use common::output::report;

use crate::report::{EndedBy, Report};

/// It could not run, or could not go on.
const EXIT_FAILURE: u8 = 1;
/// A `-fail-if` condition held.
const EXIT_THRESHOLD: u8 = 3;
/// The log is not what the server said.
pub(crate) const EXIT_VERIFICATION: u8 = 4;
/// Ctrl-C.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// What happened after a run, beside its report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct After {
    /// Ctrl-C ended the verification.
    pub(crate) interrupted: bool,
    /// Something could not be written or read.
    pub(crate) trouble: bool,
}

/// The exit code of a run that has a report. What the log proves wins over all else; that a run
/// showed nothing good comes last, since a `-fail-if` says more.
pub(crate) fn code(report: &Report, after: After) -> u8 {
    let verification = report.verification.as_ref();
    let is_proven_wrong = verification.is_some_and(|verification| !verification.passed);
    let is_over_bounds = report.thresholds.iter().any(|verdict| verdict.failed);
    let is_interrupted = report.ended_by == EndedBy::Interrupt || after.interrupted;
    let all_lost = report.ended_by == EndedBy::ConnectionsLost;
    match () {
        () if is_proven_wrong => EXIT_VERIFICATION,
        () if is_interrupted => EXIT_INTERRUPTED,
        () if after.trouble || report.ended_by == EndedBy::Error => EXIT_FAILURE,
        () if is_over_bounds => EXIT_THRESHOLD,
        () if all_lost || report.messages.acknowledged == 0 => EXIT_FAILURE,
        () => 0,
    }
}

/// Prints `text` with an LF at its end. A reader that has closed its end is no error.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let line = format!("{}\n", text.trim_end());
    match io::stdout().write_all(line.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {error}"))
        }
        _ => Ok(()),
    }
}

/// Says on stderr what went wrong; returns the exit code for it.
pub(crate) fn fail(command: &str, error: &str) -> ExitCode {
    report(command, error);
    ExitCode::from(EXIT_FAILURE)
}
