//! The `server` program.

use std::process::ExitCode;

use common::program;

fn main() -> ExitCode {
    server::start::run(program::start("server", env!("LINE_LOG_COMMIT")))
}
