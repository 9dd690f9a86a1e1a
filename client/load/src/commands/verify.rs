//! `client verify`: what `client load -verify` does, later.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use common::args::{self, Command, Invocation, Opt, UsageError};

use super::exit::{EXIT_VERIFICATION, fail, print};
use crate::show::text;
use crate::verify::runfile::RunFile;

const COMMAND: Command = Command {
    name: "client verify",
    usage: "[options] RUNFILE LOG...",
    about: "Proves that a server's log holds every message that it acknowledged to a run of \
            'client load -save RUNFILE': once, whole, and in order per connection. A log in \
            several files is given oldest first.",
    options: &[Opt {
        names: &["json"],
        value: "",
        help: "print what was found as one JSON object (text)",
    }],
    operands: true,
    examples: &[
        (
            "client load -save run.json; client verify run.json logging.log",
            "measure now, verify afterwards",
        ),
        (
            "client verify run.json logging.log.1 logging.log",
            "a log that was rotated during the run",
        ),
    ],
    notes: "Exit codes: 0 every acknowledged message is there, 1 a file could not be read, 2 usage, \
            4 verification failed.",
};

/// `client verify`.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let asked = match parse(args) {
        Ok(Asked::Verify(asked)) => asked,
        Ok(Asked::Print(text)) => return args::print(&text),
        Err(error) => return COMMAND.refuse(&error),
    };
    let run = RunFile::read(&asked.run_file)
        .map_err(|error| format!("cannot use {}: {error}", asked.run_file.display()));
    let verified = run
        .and_then(|run| run.verify(&asked.logs, &AtomicBool::new(false)))
        .and_then(|found| {
            // Nobody interrupts it: Ctrl-C ends the process.
            let found = found.unwrap_or_default();
            let text = if asked.json {
                serde_json::to_string(&found).map_err(|error| error.to_string())?
            } else {
                text::verification(&found)
            };
            print(&text)?;
            Ok(found.passed)
        });
    match verified {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_VERIFICATION),
        Err(error) => fail(COMMAND.name, &error),
    }
}

enum Asked {
    Print(String),
    Verify(Verify),
}

struct Verify {
    run_file: PathBuf,
    logs: Vec<PathBuf>,
    json: bool,
}

fn parse(args: Vec<OsString>) -> Result<Asked, UsageError> {
    let given = match COMMAND.parse(args)? {
        Invocation::Print(text) => return Ok(Asked::Print(text)),
        Invocation::Run(given) => given,
    };
    let json = given.iter().any(|given| given.name == "json");
    let operands = given.iter().filter(|given| given.name.is_empty());
    let mut paths = operands
        .map(args::Given::path)
        .collect::<Result<Vec<_>, _>>()?
        .into_iter();
    let run_file = paths
        .next()
        .ok_or_else(|| UsageError::new("expected RUNFILE and LOG"))?;
    let logs: Vec<_> = paths.collect();
    if logs.is_empty() {
        return Err(UsageError::new("expected the server's LOG after RUNFILE"));
    }
    Ok(Asked::Verify(Verify {
        run_file,
        logs,
        json,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn typed(args: &[&str]) -> Result<Asked, UsageError> {
        parse(args.iter().map(OsString::from).collect())
    }

    #[test]
    fn every_spelling_is_understood() {
        for args in [
            &["run.json", "a.log", "b.log", "-json"][..],
            &["--json", "run.json", "a.log", "b.log"],
        ] {
            let Ok(Asked::Verify(asked)) = typed(args) else {
                panic!("{args:?}");
            };
            assert_eq!(asked.run_file, Path::new("run.json"));
            assert_eq!(asked.logs, [Path::new("a.log"), Path::new("b.log")]);
            assert!(asked.json);
        }
        for args in [["-h"], ["-help"], ["--help"], ["-V"], ["--version"]] {
            assert!(matches!(typed(&args), Ok(Asked::Print(_))), "{args:?}");
        }
        for args in [&[][..], &["run.json"], &["run.json", "a.log", "-jason"]] {
            assert!(typed(args).is_err(), "{args:?}");
        }
        assert!(
            COMMAND
                .help()
                .lines()
                .all(|line| line.chars().count() <= 80)
        );
    }
}
