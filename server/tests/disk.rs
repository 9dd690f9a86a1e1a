//! Disk faults: the disk fills up, fails or disappears, and the log with it.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use test_support::client::Client;
use test_support::numbered::{Load, Verification, verify};
use test_support::programs::{can, script};
use test_support::records::received_from;
use test_support::scenarios::{file_size_limit, full_disk};
use test_support::server::{Ended, Server};
use test_support::wait::wait_until;

const MOUNT: &str = "unshare -rm sh -c 'mount -t tmpfs -o size=64k tmpfs /mnt'";

/// How long the log cannot grow.
fn many_errors(load: &Load) {
    wait_until("acknowledgements", || load.acknowledged() > 0);
    wait_until("errors", || load.errors() > 5_000);
}

/// Every `ok` is in the log, no error is, and the diagnostics say what happened.
fn check((verification, ended): (Verification, Ended)) {
    assert!(verification.is_good(), "{verification:?}");
    for expected in ["cannot write logging.log: ", "logging.log: can be written again"] {
        assert!(ended.count_said(expected) >= 1, "{:?}", ended.said);
    }
    assert!(ended.said.len() < 100, "no flood: {:?}", ended.said);
}

#[test]
fn a_file_size_limit_is_an_error_and_not_a_death() {
    // Not a multiple of a record's length.
    check(file_size_limit(300, 16, &mut many_errors));
}

/// Long messages do not fit, but the records of errors do: writes alternately fail and succeed.
#[test]
fn a_disk_that_is_nearly_full_does_not_flood_the_diagnostics() {
    const MESSAGES: usize = 100;
    let command = script("ulimit -S -f 100; exec $SERVER -port 0 -quiet");
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let mut client = server.connect();
    let (long, too_long) = ("x".repeat(60_000), "x".repeat(70_000));
    for _ in 0..MESSAGES {
        let reply = client.ask(&long);
        assert_eq!(reply, "error log: File too large (os error 27)");
        // This one adds only the record of its error.
        assert!(client.ask(&too_long).starts_with("error too-long: "));
    }
    assert_eq!(client.ask("fits"), "ok");
    assert_eq!(received_from(&server.log(), &client.name()), ["fits"]);
    let seconds = server.started.elapsed().as_secs() as usize + 1;
    let ended = server.stop();
    assert!(ended.count_said("cannot write") <= seconds, "{:?}", ended.said);
    // Only a message shows that the log can be written again.
    assert_eq!(ended.count_said("can be written again"), 1, "{:?}", ended.said);
}

#[test]
fn a_full_disk_is_said_and_service_resumes_when_there_is_room() {
    if !can("mounting a tmpfs", MOUNT) {
        return;
    }
    check(full_disk(600_000, 16, &mut many_errors));
}

#[test]
fn a_log_on_a_read_only_disk_is_refused_at_start() {
    if !can("mounting a tmpfs", MOUNT) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = script(
        "exec unshare -rm sh -c 'mount -t tmpfs -o ro tmpfs . && cd \"$PWD\" &&
         exec $SERVER -port 0 -quiet'",
    );
    let output = command.current_dir(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "server: cannot open the log logging.log: Read-only file system (os error 30); \
                    choose another -log\n";
    assert_eq!(said, expected);
}

#[test]
fn a_failing_write_is_answered_with_an_error_and_the_next_one_is_tried() {
    let fault = "-P logging.log -e trace=write -e inject=write:error=EIO:when=2";
    let Some(server) = start_with_fault(fault, &[]) else {
        return;
    };
    let mut client = server.connect();
    assert_eq!(client.ask("first"), "ok");
    // The record of the first `ok` may be the second write, or be part of the second message's.
    let mut replies: Vec<_> = (0..3).map(|n| client.ask(&format!("message {n}"))).collect();
    let logged = received_from(&server.log(), &client.name()).len();
    assert_eq!(1 + replies.iter().filter(|reply| *reply == "ok").count(), logged);
    replies.retain(|reply| reply != "ok");
    let error = "error log: Input/output error (os error 5)";
    assert!(replies.is_empty() || replies == [error], "{replies:?}");
    let ended = server.stop();
    assert!(ended.status.success());
    assert_eq!(ended.count_said("cannot write logging.log: Input/output error"), 1);
}

/// An error reply would be a false claim: the torn batch stays in the log, even after the stop.
#[test]
fn a_batch_that_cannot_be_cut_back_gets_no_reply() {
    // The first ftruncate is that of the start.
    let fault = "-f -e trace=ftruncate -e inject=ftruncate:error=EROFS:when=2+";
    if !can("strace", &format!("strace -D -o /dev/null {fault} true")) {
        return;
    }
    let command = script(&format!(
        "ulimit -S -f 300; exec strace -D -o /dev/null {fault} $SERVER -port 0 -quiet"
    ));
    let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let load = Load::start(server.address(), 20, 16).unwrap();
    let said = server.wait_for_line("cannot write logging.log: ");
    let expected = "File too large (os error 27); cutting it back failed: Read-only file system (os error 30); ";
    assert!(said.contains(expected), "{said}");
    assert!(
        said.ends_with(" may or may not be kept: connections closed without a reply"),
        "{said}"
    );
    // Later messages are not written.
    let mut client = server.connect();
    assert_eq!(client.ask("later"), "error log: Read-only file system (os error 30)");
    let accounts = load.finish().unwrap();
    let ended = server.stop();
    assert!(ended.status.success());
    let log = fs::read(ended.log_path()).unwrap();
    let verification = verify(&accounts, log.as_slice()).unwrap();
    assert!(verification.is_good(), "{verification:?}");
    assert!(verification.unanswered > 0 && verification.acknowledged > 0, "{verification:?}");
}

/// As after `chattr +a`.
#[test]
fn a_log_that_may_only_grow_is_appended_to() {
    let fault = "-f -e trace=ftruncate,fallocate -e inject=ftruncate:error=EPERM";
    if !can("strace", &format!("strace -D -o /dev/null {fault} true")) {
        return;
    }
    let command =
        script(&format!("exec strace -D -o calls {fault} $SERVER -port 0 -quiet -append"));
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let mut client = server.connect();
    assert_eq!(client.ask("kept"), "ok");
    assert_eq!(received_from(&server.log(), &client.name()), ["kept"]);
    let ended = server.stop();
    let calls = fs::read_to_string(ended.log_path().with_file_name("calls")).unwrap();
    assert!(calls.contains("EPERM"), "{calls}");
    assert!(!calls.contains("fallocate("), "what could not be given back is not reserved: {calls}");
}

#[test]
fn after_a_failed_sync_nothing_more_is_said_and_the_server_ends() {
    // The first sync is that of the start.
    let fault = "-e trace=fdatasync -e inject=fdatasync:error=EIO:when=3";
    let Some(server) = start_with_fault(fault, &["-sync"]) else {
        return;
    };
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        assert_eq!(client.ask("kept"), "ok");
    }
    clients[0].send("never answered\n");
    let ended = server.wait();
    for client in &mut clients {
        let mut rest = Vec::new();
        // Closed or reset, but without a reply.
        _ = client.stream().read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
    assert_eq!(ended.status.code(), Some(1));
    let line = ended.said.last().unwrap();
    let expected = "server: cannot sync logging.log: Input/output error (os error 5); ";
    assert!(line.starts_with(expected), "{:?}", ended.said);
    assert_eq!(ended.said.len(), 1, "one line: {:?}", ended.said);
}

/// A server with a fault that strace injects; `None` without strace.
fn start_with_fault(fault: &str, options: &[&str]) -> Option<Server> {
    let test = format!("strace -D -o /dev/null {fault} true");
    if !can("strace", &test) {
        return None;
    }
    // With -D, the started process is the server, not strace.
    let options = options.join(" ");
    let command = script(&format!(
        ">logging.log; exec strace -D -o /dev/null {fault} $SERVER -port 0 -quiet {options}"
    ));
    Some(Server::start_command(tempfile::tempdir().unwrap(), command))
}

/// Turns longer than the interval of the timeout sweep are not taken for a pause: an idle client is closed.
#[test]
fn an_idle_client_is_closed_beside_a_slow_disk() {
    let fault = "-e trace=fdatasync -e inject=fdatasync:delay_enter=2100000";
    let Some(server) = start_with_fault(fault, &["-sync", "-idle-timeout 1s"]) else {
        return;
    };
    let (busy, mut idle) = (server.connect(), server.connect());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut busy = busy;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(busy.ask("line"), "ok");
            }
        });
        assert_eq!(idle.ask("line"), "ok");
        assert_eq!(idle.rest(), "", "closed by the server");
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_renamed_log_is_said_once_and_goes_on_until_sighup() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.ask("before"), "ok");
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    fs::set_permissions(server.log_path(), fs::Permissions::from_mode(0o600)).unwrap();
    let old = server.folder().join("logging.log.1");
    fs::rename(server.log_path(), &old).unwrap();
    let mut asked = 1;
    wait_for_displacement(&mut server, &mut client, &mut asked);
    server.signal(Signal::HUP);
    wait_until("the new log", || server.log_path().exists().then_some(()));
    assert_eq!(client.ask("after"), "ok");
    assert_eq!(mode(&server.log_path()), 0o600, "that of the old log");
    let both = fs::read_to_string(old).unwrap() + &server.log();
    assert_eq!(received_from(&both, &client.name()).len(), asked + 1);
    assert_eq!(received_from(&server.log(), &client.name()), ["after"]);
    assert_eq!(server.stop().count_said("was moved or deleted"), 0, "said once");
}

#[test]
fn a_folder_that_vanishes_takes_no_record_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let mut server = Server::start_in(folder, &["-log", "logs/lines.log"]);
    let open = File::open(logs.join("lines.log")).unwrap();
    let mut client = server.connect();
    assert_eq!(client.ask("before"), "ok");
    fs::remove_dir_all(&logs).unwrap();
    let mut asked = 1;
    wait_for_displacement(&mut server, &mut client, &mut asked);
    server.signal(Signal::HUP);
    server.wait_for_line("cannot reopen logs/lines.log: No such file");
    assert_eq!(client.ask("into the old file"), "ok");
    let kept = io::read_to_string(BufReader::new(open)).unwrap();
    assert_eq!(received_from(&kept, &client.name()).len(), asked + 1);
    fs::create_dir(&logs).unwrap();
    server.signal(Signal::HUP);
    wait_until("the new log", || logs.join("lines.log").exists().then_some(()));
    assert_eq!(client.ask("after"), "ok");
    let log = fs::read_to_string(logs.join("lines.log")).unwrap();
    assert_eq!(received_from(&log, &client.name()), ["after"]);
}

/// The server checks its log's name while it is busy.
fn wait_for_displacement(server: &mut Server, client: &mut Client, asked: &mut usize) {
    wait_until("the warning", || {
        assert_eq!(client.ask("meanwhile"), "ok");
        *asked += 1;
        server.try_line("was moved or deleted; records still go to the open file")
    });
}

#[test]
fn a_log_that_cannot_be_reopened_is_kept() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    let old = server.folder().join("old.log");
    fs::rename(server.log_path(), &old).unwrap();
    let made = script("mkfifo logging.log").current_dir(server.folder()).status();
    assert!(made.unwrap().success());
    server.signal(Signal::HUP);
    server.wait_for_line("it is not a regular file; the old file stays open");
    assert_eq!(client.ask("kept"), "ok");
    let log = fs::read_to_string(old).unwrap();
    assert_eq!(received_from(&log, &client.name()), ["kept"]);
    // The server retries without another signal.
    fs::remove_file(server.log_path()).unwrap();
    server.wait_for_line("logging.log: reopened");
    assert_eq!(client.ask("new"), "ok");
    assert_eq!(received_from(&server.log(), &client.name()), ["new"]);
}

/// The allocated bytes of a file beyond its length.
fn reserved_bytes(path: &Path) -> u64 {
    let file = path.metadata().unwrap();
    (file.blocks() * 512).saturating_sub(file.len().next_multiple_of(4096))
}

/// The server reserves more than a megabyte ahead of the log. It frees the space when the log is moved
/// away, and at the next start after a crash.
#[test]
fn reserved_space_is_given_back() {
    const RESERVED: u64 = 1 << 19;
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.ask("hello"), "ok");
    if reserved_bytes(&server.log_path()) < RESERVED {
        eprintln!("skipped: this file system reserves nothing");
        return;
    }
    let old = server.folder().join("old.log");
    fs::rename(server.log_path(), &old).unwrap();
    wait_for_displacement(&mut server, &mut client, &mut 0);
    wait_until("the old log's space", || (reserved_bytes(&old) < RESERVED).then_some(()));
    server.signal(Signal::HUP);
    wait_until("the new log", || server.log_path().exists().then_some(()));
    assert_eq!(client.ask("again"), "ok");
    assert!(reserved_bytes(&server.log_path()) >= RESERVED);
    let ended = server.kill();
    assert!(reserved_bytes(&ended.log_path()) >= RESERVED, "a killed server cannot release it");
    let server = Server::start_in(ended.into_folder(), &["-append"]);
    assert!(reserved_bytes(&server.log_path()) < RESERVED);
}
