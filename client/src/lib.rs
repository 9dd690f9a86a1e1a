//! The client program: `client` takes turns, `client send` and `client read` send and read your
//! lines, and `client load`, `client verify` and `client report` measure and verify a server.
//!
//! It is a library so that the manual generator can read its options.

mod sending;
mod turns;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use common::args::{self, Page};
use common::process::{self, ParentCheck};

/// The options of the client and of each of its commands.
pub fn pages() -> Vec<Page> {
    let mut pages = vec![turns::COMMAND.page(), sending::COMMAND.page(), read::page()];
    pages.extend(load::pages());
    pages
}

/// The entry point of the program.
pub fn main() -> ExitCode {
    args::built_from(env!("LINE_LOG_COMMIT"));
    if let Err(error) = process::unblock_signals(process::ENDING_SIGNALS) {
        _ = writeln!(io::stderr(), "client: cannot unblock signals: {error}");
        return ExitCode::FAILURE;
    }
    match process::end_with_launcher() {
        Ok(ParentCheck::Sound) => {}
        Ok(ParentCheck::Foreign(pid)) => {
            let name = process::LAUNCHER_PID;
            _ = writeln!(
                io::stderr(),
                "client: {name}={pid} in the environment names no launcher of this client: ignored"
            );
        }
        Err(error) => {
            _ = writeln!(io::stderr(), "client: {error}");
            return ExitCode::FAILURE;
        }
    }
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    let first = args
        .first()
        .map(|first| first.to_string_lossy().into_owned());
    let Some(word) = first.filter(|first| !first.starts_with('-')) else {
        return turns::main(args);
    };
    let run: fn(Vec<OsString>) -> ExitCode = match word.as_str() {
        "load" => load::main,
        "verify" => load::verify_main,
        "report" => load::report_main,
        "send" => sending::main,
        "read" => read::main,
        _ => return unknown(&word),
    };
    run(args.split_off(1))
}

fn unknown(command: &str) -> ExitCode {
    let names = || turns::COMMAND.commands.iter().map(|(name, _)| *name);
    let hint = match args::nearest(command, names().chain(["help", "version"])) {
        Some(option @ ("help" | "version")) => format!("did you mean '-{option}'?"),
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => {
            let names: Vec<_> = names().collect();
            format!("expected {}, or options ('client -help')", names.join(", "))
        }
    };
    _ = writeln!(io::stderr(), "client: unknown command '{command}': {hint}");
    ExitCode::from(args::EXIT_USAGE)
}
