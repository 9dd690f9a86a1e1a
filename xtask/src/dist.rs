//! `cargo xtask dist`: makes packages.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the options of `dist`. `dist` itself is built without optimisation; it builds what it packs.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become("dev", &["dist"], "dist", args)
}
