//! `cargo xtask bench`: builds the programs it needs, then runs the benchmark in its place.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the options of the benchmark.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become("release", "bench", args)
}
