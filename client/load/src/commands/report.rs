//! `client report`: the figures of earlier runs on one page.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::args::{self, Command, Given, Invocation, Opt, UsageError};

use super::exit::fail;
use super::output::cannot_write;
use crate::report::Report;
use crate::show::page::page;

const COMMAND: Command = Command {
    name: "client report",
    usage: "[options] -o PAGE RUN...",
    about: "Draws what 'client load -json' printed for one run, or for several side by side, as \
            one page of HTML that needs nothing else.",
    options: &[Opt {
        names: &["o", "output"],
        value: "PAGE",
        help: "the file to write (no default)",
    }],
    operands: true,
    examples: &[
        (
            "client report before.json after.json -o compare.html",
            "compare two runs",
        ),
        (
            "client load -json -label sync > a.json; client report a.json -o a.html",
            "draw one run later; -label names it",
        ),
    ],
    notes: "Exit codes: 0 fine, 1 a file could not be read or written, 2 usage.",
};

/// `client report`.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let asked = match parse(args) {
        Ok(Asked::Draw(asked)) => asked,
        Ok(Asked::Print(text)) => return args::print(&text),
        Err(error) => return COMMAND.refuse(&error),
    };
    match draw(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(COMMAND.name, &error),
    }
}

enum Asked {
    Print(String),
    Draw(Draw),
}

struct Draw {
    runs: Vec<PathBuf>,
    page: PathBuf,
}

fn parse(args: Vec<OsString>) -> Result<Asked, UsageError> {
    let given = match COMMAND.parse(args)? {
        Invocation::Print(text) => return Ok(Asked::Print(text)),
        Invocation::Run(given) => given,
    };
    let (operands, options): (Vec<_>, Vec<_>) =
        given.iter().partition(|given| given.name.is_empty());
    let page = options
        .last()
        .ok_or_else(|| UsageError::new("expected -o PAGE"))?
        .path()?;
    let runs = operands
        .into_iter()
        .map(Given::path)
        .collect::<Result<Vec<_>, _>>()?;
    if runs.is_empty() {
        let expected = "expected RUN, a file that 'client load -json' filled";
        return Err(UsageError::new(expected));
    }
    Ok(Asked::Draw(Draw { runs, page }))
}

fn draw(asked: &Draw) -> Result<(), String> {
    let runs = asked
        .runs
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let html = page(&runs)?;
    fs::write(&asked.page, html).map_err(|error| cannot_write(&asked.page, &error))
}

fn read(path: &Path) -> Result<Report, String> {
    let text =
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Report::from_json(&text).map_err(|error| format!("cannot use {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(args: &[&str]) -> Result<Asked, UsageError> {
        parse(args.iter().map(OsString::from).collect())
    }

    #[test]
    fn every_spelling_is_understood() {
        for args in [
            &["a.json", "b.json", "-o", "c.html"][..],
            &["-o=c.html", "a.json", "b.json"],
            &["a.json", "--output", "c.html", "b.json"],
            &["-output=c.html", "a.json", "b.json"],
        ] {
            let Ok(Asked::Draw(asked)) = typed(args) else {
                panic!("{args:?}");
            };
            assert_eq!(asked.runs, [Path::new("a.json"), Path::new("b.json")]);
            assert_eq!(asked.page, Path::new("c.html"));
        }
        for args in [["-h"], ["-help"], ["--help"], ["-V"], ["--version"]] {
            assert!(matches!(typed(&args), Ok(Asked::Print(_))), "{args:?}");
        }
        for args in [&[][..], &["a.json"], &["-o", "c.html"], &["a.json", "-o"]] {
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
