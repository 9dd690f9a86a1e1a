//! Output to the terminal.

use std::io;
use std::process::ExitCode;

/// Ignores write errors: a closed pipe is no error.
pub(crate) fn say(mut to: impl io::Write, text: &str) {
    _ = to.write_all(text.as_bytes());
}

/// Prints the error; returns the exit code for it.
pub(crate) fn fail(why: &str) -> ExitCode {
    say(io::stderr(), &format!("xtask: {why}\n"));
    ExitCode::FAILURE
}
