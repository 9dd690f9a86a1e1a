//! The command line.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::args::{Command, Given, Invocation, Opt, UsageError};

use crate::setting::{QUICK, Setting};
use crate::subject::SUBJECTS;

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    usage: "[options]",
    about: "Measures this server beside its peers, with the same client, in short rounds in \
            shuffled order, and says which targets are met. Peers that are not installed are \
            named and left out.",
    options: &[
        opt(
            &["quick"],
            "",
            "about a minute: two rounds of 0.3 s at 50x1, 50x16, 50x128 and 1000x1, 21 bytes (no)",
        ),
        opt(&["only"], "NAMES", "servers, separated by commas (all)"),
        opt(
            &["settings"],
            "NAMES",
            "loads, separated by commas: CONNECTIONSxUNANSWERED, +IDLE for idle clients beside \
             them, :BYTES for one length of message, e.g. 50x16,50x1+18000:21 (all)",
        ),
        opt(&["rounds"], "N", "how often each is measured (7)"),
        opt(&["seconds"], "TIME", "for how long each time (500ms)"),
        opt(
            &["retries"],
            "N",
            "how often a measurement is repeated that other processes disturb (2; -quick: 0)",
        ),
        opt(&["seed"], "N", "repeat the order of another run (the time)"),
        opt(&["json"], "FILE", "write all figures there (no)"),
        opt(&["page"], "FILE", "write a page of HTML with bars (no)"),
        opt(
            &["dir"],
            "DIR",
            "where the servers write their logs; a disk, to measure syncing (the directory for \
             temporary files)",
        ),
        opt(&["list"], "", "name all servers and loads, and exit"),
    ],
    operands: false,
    examples: &[
        ("cargo xtask bench -quick", "the usual loads, in a minute"),
        (
            "cargo xtask bench -only floor,server -settings 50x16:21 -rounds 20",
            "one comparison, well measured",
        ),
        (
            "cargo xtask bench -json bench.json -page bench.html",
            "everything: half an hour or more",
        ),
    ],
    notes: "Exit codes: 0 measured, whether targets were met or not, 1 a measurement failed, \
            2 usage, 130 interrupted (what was measured until then is shown).",
};

const fn opt(names: &'static [&'static str], value: &'static str, help: &'static str) -> Opt {
    Opt { names, value, help }
}

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    /// Places in [`SUBJECTS`].
    pub(crate) subjects: Vec<usize>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) rounds: usize,
    /// For how long each.
    pub(crate) time: Duration,
    pub(crate) retries: usize,
    pub(crate) seed: u64,
    pub(crate) json: Option<PathBuf>,
    pub(crate) page: Option<PathBuf>,
    pub(crate) dir: PathBuf,
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    Run(Options),
    Print(String),
}

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Asked, UsageError> {
    let given = match COMMAND.parse(args)? {
        Invocation::Print(text) => return Ok(Asked::Print(text)),
        Invocation::Run(given) => given,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut options = Options {
        subjects: (0..SUBJECTS.len()).collect(),
        settings: Setting::all(),
        rounds: 7,
        time: Duration::from_millis(500),
        retries: 2,
        seed: now.map_or(1, |now| now.as_secs()),
        json: None,
        page: None,
        dir: std::env::temp_dir(),
    };
    if given.iter().any(|given| given.name == "quick") {
        options.settings = settings(QUICK).unwrap_or_default();
        options.settings.retain(|setting| setting.bytes == 21);
        (options.rounds, options.retries) = (2, 0);
        options.time = Duration::from_millis(300);
    }
    for given in &given {
        match given.name {
            "quick" => {}
            "only" => options.subjects = subjects(given)?,
            "settings" => {
                let chosen = settings(&given.text()?);
                options.settings = chosen.ok_or_else(|| {
                    given.unexpected("loads as -list names them, separated by commas")
                })?;
            }
            "rounds" => options.rounds = given.number("a number of rounds", 1..=1000)?,
            "seconds" => {
                let possible = Duration::from_millis(50)..=Duration::from_secs(60);
                options.time = given.time(possible)?;
            }
            "retries" => options.retries = given.number("a number", 0..=100)?,
            "seed" => options.seed = given.number("a seed", 0..=u64::MAX)?,
            "json" => options.json = Some(given.path()?),
            "page" => options.page = Some(given.path()?),
            "dir" => options.dir = given.path()?,
            "list" => return Ok(Asked::Print(list())),
            other => unreachable!("-{other} is in the table but not here"),
        }
    }
    Ok(Asked::Run(options))
}

fn subjects(given: &Given) -> Result<Vec<usize>, UsageError> {
    let names = given.text()?;
    let place = |name: &str| SUBJECTS.iter().position(|subject| subject.name == name);
    let places: Option<Vec<_>> = names.split(',').map(place).collect();
    places.ok_or_else(|| given.unexpected("servers as -list names them, separated by commas"))
}

/// None if one of the names means nothing.
fn settings(names: &str) -> Option<Vec<Setting>> {
    let mut chosen = Vec::new();
    for name in names.split(',') {
        let before = chosen.len();
        chosen.extend(
            Setting::all()
                .into_iter()
                .filter(|setting| setting.is_called(name)),
        );
        if chosen.len() == before {
            return None;
        }
    }
    chosen.sort_unstable();
    chosen.dedup();
    Some(chosen)
}

fn list() -> String {
    let mut text = "Servers, and where a message is when it is acknowledged:\n".to_owned();
    for subject in SUBJECTS {
        _ = writeln!(text, "  {:15} {}", subject.name, subject.promise);
    }
    text.push_str("\nLoads, connections x unanswered messages on each:\n");
    for setting in Setting::all() {
        _ = writeln!(text, "  {:15} {}", setting.to_string(), setting.title());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Options {
        match parse(args.iter().map(OsString::from)).unwrap() {
            Asked::Run(options) => options,
            Asked::Print(text) => panic!("{text}"),
        }
    }

    #[test]
    fn every_option_is_taken() {
        let options = run(&[
            "-quick",
            "-only",
            "floor,server-sync",
            "-settings=50x1+18000,50x16:21",
            "-rounds",
            "3",
            "--seconds",
            "1.5",
            "-retries",
            "1",
            "-seed",
            "7",
            "-json",
            "a",
            "-page",
            "b",
            "-dir",
            "c",
        ]);
        let names: Vec<_> = options.subjects.iter().map(|i| SUBJECTS[*i].name).collect();
        assert_eq!(names, ["floor", "server-sync"]);
        let settings: Vec<_> = options.settings.iter().map(Setting::to_string).collect();
        assert_eq!(settings, ["50x1+18000:21", "50x1+18000:1000", "50x16:21"]);
        assert_eq!((options.rounds, options.retries, options.seed), (3, 1, 7));
        assert_eq!(options.time, Duration::from_millis(1500));
        let paths = [options.json, options.page, Some(options.dir)];
        assert_eq!(paths, ["a", "b", "c"].map(|path| Some(path.into())));
    }

    #[test]
    fn quick_is_a_choice_of_loads() {
        let settings: Vec<_> = run(&["-quick"])
            .settings
            .iter()
            .map(Setting::to_string)
            .collect();
        assert_eq!(settings, ["50x1:21", "50x16:21", "50x128:21", "1000x1:21"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for args in [
            &["-only", "apache"][..],
            &["-settings", "3x3"],
            &["-settings", ""],
            &["-rounds", "0"],
            &["-seconds", "0"],
            &["now"],
        ] {
            let args: Vec<_> = args.iter().map(OsString::from).collect();
            assert!(parse(args.clone()).is_err(), "{args:?}");
        }
    }

    #[test]
    fn help_and_list_fit_a_terminal() {
        for line in COMMAND.help().lines().chain(list().lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
