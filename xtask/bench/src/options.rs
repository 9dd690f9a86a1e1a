//! Command-line options of the benchmark.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use common::args::{ArgValue, Command, Opt, UsageError};

use crate::load::LOADS;
use crate::system::SYSTEMS;

pub(crate) const COMMAND: Command<Options> = Command {
    name: "bench",
    usage: "[options]",
    about: "Measures this server beside its peers, with the same client, in short rounds in \
            shuffled order, and says which targets are met. Peers that are not installed are \
            named and left out.",
    options: &[
        Opt::new(
            &["quick"],
            "",
            "about a minute: two rounds of 0.3 s at 50x1, 50x16, 50x128 and 1000x1, 21 bytes, without \
             streams; too noisy to judge targets by",
            |o, _| {
                o.quick = true;
                Ok(())
            },
        ),
        Opt::new(
            &["only"],
            "NAMES",
            "servers, separated by commas (default all; `-only ?` names them)",
            |o, v| systems(v).map(|it| o.systems = it),
        ),
        Opt::new(
            &["settings"],
            "NAMES",
            "loads, separated by commas: CONNECTIONSxUNANSWERED, +IDLE for idle clients beside \
             them, :BYTES for one length of message, e.g. 50x16,50x1+18000:21 (default all; \
             `-settings ?` names them)",
            |o, v| loads(v).map(|it| o.loads = it),
        ),
        Opt::new(&["rounds"], "N", "how often each is measured (default 7)", |o, v| {
            v.number("a number", 1..=1000).map(|it| o.rounds = it)
        }),
        Opt::new(&["seconds"], "TIME", "for how long each time (default 500ms)", |o, v| {
            v.time(POSSIBLE).map(|it| o.time = it)
        }),
        Opt::new(
            &["retries"],
            "N",
            "how often a measurement is repeated that other processes disturb (default 2; -quick: 0)",
            |o, v| v.number("a number", 0..=100).map(|it| o.retries = Some(it)),
        ),
        Opt::new(&["seed"], "N", "repeat the order of another run (default the time)", |o, v| {
            v.number("a seed", 1..=u64::MAX).map(|it| o.seed = it)
        }),
        Opt::new(&["json"], "FILE", "write all figures there (default: none)", |o, v| {
            v.path().map(|it| o.json = Some(it))
        }),
        Opt::new(&["page"], "FILE", "write a page of HTML with bars (default: none)", |o, v| {
            v.path().map(|it| o.page = Some(it))
        }),
    ],
    commands: &[],
    operand: None,
    check: complete,
    examples: &[("cargo xtask bench -quick", "the usual loads, in a minute")],
    notes: "Exit codes: 0 measured, whether targets were met or not, 1 a measurement failed, \
            2 usage, 130 interrupted (what was measured until then is shown). The servers write \
            their logs to the directory for temporary files; set TMPDIR to a disk to measure syncing.",
};

/// How long a measurement may last.
const POSSIBLE: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);

/// The parsed command line.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// A short selection, too noisy to judge targets by.
    pub(crate) quick: bool,
    /// Indexes in [`SYSTEMS`].
    pub(crate) systems: Vec<usize>,
    /// Indexes in [`LOADS`].
    pub(crate) loads: Vec<usize>,
    pub(crate) rounds: usize,
    /// The time of one measurement.
    pub(crate) time: Duration,
    /// How often a disturbed measurement is repeated.
    pub(crate) retries: Option<usize>,
    pub(crate) seed: u64,
    pub(crate) json: Option<PathBuf>,
    pub(crate) page: Option<PathBuf>,
}

/// Sets what was not given.
#[allow(clippy::unnecessary_wraps, reason = "the signature of `check`")]
fn complete(options: &mut Options) -> Result<(), UsageError> {
    let quick = options.quick;
    if options.systems.is_empty() {
        // Systems with nodes take too long to start for a quick run.
        let all = 0..SYSTEMS.len();
        options.systems = all.filter(|it| !quick || SYSTEMS[*it].nodes == 0).collect();
    }
    if options.loads.is_empty() {
        let all = 0..LOADS.len();
        options.loads = all.filter(|it| !quick || LOADS[*it].is_quick).collect();
    }
    if options.rounds == 0 {
        options.rounds = if quick { 2 } else { 7 };
    }
    if options.time.is_zero() {
        options.time = Duration::from_millis(if quick { 300 } else { 500 });
    }
    if options.seed == 0 {
        options.seed = UNIX_EPOCH.elapsed().map_or(1, |now| now.as_secs());
    }
    options.retries.get_or_insert(if quick { 0 } else { 2 });
    Ok(())
}

fn systems(arg: &ArgValue) -> Result<Vec<usize>, UsageError> {
    let known: Vec<_> = SYSTEMS.iter().map(|system| system.name).collect();
    indexes(arg, &known, |it, asked| SYSTEMS[it].name == asked)
}

fn loads(arg: &ArgValue) -> Result<Vec<usize>, UsageError> {
    let known: Vec<_> = LOADS.iter().map(|load| load.name).collect();
    indexes(arg, &known, |it, asked| LOADS[it].is_called(asked))
}

/// The indexes of the names that `arg` asks for. The error for an unknown one has all names.
fn indexes(
    arg: &ArgValue,
    known: &[&str],
    is_called: fn(usize, &str) -> bool,
) -> Result<Vec<usize>, UsageError> {
    let (asked, all) = (arg.text()?, 0..known.len());
    let is_known = |asked: &str| all.clone().any(|it| is_called(it, asked));
    if !asked.split(',').all(is_known) {
        return Err(arg.unexpected(&format!("some of {}", known.join(","))));
    }
    let is_asked = |it: &usize| asked.split(',').any(|asked| is_called(*it, asked));
    Ok(all.clone().filter(is_asked).collect())
}

#[cfg(test)]
mod tests {
    use common::args::Parsed;

    use super::*;

    fn run(args: &[&str]) -> Options {
        match COMMAND.parse(Options::default(), args).unwrap() {
            Parsed::Run(options) => options,
            Parsed::Print(text) => panic!("{text}"),
        }
    }

    fn names(options: &Options) -> Vec<&'static str> {
        let systems = &options.systems;
        systems.iter().map(|it| SYSTEMS[*it].name).collect()
    }

    fn loads(options: &Options) -> Vec<&'static str> {
        options.loads.iter().map(|it| LOADS[*it].name).collect()
    }

    #[test]
    fn every_option_is_taken() {
        let options = run(&[
            "-quick",
            "-only",
            "baseline,server-sync",
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
        ]);
        assert_eq!(names(&options), ["baseline", "server-sync"]);
        let expected = ["50x16:21", "50x1+18000:21"];
        assert_eq!(loads(&options), expected);
        let numbers = (options.rounds, options.retries, options.seed);
        assert_eq!(numbers, (3, Some(1), 7));
        assert_eq!(options.time, Duration::from_millis(1500));
        let paths = [options.json, options.page];
        assert_eq!(paths, ["a", "b"].map(|path| Some(path.into())));
    }

    #[test]
    fn a_load_without_a_length_means_all_lengths() {
        let options = run(&["-settings", "50x1,light+flood"]);
        assert_eq!(loads(&options), ["50x1:21", "50x1:1000", "light+flood"]);
    }

    #[test]
    fn quick_is_a_choice_of_loads_and_servers() {
        let (quick, all) = (run(&["-quick"]), run(&[]));
        assert_eq!(loads(&quick), ["50x1:21", "50x16:21", "50x128:21", "1000x1:21"]);
        assert_eq!(loads(&all).len(), LOADS.len());
        assert!(quick.time < all.time && quick.rounds < all.rounds);
        let stream = "server-stream-r3";
        assert!(!names(&quick).contains(&stream) && names(&all).contains(&stream));
        assert_eq!(names(&run(&["-quick", "-only", stream])), [stream]);
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
            let parsed = COMMAND.parse(Options::default(), args);
            assert!(parsed.is_err(), "{args:?}");
        }
    }

    #[test]
    fn help_fits_a_terminal() {
        for line in COMMAND.help_of(80).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_all() {
        let error = COMMAND.parse(Options::default(), ["-only", "?"]).unwrap_err();
        let names = SYSTEMS.iter().all(|it| error.to_string().contains(it.name));
        assert!(names, "{error}");
    }
}
