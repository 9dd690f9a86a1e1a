//! The load generator: `client load` measures and verifies, `client verify` does the latter alone, later,
//! and `client report` draws the figures of several runs on one page.
//!
//! It sends messages over many connections, times the reply to each, and can prove afterwards that
//! every acknowledged message is in the server's log.
//!
//! In the order of reading; nothing imports what stands above it:
//!
//! - `commands`: what is typed, and what comes out as an exit code.
//! - `show`: a report as text, and as a page with charts.
//! - `report`: a finished run as one object; what is doubtful about its figures.
//! - `drive`: from a plan to an outcome. A coordinator starts a worker per thread, each with its
//!   connections, and hears from them what they counted.
//! - `verify`: the server's log against what the server said.
//! - `message`: a message as it is sent, as it stands in the log, and what became of it.

// Figures are never negative.
#![allow(clippy::cast_sign_loss)]

mod commands;
mod drive;
mod message;
mod report;
mod show;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

/// `client load`; `args` is what follows that.
pub fn main(args: Vec<OsString>) -> ExitCode {
    commands::load::main(args)
}

/// `client verify`; `args` is what follows that.
pub fn verify_main(args: Vec<OsString>) -> ExitCode {
    commands::verify::main(args)
}

/// `client report`; `args` is what follows that.
pub fn report_main(args: Vec<OsString>) -> ExitCode {
    commands::report::main(args)
}

/// What can be typed after `client load`, `client verify` and `client report`.
pub fn pages() -> [common::args::Page; 3] {
    [
        commands::options::COMMAND.page(),
        commands::verify::COMMAND.page(),
        commands::report::COMMAND.page(),
    ]
}
