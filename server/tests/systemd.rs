//! The server under a supervisor such as systemd: notifications, and inherited sockets.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use test_support::client::Client;
use test_support::programs::{self, can, script};
use test_support::records::received_from;
use test_support::server::Server;
use test_support::wait::{DEADLINE, wait_until};

/// The supervisor's end of the notification socket.
struct Ear(UnixDatagram);

impl Ear {
    fn in_folder(folder: &TempDir) -> (Self, String) {
        let path = folder.path().join("notify");
        let ear = UnixDatagram::bind(&path).unwrap();
        ear.set_read_timeout(Some(DEADLINE)).unwrap();
        (Self(ear), path.to_str().unwrap().to_owned())
    }

    fn abstract_one(folder: &TempDir) -> (Self, String) {
        let name = folder.path().to_str().unwrap();
        let address = UnixAddr::from_abstract_name(name).unwrap();
        let ear = UnixDatagram::bind_addr(&address).unwrap();
        ear.set_read_timeout(Some(DEADLINE)).unwrap();
        (Self(ear), format!("@{name}"))
    }

    fn hear(&self) -> Option<String> {
        let mut buffer = [0; 1024];
        let n = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..n].to_vec()).unwrap())
    }

    /// Waits for the next message that starts with `what`; skips others.
    fn hear_of(&self, what: &str) -> String {
        loop {
            let said = self.hear().expect("it tells in time");
            if said.starts_with(what) {
                return said;
            }
        }
    }
}

fn supervised(folder: TempDir, name: &str, watchdog_usec: Option<u64>) -> Server {
    let mut command = programs::server();
    command.args(["-quiet", "-port", "0"]).env("NOTIFY_SOCKET", name);
    if let Some(usec) = watchdog_usec {
        command.env("WATCHDOG_USEC", usec.to_string());
    }
    Server::start_command(folder, command)
}

#[test]
fn a_supervisor_is_told_how_far_it_is() {
    for make in [Ear::in_folder, Ear::abstract_one] {
        let folder = tempfile::tempdir().unwrap();
        let (ear, name) = make(&folder);
        let server = supervised(tempfile::tempdir().unwrap(), &name, None);
        assert_eq!(ear.hear().as_deref(), Some("READY=1"));
        let mut client = server.connect();
        assert_eq!(client.ask("a line"), "ok");
        ear.hear_of("STATUS=1 client, ");
        server.signal(Signal::HUP);
        let said = ear.hear_of("RELOADING=1\nMONOTONIC_USEC=");
        let usec = said.rsplit('=').next().unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0);
        ear.hear_of("READY=1");
        server.signal(Signal::TERM);
        ear.hear_of("STOPPING=1");
        drop(client);
        assert!(server.wait().status.success());
    }
}

/// The loop feeds the watchdog while it sleeps, and does not while it hangs.
#[test]
fn the_watchdog_is_fed_by_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    let (ear, name) = Ear::in_folder(&folder);
    let server = supervised(tempfile::tempdir().unwrap(), &name, Some(200_000));
    for _ in 0..5 {
        ear.hear_of("WATCHDOG=1");
    }
    server.signal(Signal::STOP);
    wait_until("the pause", || server.is_stopped().then_some(()));
    // Earlier messages are read first; then none arrives for a long time.
    ear.0.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    while ear.hear().is_some() {}
    server.signal(Signal::CONT);
    ear.0.set_read_timeout(Some(DEADLINE)).unwrap();
    ear.hear_of("WATCHDOG=1");
}

#[test]
fn a_supervisor_that_takes_nothing_delays_no_client() {
    let folder = tempfile::tempdir().unwrap();
    let (ear, name) = Ear::in_folder(&folder);
    // The kernel queues a few datagrams for a socket that is not read; they come every millisecond.
    let server = supervised(tempfile::tempdir().unwrap(), &name, Some(2000));
    let mut client = server.connect();
    for n in 0..2000 {
        assert_eq!(client.ask(&n.to_string()), "ok");
    }
    drop(ear);
    assert_eq!(client.ask("it has gone"), "ok");
}

/// If the supervisor's socket is full at first, important messages and the watchdog's are sent again.
#[test]
fn a_supervisor_that_was_busy_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (ear, name) = Ear::in_folder(&folder);
    let others = UnixDatagram::unbound().unwrap();
    others.set_nonblocking(true).unwrap();
    while others.send_to(b"of another service", &name).is_ok() {}
    // Without a retry, the watchdog would be fed only after half of this.
    let timeout_usec = 4 * u64::try_from(DEADLINE.as_micros()).unwrap();
    let server = supervised(tempfile::tempdir().unwrap(), &name, Some(timeout_usec));
    // The reply to a client comes after the messages of the start.
    assert_eq!(server.connect().ask("a line"), "ok");
    let (mut is_ready, mut is_fed) = (false, false);
    while !(is_ready && is_fed) {
        let said = ear.hear().expect("it tells in time");
        is_ready |= said == "READY=1";
        is_fed |= said == "WATCHDOG=1";
    }
}

#[test]
fn a_supervisor_that_was_begun_anew_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (ear, name) = Ear::in_folder(&folder);
    let server = supervised(tempfile::tempdir().unwrap(), &name, None);
    ear.hear_of("READY=1");
    drop(ear);
    std::fs::remove_file(&name).unwrap();
    let (ear, _) = Ear::in_folder(&folder);
    server.signal(Signal::HUP);
    ear.hear_of("RELOADING=1");
    ear.hear_of("READY=1");
}

#[test]
fn a_supervisor_that_is_not_there_is_an_error() {
    let mut command = programs::server();
    command.args(["-port", "0"]).env("NOTIFY_SOCKET", "/nowhere/notify");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected =
        "server: NOTIFY_SOCKET=/nowhere/notify: No such file or directory (os error 2)\n";
    assert_eq!(said, expected);
    assert_eq!(output.status.code(), Some(1));
}

/// A server on a socket of the supervisor, passed as descriptor 3.
fn activated(socket: &TcpListener, names: &str, options: &str) -> Command {
    activated_after(":", socket, names, options)
}

/// The same, after a shell command.
fn activated_after(first: &str, socket: &TcpListener, names: &str, options: &str) -> Command {
    let mut command = script(&format!(
        "{first}; exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES={names}; \
         exec $SERVER -quiet -append {options}"
    ));
    command.stdin(OwnedFd::from(socket.try_clone().unwrap()));
    command
}

/// While the server is restarted repeatedly, every client is accepted, and every `ok` is true.
#[test]
fn a_restart_refuses_no_client() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let stop = AtomicBool::new(false);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let start = || {
        let log = format!("-log {}", path.join("lines.log").display());
        let command = activated(&socket, "line-log", &log);
        Server::start_command(tempfile::tempdir().unwrap(), command)
    };
    let talk = |name: usize| -> (usize, Vec<String>) {
        let (mut connections, mut kept) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            // Panics if the connection is refused.
            let mut client = Client::connect(address);
            connections += 1;
            for n in 0..20 {
                let line = format!("{name} {connections} {n}");
                // A server that is stopping says so, or closes the connection.
                match client.try_ask(&line).as_deref() {
                    Some("ok") => kept.push(line),
                    _ => break,
                }
            }
        }
        (connections, kept)
    };
    let kept = thread::scope(|scope| {
        let talkers: Vec<_> = (0..4).map(|name| scope.spawn(move || talk(name))).collect();
        for _ in 0..20 {
            let server = start();
            assert_eq!(server.address(), address);
            let mut client = server.connect();
            assert_eq!(client.ask("between two restarts"), "ok");
            drop(client);
            assert!(server.stop().status.success());
        }
        stop.store(true, Ordering::Relaxed);
        // For the clients that have just connected.
        let last = start();
        let kept: Vec<_> =
            talkers.into_iter().flat_map(|talker| talker.join().unwrap().1).collect();
        last.stop();
        kept
    });
    assert!(kept.len() > 100, "{}", kept.len());
    let log = std::fs::read_to_string(path.join("lines.log")).unwrap();
    let messages: HashSet<_> = log
        .lines()
        .filter_map(|line| line.split_once(" recieved: "))
        .map(|(_, text)| text)
        .collect();
    let lost: Vec<_> = kept.iter().filter(|line| !messages.contains(line.as_str())).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn a_socket_may_be_for_metrics() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let command = activated(&socket, "metrics", "-port 0");
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    assert_eq!(server.said("metrics at "), format!("metrics at http://{address}/metrics"));
    assert_ne!(server.address(), address);
}

#[test]
fn sockets_have_names() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let output = activated(&socket, "other", "").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("server: the socket 'other' of LISTEN_FDS has a name that means nothing"),
        "{said}"
    );
    // A socket that does not listen.
    let stream = std::net::TcpStream::connect(address).unwrap();
    let mut command = activated(&socket, "line-log", "");
    let output = command.stdin(OwnedFd::from(stream)).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "server: the socket 'line-log' of LISTEN_FDS does not listen\n");
    // Descriptors for another process are ignored.
    let mut command = programs::server();
    command.args(["-quiet", "-port", "0"]).env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    assert_eq!(server.connect().ask("a line"), "ok");
}

/// Metrics have their own descriptors, whether the server or the supervisor has opened the socket.
#[test]
fn a_socket_for_metrics_takes_no_place_of_clients() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let options = "-port 0 -max-clients 1000";
    let lowered = |command: Command| {
        let server = Server::start_command(tempfile::tempdir().unwrap(), command);
        server.said("-max-clients 1000 is lowered to ").to_owned()
    };
    let given = activated_after("ulimit -n 100", &socket, "metrics", options);
    let mut own = script(&format!(
        "ulimit -n 100; exec $SERVER -quiet -append {options} -metrics 127.0.0.1:0"
    ));
    own.stdin(Stdio::null());
    assert_eq!(lowered(given), lowered(own));
}

#[test]
fn systemd_socket_activate_starts_it() {
    if !can("systemd-socket-activate", "command -v systemd-socket-activate") {
        return;
    }
    // It needs a free port, which cannot be reserved for it: on a conflict, try again.
    let folder = tempfile::tempdir().unwrap();
    wait_until("a port", || {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut command = Command::new("systemd-socket-activate");
        command
            .args(["--fdname=line-log", "-l", &address.to_string()])
            .arg(env!("CARGO_BIN_EXE_server"));
        let log = folder.path().join("lines.log");
        command.args(["-quiet", "-append", "-log"]).arg(&log);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let spoke = speak_through(&mut child, address);
        let server = rustix::process::Pid::from_child(&child);
        _ = rustix::process::kill_process(server, Signal::TERM);
        let status = child.wait().unwrap();
        let name = spoke?;
        assert!(status.success());
        let log = std::fs::read_to_string(&log).unwrap();
        assert_eq!(received_from(&log, &name), ["a line"]);
        Some(())
    });
}

/// Sends a line to the address; returns the client's name. None if the child exits first.
fn speak_through(child: &mut std::process::Child, address: SocketAddr) -> Option<String> {
    wait_until("a listening socket, or its end", || {
        if child.try_wait().unwrap().is_some() {
            return Some(None);
        }
        std::net::TcpStream::connect(address).ok().map(Some)
    })?;
    let mut client = Client::connect(address);
    assert_eq!(client.ask("a line"), "ok");
    Some(client.name())
}

#[test]
fn the_units_are_sound_and_give_little_away() {
    if !can("systemd-analyze", "command -v systemd-analyze") {
        return;
    }
    let units = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd"));
    let folder = tempfile::tempdir().unwrap();
    for name in ["line-log-server.service", "line-log-server.socket"] {
        let unit = std::fs::read_to_string(units.join(name)).unwrap();
        let unit = unit.replace("/usr/bin/line-log-server", env!("CARGO_BIN_EXE_server"));
        std::fs::write(folder.path().join(name), unit).unwrap();
    }
    let analyze = |args: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(args).current_dir(folder.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let units = ["./line-log-server.service", "./line-log-server.socket"];
    let verified = analyze(&[&["verify", "--man=no"], &units[..]].concat());
    assert_eq!(verified, (true, String::new()));
    let (is_fine, said) = analyze(&["security", "--offline=true", "--threshold=20", units[0]]);
    assert!(is_fine, "{said}");
}

/// The system calls that the unit allows, computed from its lines in their order.
fn allowed_calls(unit: &str) -> HashSet<String> {
    let output = Command::new("systemd-analyze").arg("syscall-filter").output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut sets = HashMap::<&str, Vec<&str>>::new();
    let mut set = "";
    for line in said.lines() {
        match line.trim() {
            name if line.starts_with('@') => set = name,
            call if !call.is_empty() && !call.starts_with('#') => {
                sets.entry(set).or_default().push(call);
            }
            _ => {}
        }
    }
    let lines = unit.lines();
    let filters = lines.filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let mut allowed = HashSet::new();
    for filter in ["@default"].into_iter().chain(filters) {
        let (forbids, names) =
            filter.strip_prefix('~').map_or((false, filter), |names| (true, names));
        let mut names: Vec<_> = names.split_whitespace().collect();
        while let Some(name) = names.pop() {
            if name.starts_with('@') {
                names.extend(&sets[name]);
            } else if forbids {
                allowed.remove(name);
            } else {
                allowed.insert(name.to_owned());
            }
        }
    }
    allowed
}

#[test]
fn the_unit_lets_the_server_do_its_work() {
    let tools = "command -v systemd-analyze && strace -o /dev/null true";
    if !can("systemd-analyze with strace", tools) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let options = "-quiet -append -sync -port 0 -rotate-size 100K -keep 2";
    let mut command = script(&format!("exec strace -D -f -o $TRACE $SERVER {options}"));
    command.env("TRACE", &trace);
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let mut client = server.connect();
    let long = "x".repeat(10_000);
    for _ in 0..40 {
        assert_eq!(client.ask(&long), "ok");
    }
    server.signal(Signal::HUP);
    server.signal(Signal::USR1);
    assert_eq!(client.ask("a line"), "ok");
    drop(client);
    let pid = server.pid().to_string();
    let is_end = |line: &str| {
        let rest = line.strip_prefix(&pid);
        rest.is_some_and(|rest| rest.trim_start() == "+++ exited with 0 +++")
    };
    assert!(server.stop().status.success());
    let trace = wait_until("the trace", || {
        let trace = std::fs::read_to_string(&trace).unwrap();
        trace.lines().any(is_end).then_some(trace)
    });
    // As in: 1234 openat(AT_FDCWD, ...
    let calls: HashSet<_> = trace
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .collect();
    for call in ["accept4", "fdatasync", "renameat2", "prlimit64"] {
        assert!(calls.contains(call), "{call} in {calls:?}");
    }
    let allowed = allowed_calls(include_str!("../../packaging/systemd/line-log-server.service"));
    let denied: Vec<_> = calls.iter().filter(|call| !allowed.contains(**call)).collect();
    assert!(denied.is_empty(), "{denied:?}");
}
