//! How a command ends: what it prints, what it says went wrong, and its exit code.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::report::{EndedBy, Report};

/// It could not run, or could not go on.
const EXIT_FAILURE: u8 = 1;
/// A `-fail-if` condition held.
const EXIT_THRESHOLD: u8 = 3;
/// The log is not what the server said.
pub(crate) const EXIT_VERIFICATION: u8 = 4;
/// Ctrl-C.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// The exit code of a run that has a report; `trouble`: something else went wrong after it. What the
/// log proves wins over all else.
pub(crate) fn code(report: &Report, trouble: bool) -> u8 {
    let verification = report.verification.as_ref();
    if verification.is_some_and(|verification| !verification.passed) {
        return EXIT_VERIFICATION;
    }
    match report.ended_by {
        EndedBy::Interrupt => EXIT_INTERRUPTED,
        EndedBy::Error | EndedBy::ConnectionsLost => EXIT_FAILURE,
        _ if trouble => EXIT_FAILURE,
        _ if report.thresholds.iter().any(|verdict| verdict.failed) => EXIT_THRESHOLD,
        _ => 0,
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
    _ = writeln!(io::stderr(), "{command}: {error}");
    ExitCode::from(EXIT_FAILURE)
}

pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
