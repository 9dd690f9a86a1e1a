//! `cargo xtask dist`: makes packages.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are those of the package `dist`. What makes packages need not be fast; what is packed is built
/// by it.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become("dev", &["dist"], "dist", args)
}
