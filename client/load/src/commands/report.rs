//! The command `client report`: the figures of several runs on one page.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::args::{Command, Opt, UsageError};
use common::output::Output;
use common::program::named;

use super::exit::fail;
use crate::report::Report;
use crate::show::page::page;

pub(crate) const COMMAND: Command<Draw> = Command {
    name: "client report",
    usage: "[options] -o PAGE RUN...",
    about: "Draws the output of '{client} load -json', for one run or for several side by side, as \
            a self-contained HTML page.",
    commands: &[],
    options: &[Opt {
        names: &["o", "output"],
        value: "PAGE",
        help: "file to write (required)",
        take: |asked, page| page.path().map(|page| asked.page = page),
    }],
    operand: Some(|asked, run| run.path().map(|run| asked.runs.push(run))),
    check: Draw::check,
    examples: &[
        ("{client} report before.json after.json -o compare.html", "compare two runs"),
        (
            "{client} load -json -label sync > a.json; {client} report a.json -o a.html",
            "draw one run later; -label names it",
        ),
    ],
    notes: "Exit codes: 0 fine, 1 a file could not be read or written, 2 usage.",
};

pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let asked = match COMMAND.read(Draw::default(), args) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    match draw(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(COMMAND.name, &error),
    }
}

#[derive(Debug, Default)]
pub(crate) struct Draw {
    runs: Vec<PathBuf>,
    page: PathBuf,
}

impl Draw {
    fn check(&mut self) -> Result<(), UsageError> {
        if self.page.as_os_str().is_empty() {
            return Err(UsageError::new("expected -o PAGE"));
        }
        if self.runs.is_empty() {
            let load = named("client load");
            return Err(UsageError::new(format!(
                "expected RUN, a file that '{load} -json' filled"
            )));
        }
        Ok(())
    }
}

fn draw(asked: &Draw) -> Result<(), String> {
    let runs = asked.runs.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let html = page(&runs)?;
    let inputs: Vec<_> = asked.runs.iter().map(PathBuf::as_path).collect();
    let output = Output::create("o", &asked.page, &inputs)?;
    output.fill(|out| out.write_all(html.as_bytes()))
}

fn read(path: &Path) -> Result<Report, String> {
    let text =
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut report = Report::from_json(&text)
        .map_err(|error| format!("cannot use {}: {error}", path.display()))?;
    // A run without a label gets the name of its file. Its random name would say nothing.
    let file = path.file_stem().map(|name| name.to_string_lossy().into_owned());
    report.label = report.label.or(file);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use common::args::Parsed;

    use super::*;

    fn typed(args: &[&str]) -> Result<Parsed<Draw>, UsageError> {
        COMMAND.parse(Draw::default(), args)
    }

    #[test]
    fn every_spelling_is_understood() {
        for args in [
            &["a.json", "b.json", "-o", "c.html"][..],
            &["-o=c.html", "a.json", "b.json"],
            &["a.json", "--output", "c.html", "b.json"],
            &["-output=c.html", "a.json", "b.json"],
        ] {
            let Ok(Parsed::Run(asked)) = typed(args) else {
                panic!("{args:?}");
            };
            assert_eq!(asked.runs, [Path::new("a.json"), Path::new("b.json")]);
            assert_eq!(asked.page, Path::new("c.html"));
        }
        for args in [["-h"], ["-help"], ["--help"], ["-V"], ["--version"]] {
            assert!(matches!(typed(&args), Ok(Parsed::Print(_))), "{args:?}");
        }
        for args in [&[][..], &["a.json"], &["-o", "c.html"], &["a.json", "-o"]] {
            assert!(typed(args).is_err(), "{args:?}");
        }
        assert!(COMMAND.help_of(80).lines().all(|line| line.chars().count() <= 80));
    }
}
