//! Standard output and standard error that take nothing: the `ok`s go on.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{self, Read as _};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, tcflow};
use support::numbered::{Load, verify};
use support::{Server, received_from, wait_until};

/// More records than any pipe or terminal and the server's own backlog hold.
const ENOUGH: u64 = 50_000;

fn start_with_stdout(stdout: impl Into<Stdio>) -> Server {
    let mut command = support::binary();
    command.args(["-port", "0"]).stdout(stdout);
    Server::start_command(tempfile::tempdir().unwrap(), command)
}

/// The load is served to its end, though nobody sees a record.
fn serve(server: &Server) {
    let load = Load::start(server.address(), 10, 64).unwrap();
    wait_until("service", || (load.acknowledged() > ENOUGH).then_some(()));
    let accounts = load.finish().unwrap();
    let verdict = verify(&accounts, server.log().as_bytes()).unwrap();
    assert!(verdict.is_good() && verdict.unanswered == 0, "{verdict:?}");
}

/// What is shown once somebody reads: whole records first, then how many were left out.
fn check_what_is_shown(mut server: Server, reader: impl io::Read + Send + 'static) {
    let shown = support::lines(reader);
    let deadline = support::DEADLINE;
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

#[test]
fn a_stopped_terminal() {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = openpt(flags | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options()
        .write(true)
        .read(true)
        .open(name.to_str().unwrap())
        .unwrap();
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

/// Diagnostics as well: nobody reads them, and there are many.
#[test]
fn a_full_pipe_on_standard_error() {
    let mut command = support::binary();
    command
        .args(["-port", "0", "-quiet"])
        .env("RUST_LOG", "debug");
    let (mut reader, writer) = io::pipe().unwrap();
    command.stderr(writer);
    let folder = tempfile::tempdir().unwrap();
    let mut child = command.current_dir(&folder).spawn().unwrap();
    drop(command);
    let mut first = [0; 128];
    let n = reader.read(&mut first).unwrap();
    let first = str::from_utf8(&first[..n]).unwrap().trim_end();
    let address: std::net::SocketAddr = first["listening on ".len()..].parse().unwrap();
    // A line for each that comes and one for each that goes.
    for n in 0..5_000 {
        let mut client = support::Client::connect(address);
        if n % 100 == 0 {
            assert_eq!(client.ask("hello"), "ok");
        }
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let status = wait_until("the end", || child.try_wait().unwrap());
    assert!(status.success());
}

#[test]
fn no_standard_descriptors_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut command: Command = support::script("exec $SERVER -port 0 <&- >&-");
    command.env("RUST_BACKTRACE", "0");
    let server = Server::start_command(folder, command);
    let mut client = server.connect();
    assert_eq!(client.ask("hello"), "ok");
    assert_eq!(received_from(&server.log(), &client.name()), ["hello"]);
    assert!(server.stop().status.success());
}
