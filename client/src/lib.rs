//! The client program: `client` takes turns, `client send` and `client read` send and read your
//! lines, and `client load`, `client verify` and `client report` measure and verify a server.
//!
//! It is a library so that the manual generator can read its options.

mod sending;
mod turns;

use std::ffi::OsString;
use std::process::ExitCode;

use common::args::{self, Page};
use common::output::report;
use common::process::{self, ParentCheck};
use common::program::{self, Names};

/// The options of the client and of each of its commands.
pub fn pages(names: &Names) -> Vec<Page> {
    let mut pages =
        vec![turns::COMMAND.page(names), sending::COMMAND.page(names), read::page(names)];
    pages.extend(load::pages(names));
    pages
}

/// The entry point of the program.
pub fn main() -> ExitCode {
    let mut args: Vec<_> = program::start("client", env!("LINE_LOG_COMMIT")).collect();
    if let Err(error) = process::unblock_signals(process::ENDING_SIGNALS) {
        report("client", &format!("cannot unblock signals: {error}"));
        return ExitCode::FAILURE;
    }
    match process::end_with_launcher() {
        Ok(ParentCheck::Sound) => {}
        Ok(ParentCheck::Foreign(pid)) => {
            let name = process::LAUNCHER_PID;
            let what = "in the environment names no launcher of this client: ignored";
            report("client", &format!("{name}={pid} {what}"));
        }
        Err(error) => {
            report("client", &error.to_string());
            return ExitCode::FAILURE;
        }
    }
    let first = args.first().map(|first| first.to_string_lossy().into_owned());
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
            let own = program::named("client");
            format!("expected {}, or options ('{own} -help')", names.join(", "))
        }
    };
    report("client", &format!("unknown command '{command}': {hint}"));
    ExitCode::from(args::EXIT_USAGE)
}
