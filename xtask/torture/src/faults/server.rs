//! Faults of the server, its disk and its signals, under load.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use test_support::numbered::Load;
use test_support::programs::{MOUNT, cargo, script, succeeds};
use test_support::scenarios;
use test_support::server::Server;
use test_support::wait::wait_until;

use crate::report::FaultReport;

/// How often the server is killed on one log, and how often one server's log is rotated.
const KILLS: u32 = 10;
const ROTATIONS: u32 = 5;

/// The time limit for a graceful stop, from the contract.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Sleeps for a random time below `millis`, in whole microseconds.
fn pause_below(random: &mut Rng, millis: u64) {
    thread::sleep(Duration::from_micros(random.u64(..1000 * millis)));
}

/// A load with a random pipeline.
fn load(server: &Server, connections: usize, pipeline: usize, random: &mut Rng) -> Load {
    let pipeline = 1 + random.usize(..pipeline);
    Load::start(server.address(), connections, pipeline).unwrap()
}

/// Kills the server at a random moment, starts it on the same log, and repeats.
pub(crate) fn crash(random: &mut Rng) -> FaultReport {
    kill_again_and_again(random, &["-append"])
}

/// The same with a server that rotates its log all the time.
pub(crate) fn crash_rotating(random: &mut Rng) -> FaultReport {
    kill_again_and_again(random, &["-append", "-rotate-size", "20K"])
}

fn kill_again_and_again(random: &mut Rng, options: &[&str]) -> FaultReport {
    let killed = scenarios::kill_again_and_again(options, KILLS, |_, server| {
        let load = load(server, 50, 64, random);
        pause_below(random, 50);
        load
    });
    let mut report = FaultReport::of(&killed.verification);
    report.times = KILLS;
    let (rotated, torn) = (killed.rotated, killed.torn);
    report.remark(&format!("{rotated} rotated files, {torn} torn records"));
    report
}

/// Sends SIGTERM at a random moment.
pub(crate) fn stop(random: &mut Rng) -> FaultReport {
    let server = Server::start(&[]);
    let load = load(&server, 50, 256, random);
    pause_below(random, 200);
    let (verification, took) = scenarios::stop_under_load(server, load);
    let mut report = FaultReport::of(&verification);
    report.expect(took < STOPS_WITHIN, format!("took {took:?}"));
    report.remark(&format!("the last took {took:.0?}"));
    report
}

pub(crate) fn full_disk(random: &mut Rng) -> FaultReport {
    if !succeeds(MOUNT) {
        return FaultReport::skipped("a tmpfs cannot be mounted");
    }
    let ballast = 300_000 + random.u64(..600_000);
    fill_and_free(random, ballast, scenarios::full_disk)
}

pub(crate) fn file_size_limit(random: &mut Rng) -> FaultReport {
    let blocks = 1 + random.u64(..2000);
    fill_and_free(random, blocks, scenarios::file_size_limit)
}

/// Frees a log that cannot grow some time after the first error.
fn fill_and_free(random: &mut Rng, size: u64, scenario: scenarios::FillAndFree) -> FaultReport {
    let pipeline = 1 + random.usize(..64);
    let (verification, ended) = scenario(size, pipeline, &mut |load| {
        wait_until("errors", || load.errors() > 0);
        pause_below(random, 100);
    });
    let mut report = FaultReport::of(&verification);
    let lines = ended.said.len();
    report.expect(lines < 50, format!("{lines} lines on standard error"));
    report
}

pub(crate) fn rotation(random: &mut Rng) -> FaultReport {
    let server = Server::start(&[]);
    let load = load(&server, 50, 64, random);
    let moment = |_: &Load| pause_below(random, 20);
    let verification = scenarios::rename_and_reopen(&server, load, ROTATIONS, moment);
    let mut report = FaultReport::of(&verification);
    report.times = ROTATIONS;
    report
}

/// Stops the whole process for a while; the clients go on sending.
pub(crate) fn pause(_: &mut Rng) -> FaultReport {
    let server = Server::start(&["-keepalive", "2", "-idle-timeout", "5"]);
    let load = Load::start(server.address(), 50, 16).unwrap();
    wait_until("load", || load.acknowledged() > 10_000);
    scenarios::pause(&server, &load, Duration::from_secs(10));
    FaultReport::of(&scenarios::finish_uncut(&server, load))
}

/// More clients than descriptors: the server does not spin or flood its diagnostics, and still serves load.
pub(crate) fn few_descriptors(_: &mut Rng) -> FaultReport {
    let limited = script("ulimit -n 64; exec $SERVER -port 0 -quiet");
    let mut server = Server::start_command(tempfile::tempdir().unwrap(), limited);
    let load = Load::start(server.address(), 20, 16).unwrap();
    let clients = server.connect_all(180).unwrap();
    wait_until("load", || load.acknowledged() > 10_000);
    let mut report = FaultReport::of(&scenarios::finish_uncut(&server, load));
    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(2));
    let used = server.cpu_time().saturating_sub(before).as_millis();
    report.expect(used < 100, format!("spins: {used} ms in 2 s"));
    drop(clients);
    server.wait_for_clients(0);
    let warnings = server.kill().count_said("WARNING");
    report.expect(warnings < 20, format!("{warnings} warnings"));
    report.remark(&format!("{used} ms of CPU time in 2 s"));
    report
}

/// The property test of the loop, with more cases. `-seed` determines its seed, too.
pub(crate) fn schedules(random: &mut Rng) -> FaultReport {
    let seed = random.u64(..);
    let output = cargo("test")
        .args(["-q", "-p", "server", "--lib", "every_schedule"])
        .env("FUZZ_SEED", seed.to_string())
        .env("FUZZ_CASES", "300")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let mut report = FaultReport::default();
    report.expect(output.status.success(), format!("FUZZ_SEED={seed}: {said}"));
    report.remark("300 schedules each");
    report
}
