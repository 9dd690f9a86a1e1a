//! `cargo xtask cluster`: builds everything it needs, then becomes what starts all of a line log on
//! several machines.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the cluster's.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    release::build_and_become("release", &["server", "client", "cluster"], "cluster", args)
}
