//! `cargo xtask dist`: makes packages.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::release;

/// `args` are the options of `dist`. `dist` itself is built without optimisation; it builds what it packs.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    match release::package("dev", "dist") {
        Ok(folder) => release::become_program(&folder.join("dist"), args),
        Err(code) => code,
    }
}
