//! `client` takes turns; `client load`, `client verify` and `client report` measure and verify.

mod turns;

use std::io::{self, Write as _};
use std::process::ExitCode;

use common::args;
use common::process::{self, Tie};

fn main() -> ExitCode {
    match process::end_with_launcher() {
        Ok(Tie::Sound) => {}
        Ok(Tie::Foreign(pid)) => {
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
    let subcommand = args.first().and_then(|first| first.to_str());
    let run: fn(Vec<_>) -> ExitCode = match subcommand {
        Some("load") => load::main,
        Some("verify") => load::verify_main,
        Some("report") => load::report_main,
        Some(other) if !other.starts_with('-') => return unknown(other),
        _ => return turns::main(args),
    };
    run(args.split_off(1))
}

fn unknown(command: &str) -> ExitCode {
    let hint = match args::nearest(command, ["load", "verify", "report"]) {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => "expected load, verify, report, or options ('client -help')".to_owned(),
    };
    _ = writeln!(io::stderr(), "client: unknown command '{command}': {hint}");
    ExitCode::from(args::EXIT_USAGE)
}
