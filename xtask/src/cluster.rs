//! `cargo xtask cluster`: builds the programs it needs, then runs the `cluster` program in its place.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the options of `cluster`. Server and client are built on their own, as for the other
/// commands: building them together with other packages can change the features of their dependencies,
/// and cargo would then rebuild all of them.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    match release::build("release", &["server", "client"]) {
        Ok(_) => release::build_and_become("release", &["cluster"], "cluster", args),
        Err(code) => code,
    }
}
