//! `cargo xtask cluster`: builds everything it needs, then becomes what starts all of a line log on
//! several machines.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the cluster's. The product is built on its own, as it is for other chores: what else is
/// built with it can change how its dependencies are, and then all of it would be built anew.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    match release::build("release", &["server", "client"]) {
        Ok(_) => release::build_and_become("release", &["cluster"], "cluster", args),
        Err(code) => code,
    }
}
