//! Faults of a server under load. A test injects each once, the fault injection again and again. Every function
//! returns the check of all messages, and panics if anything else is wrong.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use common::rotated_files::RotatedFiles;
use rustix::process::Signal;

use crate::numbered::{Account, Load, Verification, verify};
use crate::programs;
use crate::server::{Ended, Server};
use crate::wait::wait_until;

/// What is left of a server that was killed again and again.
pub struct Killed {
    pub verification: Verification,
    /// How often the log ended with a torn record.
    pub torn: u32,
    /// The number of rotated files.
    pub rotated: usize,
}

/// Kills a server, starts another one on its log, and repeats. `load` starts a load on the `n`th server, and
/// returns it when the server is to be killed.
pub fn kill_again_and_again(
    options: &[&str],
    kills: u32,
    mut load: impl FnMut(u32, &Server) -> Load,
) -> Killed {
    let mut folder = tempfile::tempdir().unwrap();
    let mut accounts = Vec::new();
    let (mut torn_before, mut torn) = (false, 0);
    for n in 0..kills {
        let server = Server::start_in(folder, options);
        let load = load(n, &server);
        let ended = server.kill();
        accounts.extend(load.wait().unwrap());
        let mended = ended.count_said("ended a torn record at its end");
        assert_eq!(mended, usize::from(torn_before), "{:?}", ended.said);
        torn_before = !is_whole(&read_if_there(&ended.log_path()));
        torn += u32::from(torn_before);
        folder = ended.into_folder();
    }
    let log = folder.path().join("logging.log");
    let rotated = RotatedFiles::of(&log).map_or_else(Vec::new, |files| files.find().unwrap());
    let mut numbers = rotated.windows(2);
    let is_unique = numbers.all(|pair| pair[0].number != pair[1].number);
    assert!(is_unique, "a number was given twice: {rotated:?}");
    let logs = rotated.iter().map(|file| file.path.clone());
    let logs: Vec<_> = logs.chain([log]).collect();
    Killed { verification: verify_all(&accounts, &logs), torn, rotated: rotated.len() }
}

/// Stops a server (SIGTERM) under load; also returns how long that took.
pub fn stop_under_load(server: Server, load: Load) -> (Verification, Duration) {
    let asked = Instant::now();
    let ended = server.stop();
    let took = asked.elapsed();
    assert!(ended.status.success(), "{}: {:?}", ended.status, ended.said);
    let accounts = load.wait().unwrap();
    (verify_all(&accounts, &[ended.log_path()]), took)
}

/// A server whose log cannot grow beyond a size until the moment returns, under a load with a pipeline.
pub type FillAndFree =
    fn(size: u64, pipeline: usize, moment: &mut dyn FnMut(&Load)) -> (Verification, Ended);

/// A disk of 1 MiB, of which `ballast` bytes are taken.
pub fn full_disk(
    ballast: u64,
    pipeline: usize,
    moment: &mut dyn FnMut(&Load),
) -> (Verification, Ended) {
    let command = programs::script(&format!(
        "exec unshare -rm sh -c 'mount -t tmpfs -o size=1m tmpfs . && cd \"$PWD\" &&
         head -c {ballast} /dev/zero >ballast && exec $SERVER -port 0 -quiet'"
    ));
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    // The mount exists only in the server's mount namespace.
    let inside = PathBuf::from(format!("/proc/{}/cwd", server.pid()));
    let log = File::open(inside.join("logging.log")).unwrap();
    fill_and_free(server, log, pipeline, moment, |_| {
        fs::remove_file(inside.join("ballast")).unwrap();
    })
}

/// A limit of the log, in blocks of 512 bytes.
pub fn file_size_limit(
    blocks: u64,
    pipeline: usize,
    moment: &mut dyn FnMut(&Load),
) -> (Verification, Ended) {
    let limited = format!("ulimit -S -f {blocks}; exec $SERVER -port 0 -quiet");
    let command = programs::script(&limited);
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let log = File::open(server.log_path()).unwrap();
    fill_and_free(server, log, pipeline, moment, |server| {
        server.limit_files(None);
    })
}

/// Waits for `moment` while the log cannot grow, then calls `free`: the same clients get `ok` again. No record is
/// torn, and no client is cut off.
fn fill_and_free(
    server: Server,
    mut log: File,
    pipeline: usize,
    moment: &mut dyn FnMut(&Load),
    free: impl FnOnce(&Server),
) -> (Verification, Ended) {
    let load = Load::start(server.address(), 20, pipeline).unwrap();
    moment(&load);
    free(&server);
    let before = load.acknowledged();
    wait_until("service again", || load.acknowledged() > before + 1_000);
    let accounts = load.finish().unwrap();
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes).unwrap();
    let verification = verify(&accounts, bytes.as_slice()).unwrap();
    expect_uncut(&verification);
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let is_record = |line: &[u8]| line.starts_with(b"INFO\t| ") || line.starts_with(b"WARNING\t| ");
    let is_whole = is_whole(&bytes) && lines.all(|line| line.is_empty() || is_record(line));
    assert!(is_whole, "a torn record is left");
    let ended = server.stop();
    assert!(ended.status.success(), "{}: {:?}", ended.status, ended.said);
    (verification, ended)
}

/// No client is cut off, and no record is torn.
fn expect_uncut(verification: &Verification) {
    let wrong = verification.unanswered + verification.torn;
    assert_eq!(wrong, 0, "{verification:?}");
}

/// Renames the log of a server under load this often, whenever `moment` returns, and makes the server open a new
/// one (SIGHUP). Every log ends with a whole record, and no client is cut off.
pub fn rename_and_reopen(
    server: &Server,
    load: Load,
    times: u32,
    mut moment: impl FnMut(&Load),
) -> Verification {
    let mut logs = Vec::new();
    for n in 0..times {
        moment(&load);
        let name = server.folder().join(format!("log.{n}"));
        fs::rename(server.log_path(), &name).unwrap();
        logs.push(name);
        server.signal(Signal::HUP);
        wait_until("the new log", || server.log_path().exists());
    }
    let accounts = load.finish().unwrap();
    logs.push(server.log_path());
    for log in &logs {
        let whole = is_whole(&fs::read(log).unwrap());
        assert!(whole, "{} ends with a whole record", log.display());
    }
    let verification = verify_all(&accounts, &logs);
    expect_uncut(&verification);
    verification
}

/// Stops the whole process for a while (SIGSTOP); the clients go on sending, and are served again.
pub fn pause(server: &Server, load: &Load, time: Duration) {
    server.signal(Signal::STOP);
    wait_until("the pause", || server.is_stopped());
    thread::sleep(time);
    let before = load.acknowledged();
    server.signal(Signal::CONT);
    wait_until("service again", || load.acknowledged() > before + 500);
}

/// Finishes a load of a server that never left it: no client is cut off.
pub fn finish_uncut(server: &Server, load: Load) -> Verification {
    let accounts = load.finish().unwrap();
    let verification = verify_all(&accounts, &[server.log_path()]);
    expect_uncut(&verification);
    verification
}

/// Compares the accounts with these logs, the oldest first.
pub fn verify_all(accounts: &[Account], logs: &[PathBuf]) -> Verification {
    let all: Vec<u8> = logs.iter().flat_map(|log| read_if_there(log)).collect();
    verify(accounts, all.as_slice()).unwrap()
}

/// The bytes of a log. A server killed in the middle of a rotation leaves none.
fn read_if_there(log: &Path) -> Vec<u8> {
    match fs::read(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.unwrap(),
    }
}

fn is_whole(log: &[u8]) -> bool {
    log.is_empty() || log.ends_with(b"\n")
}
