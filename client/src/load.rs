//! `client load`: an instrument that measures and verifies.

use std::ffi::OsString;
use std::process::ExitCode;

/// `client load`.
pub fn main(_args: Vec<OsString>) -> ExitCode {
    ExitCode::SUCCESS
}

/// `client verify`.
pub fn verify_main(_args: Vec<OsString>) -> ExitCode {
    ExitCode::SUCCESS
}

/// `client report`.
pub fn report_main(_args: Vec<OsString>) -> ExitCode {
    ExitCode::SUCCESS
}
