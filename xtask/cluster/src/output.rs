//! What is shown on standard output.

use std::io::{self, Write as _};

/// Prints a line. Ignores write errors: a closed pipe is no error.
pub(crate) fn say(line: &str) {
    _ = writeln!(io::stdout(), "{line}");
}
