//! `cargo xtask bench`: this server beside its peers, measured in one run with one client.
//!
//! - `options`: what is asked for
//! - `subject`: the servers; `setting`: the loads
//! - `running`: a server that was started, and `cpus`, where
//! - `measure`: one measurement of it; `disturbance`: what else the machine did meanwhile
//! - `turns`: a measurement of the turn-taking client
//! - `results`: sums over the rounds; `targets`: what they are held against
//! - `table`, `page`, `output`: how they are shown

mod cpus;
mod disturbance;
mod measure;
mod options;
mod output;
mod page;
mod results;
mod running;
mod setting;
mod subject;
mod table;
mod targets;
mod turns;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::args;
use signal_hook::consts::{SIGINT, SIGTERM};

use measure::{Machine, Sample};
use options::{Asked, COMMAND, Options};
use output::{About, Server};
use results::Results;
use setting::Setting;
use subject::{Program, SUBJECTS};

/// Descriptors of a process beside those of its clients.
const SPARE_DESCRIPTORS: usize = 100;

const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Print(text)) => return args::print(&text),
        Err(error) => return COMMAND.refuse(&error),
    };
    match bench(options) {
        Ok(code) => code,
        Err(why) => {
            _ = writeln!(io::stderr(), "bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: Options) -> Result<ExitCode, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let flag = signal_hook::flag::register(signal, interrupted.clone());
        flag.map_err(|error| format!("cannot handle signals: {error}"))?;
    }
    let mut run = Run::new(options)?;
    let mut progress = Progress::new(&run);
    for round in 0..run.options.rounds {
        run.shuffle();
        for at in 0..run.tasks.len() {
            if interrupted.load(Ordering::Relaxed) {
                progress.clear();
                run.show()?;
                return Ok(ExitCode::from(EXIT_INTERRUPTED));
            }
            let task = run.tasks[at];
            progress.show(round, task);
            if let Err(why) = run.perform(task) {
                // Ctrl-C reaches the client as well.
                if !interrupted.load(Ordering::Relaxed) && !run.about.left_out.contains(&why) {
                    run.about.left_out.push(why);
                    run.failed = true;
                }
            }
        }
    }
    progress.clear();
    run.show()?;
    Ok(if run.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// One thing to measure.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// A server, by its place in the table, at a setting.
    Load(usize, Setting),
    Turns,
}

struct Run {
    options: Options,
    about: About,
    tasks: Vec<Task>,
    results: Results,
    random: u64,
    failed: bool,
}

impl Run {
    fn new(options: Options) -> Result<Self, String> {
        let descriptors = common::process::raise_descriptor_limit();
        let mut about = About {
            date: date(),
            machine: None,
            rounds: options.rounds,
            seconds: options.time.as_secs_f64(),
            seed: options.seed,
            measurements: 0,
            disturbed: 0,
            servers: Vec::new(),
            left_out: Vec::new(),
        };
        let mut tasks = Vec::new();
        for &place in &options.subjects {
            let subject = &SUBJECTS[place];
            let name = subject.name;
            let Some(version) = subject.program.version() else {
                about.left_out.push(match subject.program {
                    Program::Installed { packages, .. } => {
                        format!("{name}: not installed (Debian: apt install {packages})")
                    }
                    Program::Own(program) => return Err(format!("{program} is not built")),
                });
                continue;
            };
            let promise = subject.promise;
            about.servers.push(Server {
                name,
                version,
                promise,
            });
            for &setting in &options.settings {
                let connections = setting.connections + setting.idle;
                let why = if connections > subject.most_connections {
                    "too many clients for it"
                } else if connections + SPARE_DESCRIPTORS > descriptors {
                    "more clients than 'ulimit -Hn' allows"
                } else {
                    tasks.push(Task::Load(place, setting));
                    continue;
                };
                about.left_out.push(format!("{name} at {setting}: {why}"));
            }
        }
        let has_server = about.servers.iter().any(|server| server.name == "server");
        tasks.extend(has_server.then_some(Task::Turns));
        Ok(Self {
            random: options.seed,
            options,
            about,
            tasks,
            results: Results::default(),
            failed: false,
        })
    }

    /// Fisher and Yates.
    fn shuffle(&mut self) {
        for last in (1..self.tasks.len()).rev() {
            let other = self.random(last as u64 + 1) as usize;
            self.tasks.swap(last, other);
        }
    }

    /// Below `bound`, by `SplitMix64`: good enough for an order.
    fn random(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn perform(&mut self, task: Task) -> Result<(), String> {
        let time = self.options.time;
        match task {
            Task::Load(place, setting) => {
                let subject = &SUBJECTS[place];
                let measure = || measure::measure(subject, setting, time, &self.options.dir);
                let mut best = measure();
                for _ in 0..self.options.retries {
                    // A client that hardly got a CPU may have nothing to tell at all.
                    let disturbance = match &best {
                        Ok(sample) if !sample.is_disturbed() => break,
                        Ok(sample) => sample.disturbance,
                        Err(_) => f64::INFINITY,
                    };
                    match measure() {
                        Ok(next) if next.disturbance < disturbance => best = Ok(next),
                        _ => {}
                    }
                }
                self.results.add(setting, place, best?);
            }
            Task::Turns => {
                let five_first = self.random(2) == 0;
                let server = SUBJECTS.iter().find(|subject| subject.name == "server");
                let server = server.ok_or("no server")?;
                let turns = turns::measure(server, time, five_first, &self.options.dir)?;
                self.results.turns.push(turns);
            }
        }
        Ok(())
    }

    /// Prints the figures and writes what files were asked for.
    fn show(&mut self) -> Result<(), String> {
        let machine = |sample: &Sample| Machine {
            // The client knows but the one that it was given.
            cpus: std::thread::available_parallelism().map_or(1, usize::from) as u64,
            ..sample.machine.clone()
        };
        self.about.machine = self.results.samples().next().map(machine);
        let all = self.results.samples();
        self.about.measurements = all.clone().count();
        self.about.disturbed = all.filter(|s| s.is_disturbed()).count();
        let verdicts = targets::judge(&self.results);
        let text = format!(
            "{}\n{}{}",
            self.about,
            table::figures(&self.results),
            table::targets(&verdicts)
        );
        // A reader that has gone is no error.
        _ = io::stdout().write_all(text.as_bytes());
        let files = [
            (
                &self.options.json,
                output::json(&self.about, &self.results, &verdicts),
            ),
            (
                &self.options.page,
                page::page(&self.about, &self.results, &verdicts),
            ),
        ];
        for (path, text) in files {
            if let Some(path) = path {
                fs::write(path, text)
                    .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// UTC, to the minute.
fn date() -> String {
    let said = Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .output();
    said.map_or(String::new(), |said| {
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    })
}

/// A line on the terminal that says how far it is.
struct Progress {
    shown: bool,
    total: usize,
    done: usize,
}

impl Progress {
    fn new(run: &Run) -> Self {
        Self {
            shown: io::stderr().is_terminal(),
            total: run.tasks.len() * run.options.rounds,
            done: 0,
        }
    }

    fn show(&mut self, round: usize, task: Task) {
        if self.shown {
            let what = match task {
                Task::Load(place, setting) => format!("{} at {setting}", SUBJECTS[place].name),
                Task::Turns => "the turn-taking client".to_owned(),
            };
            let (done, total) = (self.done, self.total);
            _ = write!(
                io::stderr(),
                "\r\x1b[K{done}/{total}, round {}: {what}",
                round + 1
            );
        }
        self.done += 1;
    }

    fn clear(&self) {
        if self.shown {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
