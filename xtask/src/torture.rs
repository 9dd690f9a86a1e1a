//! `cargo xtask torture`: builds the programs it needs, then runs the fault injection in its place.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the options of the fault injection.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become("torture", "torture", args)
}
