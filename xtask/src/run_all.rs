//! `cargo xtask run-all`: builds everything it needs, then becomes the launcher.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the launcher's.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become(
        "release",
        &["server", "client", "launcher"],
        "launcher",
        args,
    )
}
