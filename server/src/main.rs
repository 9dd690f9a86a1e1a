//! The `server` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::args::built_from(env!("LINE_LOG_COMMIT"));
    server::start::run(std::env::args_os().skip(1))
}
