//! `cargo xtask bench`: this server and its peers, measured in one run with one client.
//!
//! - `options`: the command line
//! - `system`: the servers; `setting`: the loads
//! - `running`: a running server; `cpus`: the CPUs it runs on
//! - `measure`: one measurement; `disturbance`: the load of other processes during it
//! - `nodes`: the NATS nodes of a server or a `publisher`; `fairness`: the latency of a light client
//! - `secure`: the cost of TLS outside the messages
//! - `turns`: a measurement of the turn-taking client
//! - `results`: sums over the rounds; `targets`: their limits
//! - `table`, `page`, `output`: the results as text, HTML and JSON

mod cpus;
mod disturbance;
mod fairness;
mod measure;
mod nodes;
mod options;
mod output;
mod page;
mod publisher;
mod results;
mod running;
mod secure;
mod setting;
mod system;
mod table;
mod targets;
mod turns;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::args;
use common::output::Output;
use common::process::{ENDING_SIGNALS, unblock_signals};
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use time::OffsetDateTime;
use time::macros::format_description;

use fairness::Waited;
use measure::{Machine, Sample};
use options::{COMMAND, Options};
use output::{About, Server};
use results::Results;
use setting::Setting;
use system::{Program, STREAMING, SYSTEMS};

/// Descriptors that a process needs in addition to those of its clients.
const SPARE_DESCRIPTORS: usize = 100;

const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = match COMMAND.read(Options::default(), std::env::args_os().skip(1)) {
        Ok(options) if options.list => return args::print(&options::list()),
        Ok(options) => options,
        Err(code) => return code,
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
    unblock_signals(ENDING_SIGNALS).map_err(|error| format!("cannot unblock signals: {error}"))?;
    for signal in [SIGINT, SIGTERM] {
        let flag = signal_hook::flag::register(signal, interrupted.clone());
        flag.map_err(|error| format!("cannot handle signals: {error}"))?;
    }
    let mut run = Run::new(options)?;
    let outputs = Outputs::create(&run.options)?;
    check_directory(&run.options.dir)?;
    let progress = progress_bar(&run);
    for round in 0..run.options.rounds() {
        run.rng.shuffle(&mut run.tasks);
        for at in 0..run.tasks.len() {
            if interrupted.load(Ordering::Relaxed) {
                progress.finish_and_clear();
                run.show(outputs)?;
                return Ok(ExitCode::from(EXIT_INTERRUPTED));
            }
            let task = run.tasks[at];
            progress.set_message(format!("round {}: {}", round + 1, task.name()));
            if let Err(why) = run.perform(task) {
                // Ctrl-C also reaches the client, which then fails.
                if !interrupted.load(Ordering::Relaxed) && !run.about.left_out.contains(&why) {
                    run.about.left_out.push(why);
                    run.failed = true;
                }
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    run.show(outputs)?;
    Ok(if run.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Reports a directory that cannot hold logs once, not once per server.
fn check_directory(dir: &Path) -> Result<(), String> {
    match tempfile::tempdir_in(dir) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "-dir {}: {error}; give a directory that can be written to",
            dir.display()
        )),
    }
}

/// One thing to measure.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// A server, by its index in [`SYSTEMS`], at a setting.
    Load(usize, Setting),
    Turns,
    /// Handshakes, memory and latency over TLS, without or with client certificates.
    Secure(bool),
    /// A light client under load from flooders, on a server with a stream.
    Fairness,
}

/// The output files, opened before the first measurement: a bad path fails early.
struct Outputs {
    json: Option<Output>,
    page: Option<Output>,
}

impl Outputs {
    fn create(options: &Options) -> Result<Self, String> {
        let json = options.json.as_deref();
        let json_file = json.map(|path| Output::create("json", path, &[]));
        let others: Vec<_> = json.into_iter().collect();
        let page = options.page.as_deref();
        let page_file = page.map(|path| Output::create("page", path, &others));
        Ok(Self {
            json: json_file.transpose()?,
            page: page_file.transpose()?,
        })
    }
}

struct Run {
    options: Options,
    about: About,
    tasks: Vec<Task>,
    results: Results,
    rng: Rng,
    failed: bool,
}

impl Run {
    fn new(options: Options) -> Result<Self, String> {
        let descriptors = common::process::raise_descriptor_limit();
        let mut about = About {
            date: date(),
            machine: None,
            rounds: options.rounds(),
            seconds: options.time().as_secs_f64(),
            seed: options.seed,
            measurements: 0,
            disturbed: 0,
            servers: Vec::new(),
            left_out: Vec::new(),
        };
        let mut tasks = Vec::new();
        for place in options.systems() {
            let system = &SYSTEMS[place];
            let name = system.name;
            if system.nodes > 0
                && let Err(why) = cluster::install(cluster::CURRENT)
            {
                about.left_out.push(format!("{name}: {why}"));
                continue;
            }
            let Some(version) = system.program.version() else {
                about.left_out.push(match system.program {
                    Program::Installed { packages, .. } => {
                        format!("{name}: not installed (Debian: apt install {packages})")
                    }
                    Program::Own(_) | Program::Publisher(_) => {
                        return Err(format!("{name} is not built"));
                    }
                });
                continue;
            };
            let promise = system.promise;
            about.servers.push(Server {
                name,
                version,
                promise,
            });
            for &setting in &options.settings() {
                let connections = setting.connections + setting.idle;
                let why = if connections > system.most_connections {
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
        let has = |name| about.servers.iter().any(|server| server.name == name);
        tasks.extend(has("server").then_some(Task::Turns));
        tasks.extend(has(STREAMING).then_some(Task::Fairness));
        if has("server-tls") {
            tasks.extend([false, true].map(Task::Secure));
        }
        Ok(Self {
            rng: Rng::with_seed(options.seed),
            options,
            about,
            tasks,
            results: Results::default(),
            failed: false,
        })
    }

    fn perform(&mut self, task: Task) -> Result<(), String> {
        let time = self.options.time();
        match task {
            Task::Load(place, setting) => {
                let system = &SYSTEMS[place];
                let dir = &self.options.dir;
                let sample = measure::calmest(
                    self.options.retries(),
                    |sample: &Sample| sample.disturbance,
                    || measure::measure(system, setting, time, dir),
                )?;
                self.results.add(setting, place, sample);
            }
            Task::Turns => {
                let five_first = self.rng.bool();
                let server = system::named("server").ok_or("no server")?;
                let turns = turns::measure(server, time, five_first, &self.options.dir)?;
                self.results.turns.push(turns);
            }
            Task::Fairness => {
                let server = system::named(STREAMING).ok_or("no server")?;
                let waited = measure::calmest(
                    self.options.retries(),
                    |waited: &Waited| waited.disturbance,
                    || fairness::measure(server, time, &self.options.dir),
                )?;
                self.results.fairness.push(waited);
            }
            Task::Secure(with_certificate) => {
                // Ten thousand handshakes take long: memory is measured once, in the first round.
                let mut before = self.results.secure.iter();
                let is_first = !self.options.quick
                    && !before.any(|secure| secure.with_certificate == with_certificate);
                let dir = &self.options.dir;
                let secure = secure::measure(with_certificate, is_first, time, dir)?;
                self.results.secure.push(secure);
            }
        }
        Ok(())
    }

    /// Prints the results and writes the requested files.
    fn show(&mut self, outputs: Outputs) -> Result<(), String> {
        let machine = |machine: &Machine| Machine {
            // `client load` runs on one CPU and reports only that one.
            cpus: std::thread::available_parallelism().map_or(1, usize::from) as u64,
            ..machine.clone()
        };
        let mut machines = self.results.samples().filter_map(|it| it.machine.as_ref());
        self.about.machine = machines.next().map(machine);
        let all = self.results.samples();
        self.about.measurements = all.clone().count();
        self.about.disturbed = all.filter(|s| s.is_disturbed()).count();
        let results_of_targets = targets::judge(&self.results, self.options.quick);
        let text = format!(
            "{}\n{}\n{}{}{}{}",
            self.about,
            table::promises(&self.about.servers),
            table::figures(&self.results),
            table::secure(&self.results),
            table::fairness(&self.results),
            table::targets(&results_of_targets, self.options.quick)
        );
        // A closed pipe is no error.
        _ = io::stdout().write_all(text.as_bytes());
        let files = [
            (
                outputs.json,
                output::json(&self.about, &self.results, &results_of_targets),
            ),
            (
                outputs.page,
                page::page(
                    &self.about,
                    &self.results,
                    &results_of_targets,
                    self.options.quick,
                ),
            ),
        ];
        for (file, text) in files {
            if let Some(file) = file {
                file.fill(|out| out.write_all(text.as_bytes()))?;
            }
        }
        Ok(())
    }
}

/// UTC, to the minute.
fn date() -> String {
    let now = OffsetDateTime::now_utc();
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    // Formatting fails for no value of `now`.
    now.format(format).unwrap_or_default()
}

/// A progress bar on the terminal, with the remaining time; hidden when stderr is no terminal.
fn progress_bar(run: &Run) -> ProgressBar {
    let total = run.tasks.len() * run.options.rounds();
    let bar = ProgressBar::new(total as u64);
    let template = "{bar:30} {pos}/{len}  {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
    bar
}

impl Task {
    fn name(self) -> String {
        match self {
            Self::Load(place, setting) => format!("{} at {setting}", SYSTEMS[place].name),
            Self::Turns => "the turn-taking client".to_owned(),
            Self::Fairness => "a light client beside heavy ones".to_owned(),
            Self::Secure(_) => "handshakes".to_owned(),
        }
    }
}
