//! Faults of the server, its disk and its signals, under load.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::rotated_files::RotatedFiles;
use rustix::process::{Resource, Rlimit, Signal, prlimit};

use crate::numbered::{Account, Load, verify};
use crate::running::{self, MOUNT, Server, can, folder, log, wait_until};
use fastrand::Rng;

use crate::report::FaultReport;

/// How often the server is killed on one log, and how often one server's log is rotated.
const KILLS: u32 = 10;
const ROTATIONS: u32 = 5;

/// The time limit for a graceful stop, from the contract.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Sleeps for a random time below `millis`, in whole microseconds.
fn pause_below(random: &mut Rng, millis: u64) {
    thread::sleep(Duration::from_micros(random.u64(..1000 * millis)));
}

fn check(accounts: &[Account], path: &Path) -> Result<FaultReport, String> {
    let verification = verify(accounts, running::open(path)?).map_err(text)?;
    Ok(FaultReport::of(&verification))
}

/// Kills the server at a random moment, starts it on the same log, and repeats.
pub(crate) fn crash(random: &mut Rng) -> Result<FaultReport, String> {
    kill_again_and_again(random, "-append")
}

/// The same with a server that rotates its log all the time.
pub(crate) fn crash_rotating(random: &mut Rng) -> Result<FaultReport, String> {
    kill_again_and_again(random, "-append -rotate-size 20K")
}

fn kill_again_and_again(random: &mut Rng, options: &str) -> Result<FaultReport, String> {
    let folder = folder()?;
    let mut accounts = Vec::new();
    let mut torn_before = false;
    let (mut broken, mut torn) = (Vec::new(), 0);
    for _ in 0..KILLS {
        let mut server = Server::start(folder.path(), options)?;
        let mended = server
            .said
            .iter()
            .any(|line| line.contains("ended a torn record"));
        if mended != torn_before {
            broken.push(format!("torn: {torn_before}, mended: {mended}"));
        }
        let load = Load::start(server.address, 50, 1 + random.u64(..64) as usize).map_err(text)?;
        pause_below(random, 50);
        server.kill()?;
        accounts.extend(load.wait().map_err(text)?);
        torn_before = ends_torn(&log(folder.path()))?;
        torn += usize::from(torn_before);
    }
    let rotated_files =
        RotatedFiles::of(&log(folder.path())).map(|rotated_files| rotated_files.find());
    let rotated_files = rotated_files.transpose().map_err(text)?.unwrap_or_default();
    let mut all = Vec::new();
    for path in rotated_files.iter().map(|rotated_file| &rotated_file.path) {
        all.append(&mut fs::read(path).map_err(text)?);
    }
    if let Some(mut file) = open_if_there(&log(folder.path()))? {
        file.read_to_end(&mut all).map_err(text)?;
    }
    let mut report = FaultReport::of(&verify(&accounts, all.as_slice()).map_err(text)?);
    if rotated_files
        .windows(2)
        .any(|pair| pair[0].number == pair[1].number)
    {
        broken.push(format!("a number that was given twice: {rotated_files:?}"));
    }
    report.broken.append(&mut broken);
    report.times = KILLS;
    report.note = match rotated_files.len() {
        0 => format!("the last {KILLS} left {torn} torn records"),
        n => format!("the last {KILLS} left {n} rotated files, {torn} torn records"),
    };
    Ok(report)
}

/// Opens the log. A server killed in the middle of a rotation leaves none: that is no error.
fn open_if_there(path: &Path) -> Result<Option<File>, String> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some).map_err(text),
    }
}

fn ends_torn(path: &Path) -> Result<bool, String> {
    let Some(mut file) = open_if_there(path)? else {
        return Ok(false);
    };
    if file.metadata().map_err(text)?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).map_err(text)?;
    file.read_exact(&mut last).map_err(text)?;
    Ok(last != *b"\n")
}

/// Sends SIGTERM at a random moment.
pub(crate) fn stop(random: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let mut server = Server::start(folder.path(), "")?;
    let load = Load::start(server.address, 50, 1 + random.u64(..256) as usize).map_err(text)?;
    pause_below(random, 200);
    let (status, took) = server.stop()?;
    let mut report = check(&load.wait().map_err(text)?, &log(folder.path()))?;
    report.expect(status.success(), || format!("{status}: {:?}", server.said));
    report.expect(took < STOPS_WITHIN, || format!("took {took:?}"));
    report.note = format!("the last took {took:.0?}");
    Ok(report)
}

/// Waits for errors while the log cannot grow, then calls `free`: the same clients get `ok` again.
fn fill_and_free(
    mut server: Server,
    mut file: File,
    random: &mut Rng,
    free: impl FnOnce(&Server) -> Result<(), String>,
) -> Result<FaultReport, String> {
    let load = Load::start(server.address, 20, 1 + random.u64(..64) as usize).map_err(text)?;
    wait_until("errors", || load.errors() > 0)?;
    pause_below(random, 100);
    free(&server)?;
    let before = load.acknowledged();
    wait_until("service again", || load.acknowledged() > before)?;
    let accounts = load.finish().map_err(text)?;
    let bytes = running::read(&mut file)?;
    let verification = verify(&accounts, bytes.as_slice()).map_err(text)?;
    let mut report = FaultReport::of(&verification);
    let whole = verification.torn == 0 && bytes.ends_with(b"\n");
    report.expect(whole, || "a torn record is left".to_owned());
    report.expect(verification.unanswered == 0, || {
        format!("cut off: {verification:?}")
    });
    let (status, _) = server.stop()?;
    report.expect(status.success(), || format!("{status}"));
    let lines = server.said.len();
    report.expect(lines < 50, || format!("{lines} lines on standard error"));
    Ok(report)
}

pub(crate) fn full_disk(random: &mut Rng) -> Result<FaultReport, String> {
    if !can(MOUNT) {
        return Ok(FaultReport::skipped("a tmpfs cannot be mounted"));
    }
    let folder = folder()?;
    let ballast = 300_000 + random.u64(..600_000);
    let server = Server::start_script(
        folder.path(),
        &format!(
            "exec unshare -rm sh -c 'mount -t tmpfs -o size=1m tmpfs . && cd \"$PWD\" &&
             head -c {ballast} /dev/zero >ballast && exec $SERVER -port 0 -quiet'"
        ),
    )?;
    // The mount exists only in the server's mount namespace.
    let inside = PathBuf::from(format!("/proc/{}/cwd", server.pid()));
    let file = File::open(log(&inside)).map_err(text)?;
    fill_and_free(server, file, random, |_| {
        fs::remove_file(inside.join("ballast")).map_err(text)
    })
}

pub(crate) fn file_size_limit(random: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let blocks = 1 + random.u64(..2000);
    let limited = format!("ulimit -S -f {blocks}; exec $SERVER -port 0 -quiet");
    let server = Server::start_script(folder.path(), &limited)?;
    let file = File::open(log(folder.path())).map_err(text)?;
    fill_and_free(server, file, random, |server| {
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        let raised = prlimit(Some(server.pid()), Resource::Fsize, unlimited);
        raised.map(|_| ()).map_err(text)
    })
}

pub(crate) fn rotation(random: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let server = Server::start(folder.path(), "")?;
    let load = Load::start(server.address, 50, 1 + random.u64(..64) as usize).map_err(text)?;
    let mut all = Vec::new();
    let mut old = Vec::new();
    for n in 0..ROTATIONS {
        pause_below(random, 20);
        let name = folder.path().join(format!("log.{n}"));
        fs::rename(log(folder.path()), &name).map_err(text)?;
        old.push(name);
        server.signal(Signal::HUP)?;
        wait_until("the new log", || log(folder.path()).exists())?;
    }
    let accounts = load.finish().map_err(text)?;
    old.push(log(folder.path()));
    for name in old {
        all.append(&mut fs::read(name).map_err(text)?);
    }
    let verification = verify(&accounts, all.as_slice()).map_err(text)?;
    let mut report = FaultReport::of(&verification);
    report.times = ROTATIONS;
    report.expect(verification.unanswered + verification.torn == 0, || {
        format!("{verification:?}")
    });
    Ok(report)
}

/// Stops the whole process for a while; the clients go on sending.
pub(crate) fn pause(_: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let server = Server::start(folder.path(), "-keepalive 2 -idle-timeout 5")?;
    let load = Load::start(server.address, 50, 16).map_err(text)?;
    wait_until("load", || load.acknowledged() > 10_000)?;
    server.signal(Signal::STOP)?;
    thread::sleep(Duration::from_secs(10));
    let before = load.acknowledged();
    server.signal(Signal::CONT)?;
    wait_until("service again", || load.acknowledged() > before + 10_000)?;
    let accounts = load.finish().map_err(text)?;
    let verification = verify(&accounts, running::open(&log(folder.path()))?).map_err(text)?;
    let mut report = FaultReport::of(&verification);
    report.expect(verification.unanswered == 0, || {
        format!("cut off: {verification:?}")
    });
    Ok(report)
}

/// More clients than descriptors: the server does not spin or flood its diagnostics, and still serves load.
pub(crate) fn few_descriptors(_: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let limited = "ulimit -n 64; exec $SERVER -port 0 -quiet";
    let mut server = Server::start_script(folder.path(), limited)?;
    let load = Load::start(server.address, 20, 16).map_err(text)?;
    let connect = |_| TcpStream::connect(server.address);
    let clients: Vec<_> = (0..180)
        .map(connect)
        .collect::<Result<_, _>>()
        .map_err(text)?;
    wait_until("load", || load.acknowledged() > 10_000)?;
    let accounts = load.finish().map_err(text)?;
    let mut report = check(&accounts, &log(folder.path()))?;
    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(2));
    let used = server.cpu_time().saturating_sub(before);
    report.expect(used < Duration::from_millis(100), || {
        format!("spins: {used:?} in 2 s")
    });
    drop(clients);
    server.wait_for_clients(0)?;
    let lines = server
        .said
        .iter()
        .filter(|line| line.starts_with("WARNING"))
        .count();
    report.expect(lines < 20, || format!("{lines} warnings"));
    report.note = format!("{} ms of CPU time in 2 s", used.as_millis());
    Ok(report)
}

/// The property test of the loop, with more cases. `-seed` determines its seed, too.
pub(crate) fn schedules(random: &mut Rng) -> Result<FaultReport, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
    let seed = random.u64(..);
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "test",
            "-q",
            "-p",
            "server",
            "--lib",
            "every_schedule",
            "--manifest-path",
        ])
        .arg(manifest)
        .env("FUZZ_SEED", seed.to_string())
        .env("FUZZ_CASES", "300")
        .output()
        .map_err(text)?;
    let mut report = FaultReport {
        note: "300 schedules each".to_owned(),
        ..FaultReport::default()
    };
    report.expect(output.status.success(), || {
        format!(
            "FUZZ_SEED={seed}: {}",
            String::from_utf8_lossy(&output.stdout)
        )
    });
    Ok(report)
}
