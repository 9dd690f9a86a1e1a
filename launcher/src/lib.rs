//! Launcher: starts one server and `-cl` clients and shows their output. It leaves no process
//! behind, however it ends.
//!
//! - `options`: the command-line options
//! - `launch`: the phases of a run, from the server's start to its end
//! - `event`: the events that the main thread waits for
//! - `child`: a child process
//! - `output`: the lines of all children, whole and with their names
//! - `summary`: the result of a run

mod child;
mod event;
mod launch;
mod options;
mod output;
mod summary;

use std::process::ExitCode;

use common::args::Page;
use common::program::{self, Names};

use crate::options::{COMMAND, Options};

/// The options of the launcher.
pub fn page(names: &Names) -> Page {
    COMMAND.page(names)
}

/// The entry point of the program.
pub fn main() -> ExitCode {
    let args = program::start("launcher", env!("LINE_LOG_COMMIT"));
    match COMMAND.read(Options::default(), args) {
        Ok(options) => launch::run(&options),
        Err(code) => code,
    }
}
