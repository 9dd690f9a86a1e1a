//! Command-line options of the benchmark.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::args::{ArgValue, Command, Opt, UsageError};

use crate::setting::{QUICK, Setting};
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
            "servers, separated by commas (default all)",
            |o, v| systems(v).map(|it| o.systems = Some(it)),
        ),
        Opt::new(
            &["settings"],
            "NAMES",
            "loads, separated by commas: CONNECTIONSxUNANSWERED, +IDLE for idle clients beside \
             them, :BYTES for one length of message, e.g. 50x16,50x1+18000:21 (default all)",
            |o, v| settings_of(v).map(|it| o.settings = Some(it)),
        ),
        Opt::new(
            &["rounds"],
            "N",
            "how often each is measured (default 7)",
            |o, v| {
                v.number("a number of rounds", 1..=1000)
                    .map(|it| o.rounds = Some(it))
            },
        ),
        Opt::new(
            &["seconds"],
            "TIME",
            "for how long each time (default 500ms)",
            |o, v| v.time(POSSIBLE).map(|it| o.time = Some(it)),
        ),
        Opt::new(
            &["retries"],
            "N",
            "how often a measurement is repeated that other processes disturb (default 2; -quick: 0)",
            |o, v| v.number("a number", 0..=100).map(|it| o.retries = Some(it)),
        ),
        Opt::new(
            &["seed"],
            "N",
            "repeat the order of another run (default the time)",
            |o, v| v.number("a seed", 0..=u64::MAX).map(|it| o.seed = it),
        ),
        Opt::new(
            &["json"],
            "FILE",
            "write all figures there (default: none)",
            |o, v| v.path().map(|it| o.json = Some(it)),
        ),
        Opt::new(
            &["page"],
            "FILE",
            "write a page of HTML with bars (default: none)",
            |o, v| v.path().map(|it| o.page = Some(it)),
        ),
        Opt::new(
            &["dir"],
            "DIR",
            "where the servers write their logs; a disk, to measure syncing (default the directory for \
             temporary files)",
            |o, v| v.path().map(|it| o.dir = it),
        ),
        Opt::new(
            &["list"],
            "",
            "name all servers and loads, and exit",
            |o, _| {
                o.list = true;
                Ok(())
            },
        ),
    ],
    commands: &[],
    operand: None,
    check: |_| Ok(()),
    examples: &[
        ("cargo xtask bench -quick", "the usual loads, in a minute"),
        (
            "cargo xtask bench -only baseline,server -settings 50x16:21 -rounds 20",
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

/// How long a measurement may last.
const POSSIBLE: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);

/// The parsed command line.
#[derive(Debug)]
pub(crate) struct Options {
    /// A short selection, too noisy to judge targets by.
    pub(crate) quick: bool,
    /// Print the servers and loads, and measure nothing.
    pub(crate) list: bool,
    /// Indexes in [`SYSTEMS`].
    systems: Option<Vec<usize>>,
    settings: Option<Vec<Setting>>,
    rounds: Option<usize>,
    time: Option<Duration>,
    retries: Option<usize>,
    pub(crate) seed: u64,
    pub(crate) json: Option<PathBuf>,
    pub(crate) page: Option<PathBuf>,
    pub(crate) dir: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            quick: false,
            list: false,
            systems: None,
            settings: None,
            rounds: None,
            time: None,
            retries: None,
            seed: now.map_or(1, |now| now.as_secs()),
            json: None,
            page: None,
            dir: std::env::temp_dir(),
        }
    }
}

impl Options {
    /// Indexes in [`SYSTEMS`]. A quick run leaves out systems with nodes: they take too long to start.
    pub(crate) fn systems(&self) -> Vec<usize> {
        self.systems.clone().unwrap_or_else(|| {
            let all = 0..SYSTEMS.len();
            all.filter(|place| !self.quick || SYSTEMS[*place].nodes == 0)
                .collect()
        })
    }

    pub(crate) fn settings(&self) -> Vec<Setting> {
        self.settings.clone().unwrap_or_else(|| {
            if !self.quick {
                return Setting::all();
            }
            let mut quick = settings(QUICK).unwrap_or_default();
            quick.retain(|setting| setting.bytes == 21);
            quick
        })
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 7 })
    }

    /// The time of one measurement.
    pub(crate) fn time(&self) -> Duration {
        let usual = if self.quick { 300 } else { 500 };
        self.time.unwrap_or(Duration::from_millis(usual))
    }

    pub(crate) fn retries(&self) -> usize {
        self.retries.unwrap_or(if self.quick { 0 } else { 2 })
    }
}

fn systems(arg: &ArgValue) -> Result<Vec<usize>, UsageError> {
    let names = arg.text()?;
    let place = |name: &str| SYSTEMS.iter().position(|system| system.name == name);
    let places: Option<Vec<_>> = names.split(',').map(place).collect();
    places.ok_or_else(|| arg.unexpected("servers as -list names them, separated by commas"))
}

fn settings_of(arg: &ArgValue) -> Result<Vec<Setting>, UsageError> {
    let chosen = settings(&arg.text()?);
    chosen.ok_or_else(|| arg.unexpected("loads as -list names them, separated by commas"))
}

/// None if a name is unknown.
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

/// The output of `-list`.
pub(crate) fn list() -> String {
    let mut text = "Servers, and where a message is when it is acknowledged:\n".to_owned();
    for system in SYSTEMS {
        _ = writeln!(text, "  {:16} {}", system.name, system.promise);
    }
    text.push_str("\nLoads, connections x unanswered messages on each:\n");
    for setting in Setting::all() {
        _ = writeln!(text, "  {:16} {}", setting.to_string(), setting.title());
    }
    text
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
        let systems = options.systems();
        systems.iter().map(|it| SYSTEMS[*it].name).collect()
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
            "-dir",
            "c",
        ]);
        assert_eq!(names(&options), ["baseline", "server-sync"]);
        let settings = options.settings();
        let settings: Vec<_> = settings.iter().map(Setting::to_string).collect();
        assert_eq!(settings, ["50x1+18000:21", "50x1+18000:1000", "50x16:21"]);
        assert_eq!(
            (options.rounds(), options.retries(), options.seed),
            (3, 1, 7)
        );
        assert_eq!(options.time(), Duration::from_millis(1500));
        let paths = [options.json, options.page, Some(options.dir)];
        assert_eq!(paths, ["a", "b", "c"].map(|path| Some(path.into())));
    }

    #[test]
    fn quick_is_a_choice_of_loads_and_servers() {
        let settings = run(&["-quick"]).settings();
        let settings: Vec<_> = settings.iter().map(Setting::to_string).collect();
        assert_eq!(settings, ["50x1:21", "50x16:21", "50x128:21", "1000x1:21"]);
        let stream = "server-stream-r3";
        assert!(!names(&run(&["-quick"])).contains(&stream) && names(&run(&[])).contains(&stream));
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
    fn help_and_list_fit_a_terminal() {
        for line in COMMAND.help_of(80).lines().chain(list().lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
