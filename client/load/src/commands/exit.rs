//! Exit codes, output and error messages of the commands.

use std::io::{self, Write as _};
use std::process::ExitCode;

use common::output::report;

use crate::report::{EndedBy, Report};

/// The command could not run, or could not go on.
const EXIT_FAILURE: u8 = 1;
/// A `-fail-if` condition held.
const EXIT_THRESHOLD: u8 = 3;
/// The log does not hold what the server acknowledged.
pub(crate) const EXIT_VERIFICATION: u8 = 4;
/// Ctrl-C ended the run.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Events after a run that change the exit code.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct After {
    /// Ctrl-C ended the verification.
    pub(crate) interrupted: bool,
    /// A file could not be written or read.
    pub(crate) trouble: bool,
}

/// The exit code of a run that has a report. A failed verification takes precedence over everything
/// else. A run without any acknowledged message comes last, since a `-fail-if` condition is more
/// specific.
pub(crate) fn code(report: &Report, after: After) -> u8 {
    let verification = report.verification.as_ref();
    let is_proven_wrong = verification.is_some_and(|verification| !verification.passed);
    let is_over_bounds = report.thresholds.iter().any(|threshold_result| threshold_result.failed);
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

/// Prints `text`, ended by one LF. A closed stdout is not an error.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let line = format!("{}\n", text.trim_end());
    match io::stdout().write_all(line.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {error}"))
        }
        _ => Ok(()),
    }
}

/// Reports an error on stderr and returns its exit code.
pub(crate) fn fail(command: &str, error: &str) -> ExitCode {
    report(command, error);
    ExitCode::from(EXIT_FAILURE)
}
