//! Load generator: `client load` measures a server and verifies its log, `client verify` verifies
//! later, and `client report` draws the figures of several runs on one page.
//!
//! It sends messages over many connections and times the reply to each. Afterwards it can prove
//! that every acknowledged message is in the server's log.
//!
//! The modules, in the order of reading; none imports from one above it:
//!
//! - `commands`: options and exit codes.
//! - `show`: a report as text, and as a page with charts.
//! - `report`: a finished run as one object, with warnings about its figures.
//! - `drive`: from a plan to a result. A coordinator starts a worker per thread, each with its
//!   connections, and collects their figures.
//! - `verify`: comparison of the server's log with the replies.
//! - `message`: a message as sent, as recorded in the log, and its result.

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

use common::args::Page;
use common::program::Names;

/// Runs `client load`; `args` are the arguments after it.
pub fn main(args: Vec<OsString>) -> ExitCode {
    commands::load::main(args)
}

/// Runs `client verify`; `args` are the arguments after it.
pub fn verify_main(args: Vec<OsString>) -> ExitCode {
    commands::verify::main(args)
}

/// Runs `client report`; `args` are the arguments after it.
pub fn report_main(args: Vec<OsString>) -> ExitCode {
    commands::report::main(args)
}

/// The options of `client load`, `client verify` and `client report`.
pub fn pages(names: &Names) -> [Page; 3] {
    [
        commands::load::table::COMMAND.page(names),
        commands::verify::COMMAND.page(names),
        commands::report::COMMAND.page(names),
    ]
}
