//! The command `client verify`: verifies a saved run, as `client load -verify` does at once.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use common::args::{Command, Opt, UsageError, switch};
use nats::options::{Options as Nodes, SharedOptions};
use nats::pull::Start;
use nats::stream_options::{self, StreamOptions};

use super::exit::{EXIT_VERIFICATION, fail, print};
use crate::show::text;
use crate::verify::logs::{self, Log};
use crate::verify::runfile::RunFile;
use crate::verify::streamed::StreamLog;

pub(crate) const COMMAND: Command<Verify> = Command {
    name: "client verify",
    usage: "[options] RUNFILE [LOG...]",
    about: "Checks that a server's log holds every message that it acknowledged to a run of \
            '{client} load -save RUNFILE': once, whole, and in order per connection. Rotated files \
            of the server may come in any order; of other logs the oldest file comes first. With \
            -stream the log is a NATS stream.",
    commands: &[],
    options: &[
        Opt {
            names: &["json"],
            value: "",
            help: "print what was found as one JSON object (default text)",
            take: |asked, _| switch(&mut asked.json),
        },
        Opt {
            names: &["stream"],
            value: "NAME",
            help: "the server's log is this NATS stream (default: LOG)",
            take: |asked, arg| stream_options::name(arg).map(|it| asked.stream.name = Some(it)),
        },
        SharedOptions::NATS,
        SharedOptions::CREDENTIALS,
        SharedOptions::CA,
        SharedOptions::CERT,
        SharedOptions::KEY,
    ],
    operand: Some(|asked, path| path.path().map(|path| asked.take(path))),
    check: Verify::check,
    examples: &[
        (
            "{client} load -save run.json; {client} verify run.json logging.log",
            "measure now, verify afterwards",
        ),
        (
            "{client} verify run.json logging.log.1 logging.log",
            "a log that was renamed during the run",
        ),
        ("{client} verify run.json logging*.log", "a log with its rotated files"),
        ("{client} verify -stream LOG -nats nats://a,nats://b run.json", "a log that is a stream"),
    ],
    notes: "Exit codes: 0 every acknowledged message is there, 1 a log could not be read, 2 usage, \
            4 verification failed.",
};

pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let asked = match COMMAND.read(Verify::default(), args) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let run = RunFile::read(&asked.run_file)
        .map_err(|error| format!("cannot use {}: {error}", asked.run_file.display()));
    let verified =
        run.and_then(|run| run.verify(asked.log()?, &AtomicBool::new(false))).and_then(|found| {
            // The flag is never set, so the verification is complete. Ctrl-C ends the process.
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

#[derive(Debug, Default)]
pub(crate) struct Verify {
    run_file: PathBuf,
    logs: Vec<PathBuf>,
    stream: StreamOptions,
    json: bool,
}

impl AsMut<Nodes> for Verify {
    fn as_mut(&mut self) -> &mut Nodes {
        &mut self.stream.nodes
    }
}

impl Verify {
    /// Takes an operand: the first is the run file, the others are logs.
    fn take(&mut self, path: PathBuf) {
        if self.run_file.as_os_str().is_empty() {
            self.run_file = path;
        } else {
            self.logs.push(path);
        }
    }

    fn check(&mut self) -> Result<(), UsageError> {
        if self.run_file.as_os_str().is_empty() {
            return Err(UsageError::new("expected RUNFILE and LOG"));
        }
        self.stream.check()?;
        match (self.stream.name.is_some(), self.logs.is_empty()) {
            (false, true) => Err(UsageError::new("expected the server's LOG after RUNFILE")),
            (true, false) => Err(UsageError::new("-stream and LOG are two logs: give one")),
            _ => Ok(()),
        }
    }

    fn log(&self) -> Result<Log, String> {
        Ok(match StreamLog::open(&self.stream, COMMAND.name, Start::First)? {
            Some(stream) => Log::Stream(Box::new(stream)),
            None => Log::Files(logs::named(&self.logs)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use common::args::Parsed;

    use super::*;

    fn typed(args: &[&str]) -> Result<Parsed<Verify>, UsageError> {
        COMMAND.parse(Verify::default(), args)
    }

    #[test]
    fn every_spelling_is_understood() {
        for args in [
            &["run.json", "a.log", "b.log", "-json"][..],
            &["--json", "run.json", "a.log", "b.log"],
        ] {
            let Ok(Parsed::Run(asked)) = typed(args) else {
                panic!("{args:?}");
            };
            assert_eq!(asked.run_file, Path::new("run.json"));
            assert_eq!(asked.logs, [Path::new("a.log"), Path::new("b.log")]);
            assert!(asked.json);
        }
        for args in [["-h"], ["-help"], ["--help"], ["-V"], ["--version"]] {
            assert!(matches!(typed(&args), Ok(Parsed::Print(_))), "{args:?}");
        }
        for args in [&[][..], &["run.json"], &["run.json", "a.log", "-jason"]] {
            assert!(typed(args).is_err(), "{args:?}");
        }
        assert!(COMMAND.help_of(80).lines().all(|line| line.chars().count() <= 80));
    }
}
