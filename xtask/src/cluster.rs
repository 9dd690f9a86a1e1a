//! `cargo xtask cluster`: builds the programs it needs, then runs the `cluster` program in its place.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the options of `cluster`.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become("release", "cluster", args)
}
