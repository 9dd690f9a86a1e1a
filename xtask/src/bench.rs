//! `cargo xtask bench`: builds everything it needs, then becomes the benchmark.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the benchmark's.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become("release", &["server", "client", "bench"], "bench", args)
}
