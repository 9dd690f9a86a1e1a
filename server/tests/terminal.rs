//! Standard output and standard error that block: clients still get their `ok`.

#![allow(clippy::unwrap_used)]

use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, tcflow};
use test_support::client::Client;
use test_support::numbered::{Load, verify};
use test_support::records::received_from;
use test_support::server::Server;
use test_support::wait::wait_until;

/// More records than a pipe or terminal and the server's own backlog hold.
const ENOUGH: u64 = 50_000;

fn start_with_stdout(stdout: impl Into<Stdio>) -> Server {
    let mut command = test_support::programs::server();
    command.args(["-port", "0"]).stdout(stdout);
    Server::start_command(tempfile::tempdir().unwrap(), command)
}

/// Runs a load to its end while no record is read.
fn serve(server: &Server) {
    let load = Load::start(server.address(), 10, 64).unwrap();
    wait_until("service", || (load.acknowledged() > ENOUGH).then_some(()));
    let accounts = load.finish().unwrap();
    let verification = verify(&accounts, server.log().as_bytes()).unwrap();
    assert!(verification.is_good() && verification.unanswered == 0, "{verification:?}");
}

/// Checks the output once it is read: whole records first, then the number of records not shown.
fn check_what_is_shown(mut server: Server, reader: impl io::Read + Send + 'static) {
    let shown = test_support::commands::lines(reader);
    let deadline = test_support::wait::DEADLINE;
    let notice = loop {
        let line = shown.recv_timeout(deadline).unwrap();
        if line.contains(" records not shown") {
            break line;
        }
        assert!(line.starts_with("INFO\t| "), "{line}");
    };
    assert!(notice.starts_with("WARNING\t| "), "{notice}");
    assert!(notice.contains(" --server: "), "{notice}");
    let mut client = server.connect();
    assert_eq!(client.ask("seen again"), "ok");
    let line = shown.recv_timeout(deadline).unwrap();
    assert!(line.ends_with(" recieved: seen again"), "{line}");
    server.figures();
    assert!(server.stop().status.success());
}

#[test]
fn a_full_pipe() {
    let (reader, writer) = io::pipe().unwrap();
    let server = start_with_stdout(writer);
    serve(&server);
    check_what_is_shown(server, reader);
}

/// As with systemd's journal.
#[test]
fn a_full_socket() {
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    let server = start_with_stdout(std::os::fd::OwnedFd::from(writer));
    serve(&server);
    check_what_is_shown(server, reader);
}

#[test]
fn a_stopped_terminal() {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = openpt(flags | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().write(true).read(true).open(name.to_str().unwrap()).unwrap();
    // As with Ctrl-S.
    tcflow(&slave, Action::OOff).unwrap();
    let server = start_with_stdout(slave.try_clone().unwrap());
    serve(&server);
    tcflow(&slave, Action::OOn).unwrap();
    check_what_is_shown(server, File::from(master));
}

#[test]
fn a_closed_pipe_and_a_full_device() {
    let (reader, closed) = io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for stdout in [Stdio::from(closed), full.into()] {
        let server = start_with_stdout(stdout);
        serve(&server);
        let ended = server.stop();
        assert!(ended.status.success(), "{:?}", ended.said);
        assert!(ended.said.len() < 5, "{:?}", ended.said);
    }
}

/// Many diagnostics, while standard error is not read.
#[test]
fn a_full_pipe_on_standard_error() {
    let mut command = test_support::programs::server();
    command.args(["-port", "0", "-quiet"]).env("RUST_LOG", "debug");
    let (mut reader, writer) = io::pipe().unwrap();
    command.stderr(writer);
    let folder = tempfile::tempdir().unwrap();
    let mut child = command.current_dir(&folder).spawn().unwrap();
    drop(command);
    let mut first = [0; 128];
    let n = reader.read(&mut first).unwrap();
    let first = str::from_utf8(&first[..n]).unwrap().trim_end();
    let address: std::net::SocketAddr = first["listening on ".len()..].parse().unwrap();
    // One line for each connection, and one for its end.
    for n in 0..5_000 {
        let mut client = Client::connect(address);
        if n % 100 == 0 {
            assert_eq!(client.ask("hello"), "ok");
        }
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = wait_until("the end", || child.try_wait().unwrap());
    assert!(status.success());
}

#[test]
fn no_standard_descriptors_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut command: Command = test_support::programs::script("exec $SERVER -port 0 <&- >&-");
    command.env("RUST_BACKTRACE", "0");
    let server = Server::start_command(folder, command);
    let mut client = server.connect();
    assert_eq!(client.ask("hello"), "ok");
    assert_eq!(received_from(&server.log(), &client.name()), ["hello"]);
    assert!(server.stop().status.success());
}

/// A server of a user that may write to this standard output, but not reopen it; none if there is
/// no other user.
fn start_as_nobody(stdout: impl Into<Stdio>) -> Option<Server> {
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    if !test_support::programs::can("another user", &format!("{nobody} true")) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    // That user may not have access to the executable at its usual path.
    std::fs::copy(env!("CARGO_BIN_EXE_server"), folder.path().join("server")).unwrap();
    let mut command = test_support::programs::script(&format!("exec {nobody} ./server -port 0"));
    command.stdout(stdout);
    Some(Server::start_command(folder, command))
}

#[test]
fn a_full_pipe_of_another_user() {
    let (reader, writer) = io::pipe().unwrap();
    if let Some(server) = start_as_nobody(writer) {
        serve(&server);
        check_what_is_shown(server, reader);
    }
}

#[test]
fn a_pipe_of_another_user_that_nobody_reads_does_not_hold_the_stop() {
    let (_reader, writer) = io::pipe().unwrap();
    if let Some(server) = start_as_nobody(writer) {
        serve(&server);
        assert!(server.stop().status.success());
    }
}

/// A file on a disk that hangs: every write takes so long that a load that waited for it would not
/// end.
#[test]
fn a_file_that_hangs() {
    if !test_support::programs::can("strace", "strace -V") {
        return;
    }
    let command = test_support::programs::script(
        "exec strace -D -f -qq -o /dev/null -P shown -e trace=write \
         -e inject=write:delay_enter=3s $SERVER -port 0 >shown",
    );
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    serve(&server);
    assert_eq!(server.connect().ask("still there"), "ok");
    // The write in progress delays even the exit of the process.
    server.kill();
}

/// With `stty tostop`, a terminal stops background processes that write to it.
#[test]
fn a_terminal_that_stops_writers_in_the_background() {
    if !test_support::programs::can(
        "a terminal for a shell",
        "script -qec 'bash -c true' /dev/null",
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let shell = "set -m; stty tostop; $SERVER -port 0 2>said & echo $! >pid; cat";
    std::fs::write(folder.path().join("shell"), shell).unwrap();
    let mut command = test_support::programs::script("exec script -qec 'bash shell' /dev/null");
    command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = command.spawn().unwrap();
    let shown = test_support::commands::lines(terminal.stdout.take().unwrap());
    let address = wait_until("the server listens", || {
        let said = std::fs::read_to_string(&said).ok()?;
        said.lines().find_map(|line| line.strip_prefix("listening on "))?.parse().ok()
    });
    let mut client = Client::connect(address);
    for _ in 0..3 {
        assert_eq!(client.ask("from the background"), "ok");
    }
    wait_until("what is shown", || shown.try_recv().ok()?.contains("recieved: ").then_some(()));
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let stopped = || std::fs::read_to_string(&said).unwrap().contains("stopped: ");
    wait_until("the stop", || stopped().then_some(()));
    terminal.kill().unwrap();
    terminal.wait().unwrap();
}
