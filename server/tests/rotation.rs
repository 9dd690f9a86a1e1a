//! Rotation of the log, under load and under every fault.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::rotated_files::RotatedFiles;
use rustix::process::Signal;
use test_support::client::Client;
use test_support::numbered::{Account, Load, verify};
use test_support::programs::{self, can, script};
use test_support::records::received_from;
use test_support::server::Server;
use test_support::wait::wait_until;

/// The rotated files of the log in this folder, oldest first.
fn rotated_files(folder: &Path) -> Vec<PathBuf> {
    let rotated_files = RotatedFiles::of(&folder.join("logging.log")).unwrap();
    rotated_files.find().unwrap().into_iter().map(|rotated_file| rotated_file.path).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The numbers in the names of the rotated files.
fn numbers(folder: &Path) -> Vec<u64> {
    let rotated_files = RotatedFiles::of(&folder.join("logging.log")).unwrap();
    rotated_files.find().unwrap().into_iter().map(|rotated_file| rotated_file.number).collect()
}

/// The whole log with its rotated files, in order; checks that each file ends with a whole record. The
/// server may still rotate, since it writes the records of its last replies later.
fn whole_log(folder: &Path) -> String {
    wait_until("a moment without a rotation", || {
        let before = rotated_files(folder);
        // Where no new file can be created, there may be rotated files only.
        let log = Some(folder.join("logging.log")).filter(|log| log.exists());
        let files = before.iter().chain(&log);
        let texts: Vec<_> =
            files.map(|file| fs::read_to_string(file).ok()).collect::<Option<_>>()?;
        let is_whole = |text: &String| text.is_empty() || text.ends_with('\n');
        assert!(texts.iter().all(is_whole), "each ends with a whole record");
        (rotated_files(folder) == before).then(|| texts.concat())
    })
}

/// Checks that every message is in the log once, in order, over all files.
fn check(accounts: &[Account], folder: &Path) {
    let mut log = whole_log(folder);
    if log.starts_with('{') {
        log = log.lines().map(message_of_json).collect();
    }
    let verification = verify(accounts, log.as_bytes()).unwrap();
    assert!(verification.is_good() && verification.torn == 0, "{verification:?}");
    assert!(verification.acknowledged > 0, "{verification:?}");
}

/// A server that reports each rotation.
fn telling(options: &[&str]) -> Command {
    let mut command = programs::server();
    command.args(["-quiet", "-port", "0"]).args(options);
    command.env("RUST_LOG", "server::backend=info,server::journal=info");
    command
}

/// A JSON record as a record in the original format, reduced to what the check needs.
fn message_of_json(record: &str) -> String {
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    format!(" recieved: {}\n", record["message"].as_str().unwrap())
}

fn wait_for_rotated_files(server: &Server, count: usize) {
    wait_until("rotated files", || (rotated_files(server.folder()).len() >= count).then_some(()));
}

/// Sends messages until there are `count` rotated files; returns the number of messages.
fn ask_for_rotated_files(server: &Server, client: &mut Client, count: usize) -> usize {
    let mut asked = 0;
    while rotated_files(server.folder()).len() < count {
        assert_eq!(client.ask(&format!("message {asked}")), "ok");
        asked += 1;
        assert!(asked < 100_000, "no rotation");
    }
    asked
}

#[test]
fn under_load_nothing_is_lost_or_repeated_or_split() {
    const SIZE: u64 = 100 << 10;
    for options in [&["-utc"][..], &["-utc", "-sync"], &["-utc", "-format", "json"]] {
        let options = [options, &["-rotate-size", "100K"]].concat();
        let mut server = Server::start_command(tempfile::tempdir().unwrap(), telling(&options));
        let load = Load::start(server.address(), 20, 16).unwrap();
        wait_for_rotated_files(&server, 20);
        let accounts = load.finish().unwrap();
        let figures = server.figures();
        assert!(figures.ends_with(" rotations"), "{figures}");
        let ended = server.stop();
        assert!(ended.status.success());
        let folder = ended.log_path().parent().unwrap().to_owned();
        let found = rotated_files(&folder);
        let reported = ended.count_said("logging.log: rotated, ");
        assert_eq!(reported, found.len());
        // One more line reports the stop, and there is nothing else.
        assert_eq!(ended.said.len(), reported + 1, "{:?}", ended.said);
        let expected: Vec<_> = (1..=found.len() as u64).collect();
        assert_eq!(numbers(&folder), expected, "none is left out");
        let in_order: Vec<_> = found.iter().map(|rotated_file| name(rotated_file)).collect();
        assert!(in_order.is_sorted(), "by name, too: {in_order:?}");
        for rotated_file in &found {
            let text = fs::read_to_string(rotated_file).unwrap();
            // A batch of 20 clients with 16 messages each, and the records of as many replies.
            let length = text.len() as u64;
            assert!((SIZE..SIZE + (64 << 10)).contains(&length), "{length}");
            let time = common::record::time(text.lines().next().unwrap().as_bytes()).unwrap();
            let digits = |text: &[u8]| -> String {
                let digits = text.iter().filter(|byte| byte.is_ascii_digit());
                digits.take(14).map(|byte| char::from(*byte)).collect()
            };
            assert_eq!(digits(&name(rotated_file).as_bytes()[7..]), digits(time));
        }
        check(&accounts, &folder);
    }
}

/// Options for strace, each of which kills the server at one system call of its second rotation.
const DEATHS: [&str; 11] = [
    "-P .logging.log.number -e inject=openat:signal=KILL:when=3",
    "-e inject=pwrite64:signal=KILL:when=2",
    "-P .logging.log.number -e inject=fdatasync:signal=KILL:when=2",
    "-e inject=rename,renameat2:signal=KILL:when=2",
    "-P logging.log -e inject=openat:signal=KILL:when=3",
    "-e inject=flock:signal=KILL:when=3",
    "-e inject=fchmod:signal=KILL:when=2",
    "-e inject=fsync:signal=KILL:when=7",
    "-e inject=fsync:signal=KILL:when=8",
    "-e inject=fdatasync:signal=KILL:when=50",
    "-P logging.log -e inject=write:signal=KILL:when=60",
];

#[test]
fn killed_between_any_two_steps_it_loses_and_repeats_nothing() {
    if !can("strace", "strace -D -o /dev/null true") {
        return;
    }
    let mut folder = tempfile::tempdir().unwrap();
    let mut accounts = Vec::new();
    let mut lost_numbers = 0;
    for death in DEATHS {
        let before = numbers(folder.path());
        let command = script(&format!(
            "exec strace -D -f -o /dev/null {death} $SERVER -port 0 -quiet -append -sync -rotate-size 20K"
        ));
        let server = Server::start_command(folder, command);
        let load = Load::start(server.address(), 10, 16).unwrap();
        accounts.extend(load.wait().unwrap());
        let ended = server.wait();
        assert_eq!(ended.status.code(), None, "killed: {death}");
        folder = ended.into_folder();
        let after = numbers(folder.path());
        assert!(after.len() > before.len(), "in the second rotation: {death}");
        assert!(after.starts_with(&before), "{after:?}");
        for rotated_file in rotated_files(folder.path()) {
            let rotated_file = rotated_file.metadata().unwrap();
            let taken = rotated_file.blocks() * 512;
            assert!(taken < rotated_file.len() + (64 << 10), "no space is left reserved");
        }
    }
    let server = Server::start_in(folder, &["-append", "-rotate-size", "20K"]);
    let mut client = server.connect();
    let before = rotated_files(server.folder()).len();
    ask_for_rotated_files(&server, &mut client, before + 1);
    let found = numbers(server.folder());
    let unique: BTreeSet<_> = found.iter().collect();
    assert_eq!(unique.len(), found.len(), "no number is given twice: {found:?}");
    lost_numbers += found.last().unwrap() - found.len() as u64;
    assert!(
        (1..=DEATHS.len() as u64).contains(&lost_numbers),
        "killed with a number that was given and not used: {found:?}"
    );
    check(&accounts, server.folder());
}

/// A server killed while it deletes rotated files has the new log already. The next rotation deletes the
/// rest.
#[test]
fn old_rotated_files_go_only_after_the_new_log_is_there() {
    if !can("strace", "strace -D -o /dev/null true") {
        return;
    }
    let options = "-port 0 -quiet -append -rotate-size 20K -keep 2";
    let command = script(&format!(
        "exec strace -D -f -o /dev/null -e inject=unlink,unlinkat:signal=KILL:when=3 $SERVER {options}"
    ));
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let load = Load::start(server.address(), 10, 16).unwrap();
    load.wait().unwrap();
    let folder = server.wait().into_folder();
    assert_eq!(numbers(folder.path()), [3, 4, 5]);
    assert!(folder.path().join("logging.log").exists());
    let server = Server::start_in(folder, &["-append", "-rotate-size", "20K", "-keep", "2"]);
    let mut client = server.connect();
    wait_until("the next rotation", || {
        assert_eq!(client.ask("hello"), "ok");
        (numbers(server.folder()) == [5, 6]).then_some(())
    });
}

#[test]
fn only_so_many_rotated_files_are_kept_and_only_they_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let others = [
        "logging-20261125T033512Z-000001.log.gz",
        "logging-20261125T033512Z-1.log",
        "logging2-20261125T033512Z-000001.log",
        "logging.log.1",
    ];
    for other in others {
        fs::write(folder.path().join(other), "not yours").unwrap();
    }
    let server = Server::start_command(folder, telling(&["-rotate-size", "20K", "-keep", "3"]));
    let load = Load::start(server.address(), 10, 16).unwrap();
    wait_until("ten rotations", || {
        numbers(server.folder()).last().is_some_and(|last| *last >= 10).then_some(())
    });
    load.finish().unwrap();
    let ended = server.stop();
    let folder = ended.log_path().parent().unwrap().to_owned();
    let kept = numbers(&folder);
    assert_eq!(kept.len(), 3, "{kept:?}");
    let last = *kept.last().unwrap();
    assert_eq!(kept, [last - 2, last - 1, last]);
    for other in others {
        let other = folder.join(other);
        assert_eq!(fs::read_to_string(other).unwrap(), "not yours");
    }
    let deleted = ended.count_said("logging.log: deleted 1 rotated file, -keep 3 keeps the others");
    assert_eq!(deleted as u64, last - 3, "{:?}", ended.said);
}

#[test]
fn numbers_go_on_whatever_becomes_of_rotated_files_and_servers() {
    let mut folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..4 {
        let server = Server::start_in(folder, &["-append", "-rotate-size", "1K"]);
        let mut client = server.connect();
        ask_for_rotated_files(&server, &mut client, 2);
        let found = numbers(server.folder());
        assert!(found.starts_with(&[last + 1, last + 2]), "{found:?} after {last}");
        let ended = if round % 2 == 0 { server.stop() } else { server.kill() };
        folder = ended.into_folder();
        last = *numbers(folder.path()).last().unwrap();
        for rotated_file in rotated_files(folder.path()) {
            fs::remove_file(rotated_file).unwrap();
        }
    }
}

/// The server is killed just after the rename, and the rotated file is deleted before the next start.
#[test]
fn a_number_is_not_used_again_though_its_file_was_never_listed() {
    let fault = "-P logging.log -e inject=openat:signal=KILL:when=3";
    let Some(server) = start_traced(fault, "-rotate-size 4K") else {
        return;
    };
    let load = Load::start(server.address(), 2, 4).unwrap();
    load.wait().unwrap();
    let folder = server.wait().into_folder();
    assert_eq!(numbers(folder.path()), [1, 2]);
    assert!(!folder.path().join("logging.log").exists(), "killed between");
    for rotated_file in rotated_files(folder.path()) {
        fs::remove_file(rotated_file).unwrap();
    }
    let server = Server::start_in(folder, &["-rotate-size", "4K"]);
    ask_for_rotated_files(&server, &mut server.connect(), 1);
    assert_eq!(numbers(server.folder()), [3]);
}

#[test]
fn an_old_log_is_rotated_while_nothing_happens_and_an_empty_one_is_not() {
    let mut server = Server::start_command(
        tempfile::tempdir().unwrap(),
        telling(&["-rotate-every", "1s", "-utc"]),
    );
    let mut client = server.connect();
    for n in 1..=2 {
        assert_eq!(client.ask(&format!("message {n}")), "ok");
        server.wait_for_line("logging.log: rotated, ");
        assert_eq!(numbers(server.folder()).len(), n);
        assert_eq!(server.log(), "", "the notice comes after it is begun");
    }
    // Meanwhile only the periodic tasks have woken it.
    let figures = server.figures();
    let (_, turns) = figures.split_once(" s, ").unwrap();
    let turns: u64 = turns.split(' ').next().unwrap().parse().unwrap();
    assert!(turns < 100, "{figures}");
    let all = whole_log(server.folder());
    assert_eq!(received_from(&all, &client.name()), ["message 1", "message 2"]);
}

/// The age of a log is that of its first record, even if an earlier server has written it.
#[test]
fn an_old_log_that_is_appended_to_keeps_its_age() {
    let record = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: hello\n";
    for options in [["-rotate-every", "365d"], ["-rotate-size", "10"]] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("logging.log"), record).unwrap();
        let mut command = programs::server();
        command.args(["-quiet", "-port", "0", "-append"]).args(options);
        // Independent of the time zone of this machine.
        command.env("TZ", "UTC0");
        let server = Server::start_command(folder, command);
        wait_for_rotated_files(&server, 1);
        let rotated_file = &rotated_files(server.folder())[0];
        assert_eq!(name(rotated_file), "logging-20190224T151014Z-000001.log");
        assert_eq!(fs::read_to_string(rotated_file).unwrap(), record);
        assert_eq!(whole_log(server.folder()), record);
    }
}

#[test]
fn a_start_goes_on_with_the_present_log_or_empties_it_and_no_rotated_file() {
    let server = Server::start(&["-rotate-size", "1K"]);
    let mut client = server.connect();
    ask_for_rotated_files(&server, &mut client, 2);
    assert_eq!(client.ask("the last"), "ok");
    let folder = server.stop().into_folder();
    let (before, log) = (rotated_files(folder.path()), fs::read(folder.path().join("logging.log")));
    assert!(!log.as_ref().unwrap().is_empty());
    let server = Server::start_in(folder, &["-append", "-rotate-size", "100K"]);
    assert_eq!(fs::read(server.log_path()).unwrap(), log.unwrap());
    let contents: Vec<_> =
        before.iter().map(|rotated_file| fs::read(rotated_file).unwrap()).collect();
    let mut server = Server::start_in(server.stop().into_folder(), &["-rotate-size", "100K"]);
    assert_eq!(server.log(), "");
    assert!(server.try_line("emptied logging.log: ").is_none(), "said before it listens");
    let after = rotated_files(server.folder());
    assert_eq!(after, before);
    assert!(
        after
            .iter()
            .zip(contents)
            .all(|(rotated_file, content)| fs::read(rotated_file).unwrap() == content)
    );
}

/// The lock and SIGHUP apply to the current log.
#[test]
fn the_new_log_is_locked_and_can_be_renamed_by_others() {
    let mut server = Server::start(&["-rotate-size", "1K"]);
    let mut client = server.connect();
    let mut asked = ask_for_rotated_files(&server, &mut client, 1);
    let mut second = programs::server();
    second.args(["-port", "0", "-append"]).current_dir(server.folder());
    let second = second.output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another server is writing it"), "{said}");
    // Renamed by another program: a new file of the log's name is not rotated, however old the open one is.
    let aside = server.folder().join("aside");
    fs::rename(server.log_path(), &aside).unwrap();
    for _ in 0..50 {
        assert_eq!(client.ask("aside"), "ok");
    }
    server.wait_for_line("logging.log was moved or deleted");
    assert_eq!(numbers(server.folder()).len(), 1);
    server.signal(Signal::HUP);
    wait_until("the new log", || server.log_path().exists().then_some(()));
    asked += ask_for_rotated_files(&server, &mut client, 2);
    let all = whole_log(server.folder()) + &fs::read_to_string(aside).unwrap();
    assert_eq!(received_from(&all, &client.name()).len(), asked + 50);
    assert_eq!(numbers(server.folder()), [1, 2]);
}

/// A backup tool may rename the log for a moment.
#[test]
fn a_log_that_was_moved_away_and_back_is_rotated_again() {
    let mut server = Server::start(&["-rotate-size", "1K"]);
    let mut client = server.connect();
    let aside = server.folder().join("aside");
    fs::rename(server.log_path(), &aside).unwrap();
    let mut asked = 0;
    let said = wait_until("the warning", || {
        assert_eq!(client.ask("aside"), "ok");
        asked += 1;
        server.try_line("was moved or deleted")
    });
    assert!(
        said.ends_with(
            "; it is not rotated meanwhile. Move it back, or send SIGHUP to begin a new one"
        ),
        "{said}"
    );
    fs::rename(&aside, server.log_path()).unwrap();
    // It is found even while no message arrives.
    let said = server.wait_for_line("logging.log is back");
    assert!(said.ends_with(": records go on into it, and rotated again"), "{said}");
    asked += ask_for_rotated_files(&server, &mut client, 2);
    let all = whole_log(server.folder());
    assert_eq!(received_from(&all, &client.name()).len(), asked);
}

/// The possible damage of a power failure: a number's file that was never written, and a rotated file with
/// lost pages.
#[test]
fn after_a_power_cut_the_server_starts_and_says_what_is_damaged() {
    let record = "INFO\t| 2026-11-25 03:35:12 --127.0.0.1:49030 recieved: hello\n";
    let folder = tempfile::tempdir().unwrap();
    let rotated_files = RotatedFiles::of(&folder.path().join("logging.log")).unwrap();
    for (number, content) in [(6, record.to_owned()), (7, format!("{record}\0\0\0\n{record}"))] {
        fs::write(rotated_files.path("20261125T033512Z", number), content).unwrap();
    }
    fs::write(rotated_files.number_path(), [0; 21]).unwrap();
    let server = Server::start_in(folder, &["-append", "-rotate-size", "1K"]);
    ask_for_rotated_files(&server, &mut server.connect(), 3);
    assert_eq!(numbers(server.folder()), [6, 7, 8]);
    let ended = server.stop();
    for expected in [
        ".logging.log.number holds no number, as after a power cut: numbers of rotated files go on with 8, ",
        "logging-20261125T033512Z-000007.log: has 1 line that a crash or a power cut has left",
    ] {
        assert_eq!(ended.count_said(expected), 1, "{:?}", ended.said);
    }
    let warnings = ended.count_said("WARNING");
    assert_eq!(warnings, 2, "{:?}", ended.said);
}

/// A log that SIGHUP reopens may be older than the one before.
#[test]
fn a_log_that_is_put_in_the_others_place_has_an_age_of_its_own() {
    let server = Server::start(&["-rotate-every", "365d", "-utc"]);
    let mut client = server.connect();
    assert_eq!(client.ask("hello"), "ok");
    fs::rename(server.log_path(), server.folder().join("aside")).unwrap();
    let record = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: hello\n";
    fs::write(server.log_path(), record).unwrap();
    server.signal(Signal::HUP);
    wait_for_rotated_files(&server, 1);
    let rotated_file = &rotated_files(server.folder())[0];
    assert_eq!(name(rotated_file), "logging-20190224T151014Z-000001.log");
    assert!(fs::read_to_string(rotated_file).unwrap().starts_with(record));
}

/// A server under strace, which writes to the file `trace` and injects `fault`; none without strace.
fn start_traced(fault: &str, options: &str) -> Option<Server> {
    if !can("strace", "strace -D -o /dev/null true") {
        return None;
    }
    let command =
        script(&format!("exec strace -D -f -y -o trace {fault} $SERVER -port 0 -quiet {options}"));
    Some(Server::start_command(tempfile::tempdir().unwrap(), command))
}

fn trace(folder: &Path) -> String {
    String::from_utf8_lossy(&fs::read(folder.join("trace")).unwrap()).into_owned()
}

#[test]
fn what_cannot_be_renamed_goes_on_and_is_said_once_a_minute() {
    let fault = "-e trace=rename,renameat2 -e inject=rename,renameat2:error=EACCES:when=1..3";
    let Some(mut server) = start_traced(fault, "-rotate-size 20K") else {
        return;
    };
    let load = Load::start(server.address(), 10, 16).unwrap();
    let said = server.wait_for_line("cannot rotate logging.log");
    assert!(said.ends_with("Permission denied (os error 13); records go on into it"), "{said}");
    let said = server.wait_for_line("logging.log: rotated, ");
    assert!(said.starts_with("WARNING\t| "), "it can again: {said}");
    assert!(trace(server.folder()).matches("EACCES").count() == 3, "a second apart");
    let accounts = load.finish().unwrap();
    let found = numbers(server.folder());
    assert_eq!(found[0], 1, "the number is used when it can be");
    check(&accounts, server.folder());
    let ended = server.stop();
    assert_eq!(ended.count_said("cannot rotate"), 0, "said once: {:?}", ended.said);
    assert_eq!(ended.count_said("not kept"), 0, "{:?}", ended.said);
}

/// The folder becomes read-only, so that no file can be created.
#[test]
fn a_folder_that_became_read_only_keeps_its_log() {
    let as_nobody = if rustix::process::geteuid().is_root() {
        "setpriv --reuid 65534 --regid 65534 --clear-groups"
    } else {
        ""
    };
    if !can("running as nobody", &format!("{as_nobody} $SERVER -version")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let set = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    let path = folder.path().to_owned();
    let set_later = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    set(0o777);
    let options = "-port 0 -quiet -append -rotate-size 4K";
    let command = script(&format!("exec {as_nobody} $SERVER {options}"));
    let mut server = Server::start_command(folder, command);
    let mut client = server.connect();
    let mut asked = ask_for_rotated_files(&server, &mut client, 1);
    set_later(0o555);
    for _ in 0..100 {
        assert_eq!(client.ask("kept all the same"), "ok");
        asked += 1;
    }
    server.wait_for_line("cannot rotate logging.log: Permission denied (os error 13)");
    assert_eq!(numbers(server.folder()).len(), 1);
    // A start in such a folder fails at once.
    let mut second = script(&format!("exec {as_nobody} $SERVER {options}"));
    let second = second.current_dir(server.folder()).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(
        said,
        "server: cannot rotate the log logging.log: .: Permission denied (os error 13); choose another -log, or \
         leave -rotate-size and -rotate-every out\n"
    );
    set_later(0o777);
    server.wait_for_line("logging.log: rotated, ");
    let all = whole_log(server.folder());
    assert_eq!(received_from(&all, &client.name()).len(), asked);
    assert_eq!(numbers(server.folder()), [1, 2]);
}

/// Both files and their folder are synced before any client gets `ok`.
#[test]
fn with_sync_nothing_is_answered_before_the_rotation_is_on_the_disk() {
    let calls = "-e trace=write,writev,sendto,sendmsg,rename,renameat2,fsync,fdatasync";
    let Some(server) = start_traced(calls, "-sync -rotate-size 4K -rotate-every 1s") else {
        return;
    };
    let folder = server.folder().canonicalize().unwrap();
    let mut client = server.connect();
    ask_for_rotated_files(&server, &mut client, 3);
    // No commit syncs the record of a reply alone, but the rotation does.
    assert_eq!(client.ask("and nothing more"), "ok");
    wait_for_rotated_files(&server, 4);
    assert_eq!(client.ask("after it"), "ok");
    let folder_of_test = server.stop().into_folder();
    let trace = trace(folder_of_test.path());
    let calls: Vec<_> = trace.lines().collect();
    let (log, folder) = (folder.join("logging.log"), folder.display());
    let (log, mut rotations) = (log.display(), 0);
    for (at, _) in calls.iter().enumerate().filter(|(_, call)| call.contains(" rename")) {
        rotations += 1;
        let (before, after) = calls.split_at(at);
        let last_write = before.iter().rposition(|call| call.contains(&format!("<{log}>, \"INFO")));
        let old_synced = before
            .iter()
            .rposition(|call| call.contains("fdatasync(") && call.contains(&format!("<{log}>")));
        assert!(old_synced > last_write, "the old log");
        let answered = after.iter().position(|call| call.contains("\"ok\\n\""));
        let until = &after[..answered.unwrap_or(after.len())];
        let synced = |what: &str| {
            let sync = format!("<{what}>)");
            until.iter().any(|call| call.contains("fsync(") && call.contains(&sync))
        };
        assert!(synced(&log.to_string()), "the new log: {until:#?}");
        assert!(synced(&folder.to_string()), "the folder: {until:#?}");
    }
    assert!(rotations >= 4, "{trace}");
}

/// Without `-sync` as well: otherwise a power failure could cause a number to be used twice.
#[test]
fn a_new_file_of_the_number_is_synced_with_its_name() {
    let calls = "-e trace=rename,renameat2,fsync,fdatasync";
    let Some(server) = start_traced(calls, "-rotate-size 1K") else {
        return;
    };
    let folder = server.folder().canonicalize().unwrap();
    ask_for_rotated_files(&server, &mut server.connect(), 2);
    let folder_of_test = server.stop().into_folder();
    let trace = trace(folder_of_test.path());
    let (before, after) = trace.split_once(" rename").unwrap();
    for what in [folder.join(".logging.log.number"), folder] {
        let sync = format!("<{}>)", what.display());
        let is_synced = |line: &str| line.contains("fsync(") && line.contains(&sync);
        assert!(before.lines().any(is_synced), "{trace}");
    }
    assert!(after.contains(" rename") && !after.contains("sync("), "{trace}");
}

/// After a failed sync, the content of the disk is unknown.
#[test]
fn a_sync_that_fails_in_a_rotation_ends_the_server_without_another_word() {
    // The start syncs the log and its folder. The first rotation syncs the file of the number and the
    // folder, then the new log and the folder.
    for sync in [5, 6] {
        let fault = format!("-e trace=fsync -e inject=fsync:error=EIO:when={sync}");
        let Some(server) = start_traced(&fault, "-sync -rotate-size 4K") else {
            return;
        };
        let mut client = server.connect();
        let mut asked = 0;
        while rotated_files(server.folder()).is_empty() {
            client.send(format!("message {asked}\n"));
            asked += 1;
            match client.reply().as_str() {
                "ok" => assert!(asked < 1000),
                rest => assert_eq!(rest, "", "closed without another word"),
            }
        }
        let ended = server.wait();
        assert_eq!(ended.status.code(), Some(1));
        let said = ended.said.last().unwrap();
        let expected = "server: cannot sync logging.log: Input/output error (os error 5); ";
        assert!(said.starts_with(expected), "{:?}", ended.said);
        // Answered or not, no message is lost.
        let all = whole_log(ended.into_folder().path());
        assert_eq!(received_from(&all, &client.name()).len(), asked);
    }
}

/// The same while no client waits for a reply: the next batch gets no reply.
#[test]
fn a_sync_that_fails_while_nothing_happens_is_the_next_batchs() {
    let fault = "-e trace=fsync -e inject=fsync:error=EIO:when=6";
    let Some(server) = start_traced(fault, "-sync -rotate-every 1s") else {
        return;
    };
    let mut client = server.connect();
    assert_eq!(client.ask("kept"), "ok");
    wait_for_rotated_files(&server, 1);
    wait_until("the failed sync", || trace(server.folder()).contains("EIO").then_some(()));
    client.send("never answered\n");
    let ended = server.wait();
    assert_eq!(client.rest(), "");
    assert_eq!(ended.status.code(), Some(1));
}

const MOUNT: &str = "unshare -rm sh -c 'mount -t tmpfs -o size=64k tmpfs /mnt'";

/// A server on a small tmpfs, and the path of the tmpfs as this process sees it.
fn start_on_tmpfs(mount: &str, prepare: &str, options: &str) -> Option<(Server, PathBuf)> {
    if !can("mounting a tmpfs", MOUNT) {
        return None;
    }
    let command = script(&format!(
        "exec unshare -rm sh -c 'mount -t tmpfs -o {mount} tmpfs . && cd \"$PWD\" && {prepare} &&
         exec $SERVER -port 0 -quiet {options}'"
    ));
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let inside = PathBuf::from(format!("/proc/{}/cwd", server.pid()));
    Some((server, inside))
}

#[test]
fn a_disk_that_is_full_while_the_log_is_rotated_costs_no_acknowledged_message() {
    let ballast = "head -c 500000 /dev/zero >ballast";
    let Some((server, inside)) = start_on_tmpfs("size=1m", ballast, "-rotate-size 50K") else {
        return;
    };
    let load = Load::start(server.address(), 20, 16).unwrap();
    wait_until("errors", || (load.errors() > 5_000).then_some(()));
    let full_at = numbers(&inside).len();
    assert!(full_at >= 5, "{full_at}");
    fs::remove_file(inside.join("ballast")).unwrap();
    wait_until("rotations again", || (numbers(&inside).len() > full_at + 2).then_some(()));
    let accounts = load.finish().unwrap();
    check(&accounts, &inside);
    let ended = server.stop();
    assert!(ended.status.success(), "{:?}", ended.said);
    assert!(ended.said.len() < 100, "no flood: {:?}", ended.said);
}

/// No file can be created: the log keeps the rotated file's name until there is room for a new one.
#[test]
fn a_new_log_that_cannot_be_made_is_made_later() {
    // The folder, the log, the number's file, and the ballast.
    let (mount, first) = ("size=300m,nr_inodes=4", ">ballast");
    let Some((mut server, inside)) = start_on_tmpfs(mount, first, "-rotate-size 20K -sync") else {
        return;
    };
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(inside.join("logging.log"), private).unwrap();
    let load = Load::start(server.address(), 10, 16).unwrap();
    let said = server.wait_for_line("cannot begin a new logging.log");
    let rotated_file = name(&rotated_files(&inside)[0]).to_owned();
    let expected = format!(
        "cannot begin a new logging.log: No space left on device (os error 28); records go on into {rotated_file}, and the \
         new log is tried again every second"
    );
    assert!(said.ends_with(&expected), "{said}");
    let before = load.acknowledged();
    wait_until("more", || (load.acknowledged() > before + 100).then_some(()));
    assert_eq!(numbers(&inside), [1]);
    fs::remove_file(inside.join("ballast")).unwrap();
    server.wait_for_line("logging.log: reopened");
    let mode = |path: PathBuf| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(rotated_files(&inside)[0].clone()), 0o600);
    for file in fs::read_dir(&inside).unwrap() {
        assert_eq!(mode(file.unwrap().path()), 0o600, "each has the mode of the first log");
    }
    // For the next rotation there is no room again.
    server.wait_for_line("cannot begin a new logging.log");
    let accounts = load.finish().unwrap();
    check(&accounts, &inside);
    let ended = server.stop();
    assert_eq!(ended.count_said("not kept"), 0, "{:?}", ended.said);
    assert!(ended.count_said("was moved or deleted") == 0, "{:?}", ended.said);
}

#[test]
fn what_cannot_be_rotated_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let run = |options: &[&str]| {
        let mut command = programs::server();
        command.args(["-port", "0", "-rotate-size", "1M"]).args(options);
        let output = command.current_dir(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{options:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let made = script("mkfifo fifo").current_dir(&folder).status();
    assert!(made.unwrap().success());
    for log in ["fifo", "/dev/null"] {
        let expected = format!(
            "server: cannot open the log {log}: it is not a regular file; choose another -log\n"
        );
        assert_eq!(run(&["-log", log]), expected);
    }
    let long = "x".repeat(250);
    let expected = format!(
        "server: cannot rotate the log {long}: File name too long (os error 36); choose another -log, or leave \
         -rotate-size and -rotate-every out\n"
    );
    assert_eq!(run(&["-log", &long]), expected);
    // The file that the start would have emptied keeps its content.
    let record = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: hello\n";
    fs::write(folder.path().join("logging.log"), record).unwrap();
    fs::create_dir(folder.path().join(".logging.log.number")).unwrap();
    let said = run(&[]);
    assert!(
        said.contains("logging.log.number: Is a directory (os error 21); choose another -log"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(folder.path().join("logging.log")).unwrap(), record);
}

/// The packaged file, with the real logrotate.
#[test]
fn logrotate_with_the_file_that_is_shipped_loses_nothing() {
    const ROTATIONS: usize = 4;
    let tools = "PATH=$PATH:/usr/sbin; logrotate --version && gzip --version";
    if !can("logrotate", tools) {
        return;
    }
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/logrotate");
    let shipped = fs::read_to_string(shipped).unwrap();
    let server = Server::start(&["-append"]);
    let folder = server.folder().canonicalize().unwrap();
    assert!(shipped.contains("/var/log/line-log/*.log {"));
    let config = shipped.replace("/var/log/line-log", folder.to_str().unwrap());
    let tools = tempfile::tempdir().unwrap();
    let place = |name: &str, content: &str, mode| {
        let path = tools.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    place("config", &config, 0o644);
    // There is no systemd here: the script stands in for systemctl and forwards the signal.
    let systemctl = format!(
        "#!/bin/sh\necho \"$@\" >>{}/asked\ncase \"$*\" in\n\
         'is-active --quiet line-log-server.service') ;;\n\
         'kill --signal=HUP line-log-server.service') kill -HUP {} ;;\n\
         *) exit 1 ;;\nesac\n",
        tools.path().display(),
        server.pid()
    );
    place("systemctl", &systemctl, 0o755);
    let load = Load::start(server.address(), 20, 16).unwrap();
    for n in 1..=ROTATIONS {
        let before = load.acknowledged();
        wait_until("load", || (load.acknowledged() > before + 2_000).then_some(()));
        let rotated = Command::new("sh")
            .args(["-c", "PATH=$TOOLS:$PATH:/usr/sbin; logrotate -f -s $TOOLS/state $TOOLS/config"])
            .env("TOOLS", tools.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&rotated.stderr).into_owned();
        assert!(rotated.status.success() && said.is_empty(), "{n}: {said}");
        wait_until("the new log", || server.log_path().exists().then_some(()));
    }
    let accounts = load.finish().unwrap();
    let asked = fs::read_to_string(tools.path().join("asked")).unwrap();
    assert_eq!(asked.matches("kill --signal=HUP").count(), ROTATIONS, "{asked}");
    let mut all = String::new();
    for n in (1..=ROTATIONS).rev() {
        let plain = folder.join(format!("logging.log.{n}"));
        if n == 1 {
            all += &fs::read_to_string(&plain).unwrap();
            continue;
        }
        let packed = folder.join(format!("logging.log.{n}.gz"));
        let unpacked = Command::new("gzip").arg("-dc").arg(packed).output().unwrap();
        assert!(unpacked.status.success(), "{n} is compressed");
        all += &String::from_utf8(unpacked.stdout).unwrap();
    }
    all += &server.log();
    let verification = verify(&accounts, all.as_bytes()).unwrap();
    assert!(
        verification.is_good() && verification.unanswered + verification.torn == 0,
        "{verification:?}"
    );
}
