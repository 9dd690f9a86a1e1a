//! The launcher starts one server and `-cl` clients, shows the lines of all of them, and leaves no
//! process behind, however it ends.
//!
//! - `options`: what can be typed
//! - `launch`: the phases of a run, from the server's start to its end
//! - `event`: what the main thread waits for
//! - `child`: a process of ours, and what is known of it
//! - `output`: the lines of all children, whole and with their names
//! - `summary`: how it went

mod child;
mod event;
mod launch;
mod options;
mod output;
mod summary;

use std::process::ExitCode;

use crate::options::{COMMAND, Options};

/// What can be typed.
pub fn page() -> common::args::Page {
    COMMAND.page()
}

/// The program.
pub fn main() -> ExitCode {
    common::args::built_from(env!("LINE_LOG_COMMIT"));
    match COMMAND.read(Options::default(), std::env::args_os().skip(1)) {
        Ok(options) => launch::run(&options),
        Err(code) => code,
    }
}
