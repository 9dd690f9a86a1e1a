//! The turn-taking client.

use std::ffi::OsString;
use std::process::ExitCode;

/// `client`.
pub fn main(_args: Vec<OsString>) -> ExitCode {
    ExitCode::SUCCESS
}
