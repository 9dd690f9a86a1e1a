//! All measurements of a run: rounds in shuffled order.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{LOADS, Load};
use crate::measure;
use crate::options::Options;
use crate::report::{Measured, Report};
use crate::results::Results;
use crate::system::{SYSTEMS, System, Tls};

/// Descriptors that a process needs in addition to those of its clients.
const SPARE_DESCRIPTORS: usize = 100;

const EXIT_INTERRUPTED: u8 = 130;

/// Measures until all is done or `interrupted` is set.
pub(crate) fn run(options: &Options, interrupted: &AtomicBool) -> (Report, ExitCode) {
    let mut report = Report::begin(options);
    let mut tasks = plan(options, &mut report);
    let (mut results, mut code) = (Results::default(), ExitCode::SUCCESS);
    let progress = progress_bar(tasks.len() * options.rounds);
    let mut rng = Rng::with_seed(options.seed);
    let retries = options.retries.unwrap_or_default();
    'rounds: for round in 1..=options.rounds {
        rng.shuffle(&mut tasks);
        for &(load, system) in &tasks {
            let name = format!("{} at {}", SYSTEMS[system].name, LOADS[load].name);
            progress.set_message(format!("round {round}: {name}"));
            let sample = measure::calmest(retries, || {
                measure::measure(&SYSTEMS[system], &LOADS[load], options.time)
            });
            // Ctrl-C also reaches the client, which then fails.
            if interrupted.load(Ordering::Relaxed) {
                code = ExitCode::from(EXIT_INTERRUPTED);
                break 'rounds;
            }
            match sample {
                Ok(sample) => results.add(load, system, sample),
                Err(why) => {
                    code = ExitCode::FAILURE;
                    let why = format!("{name} in round {round}: {why}");
                    report.left_out.push(why);
                }
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    report.complete(&results);
    (report, code)
}

/// What is to be measured: indexes in [`LOADS`] and [`SYSTEMS`]. The report names the systems, and what is
/// left out.
fn plan(options: &Options, report: &mut Report) -> Vec<(usize, usize)> {
    let descriptors = common::process::raise_descriptor_limit();
    let (mut tasks, left_out) = (Vec::new(), &mut report.left_out);
    for &index in &options.systems {
        let system = &SYSTEMS[index];
        let (name, promise) = (system.name, system.promise);
        match system.version() {
            Ok(version) => report.servers.push(Measured { name, version, promise }),
            Err(why) => {
                left_out.push(format!("{name}: {why}"));
                continue;
            }
        }
        let most = system.max_connections.unwrap_or(usize::MAX);
        let most = most.min(descriptors.saturating_sub(SPARE_DESCRIPTORS));
        let loads = options.loads.iter();
        for &load in loads.filter(|it| suits(system, &LOADS[**it])) {
            if LOADS[load].connections + LOADS[load].idle > most {
                let at = LOADS[load].name;
                left_out.push(format!("{name} at {at}: more than {most} clients"));
            } else {
                tasks.push((load, index));
            }
        }
    }
    tasks
}

/// Whether the load means anything for the system.
fn suits(system: &System, load: &Load) -> bool {
    match load.beside() {
        _ if load.is_handshakes => system.tls != Tls::None,
        Some(other) if other.is_handshakes => system.tls != Tls::None,
        // With a log file, the two loads would share the client's CPU.
        Some(_) => system.nodes > 0 && !system.is_bare(),
        None => true,
    }
}

/// A progress bar on the terminal, with the remaining time; hidden when stderr is no terminal.
fn progress_bar(total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left");
    ProgressBar::new(total as u64).with_style(style.expect("a valid template"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn systems_for(load: &str) -> Vec<&'static str> {
        let load = LOADS.iter().find(|it| it.is_called(load)).unwrap();
        let suited = SYSTEMS.iter().filter(|system| suits(system, load));
        suited.map(|system| system.name).collect()
    }

    #[test]
    fn special_loads_are_for_the_systems_that_they_mean() {
        assert_eq!(systems_for("50x1").len(), SYSTEMS.len());
        let streaming = ["server-stream-r1", "server-stream-r3"];
        assert_eq!(systems_for("light+flood"), streaming);
        for load in ["handshakes", "light+handshakes"] {
            let systems = systems_for(load);
            assert!(systems.contains(&"server-tls") && systems.contains(&"server-mtls"));
            assert!(!systems.contains(&"server"));
        }
    }

    #[test]
    fn too_many_clients_are_left_out() {
        let index = |name: &str| SYSTEMS.iter().position(|it| it.name == name).unwrap();
        let mut options = Options {
            systems: vec![index("baseline"), index("haproxy-tls")],
            loads: (0..LOADS.len()).filter(|it| LOADS[*it].connections > 1000).collect(),
            ..Options::default()
        };
        let mut report = Report::begin(&options);
        let is_installed = SYSTEMS[index("haproxy-tls")].version().is_ok();
        let tasks = plan(&options, &mut report);
        assert!(tasks.iter().all(|(_, system)| *system == index("baseline")));
        assert!(!report.left_out.is_empty());
        if is_installed {
            options.loads = vec![0];
            assert_eq!(plan(&options, &mut report).len(), 2);
        }
    }
}
