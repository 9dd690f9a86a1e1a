//! `cargo xtask torture`: builds everything it needs, then becomes the torture.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the torture's.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become("torture", &["server", "client", "torture"], "torture", args)
}
