//! The turn-taking client: five threads that pass the turn on, compared with one thread.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cpus::{self, Side};
use crate::running::Running;
use crate::system::System;

/// The default number of threads of the client.
const THREADS: u64 = 5;

/// Messages per second, roughly.
const RATE: u64 = 20_000;

/// Messages per second with one thread and with five, each measured for about `time`.
pub(crate) fn measure(
    system: &System,
    time: Duration,
    five_first: bool,
    root: &Path,
) -> Result<(f64, f64), String> {
    let server = Running::start(system, root)?;
    let rounds = RATE * time.as_millis() as u64 / 1000 / THREADS + 1;
    let one = || run(&server, 1, rounds * THREADS);
    let five = || run(&server, THREADS, rounds);
    if five_first {
        let five = five()?;
        return Ok((one()?, five));
    }
    Ok((one()?, five()?))
}

/// Messages per second, including the start and the end of the client.
fn run(server: &Running, threads: u64, rounds: u64) -> Result<f64, String> {
    let client = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(client.with_file_name("client"));
    command
        .args(["-quiet", "-host", "127.0.0.1"])
        .args(["-port", &server.port.to_string()])
        .args(["-nt", &threads.to_string(), "-ni", &rounds.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let status = cpus::on(Side::Client, || command.status());
    let took = begun.elapsed();
    match status {
        Ok(status) if status.success() => Ok((threads * rounds) as f64 / took.as_secs_f64()),
        Ok(status) => Err(format!("the turn-taking client ended: {status}")),
        Err(error) => Err(format!("cannot run the client: {error}")),
    }
}
