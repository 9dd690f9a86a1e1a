//! Signals, under load.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use test_support::client::Client;
use test_support::numbered::Load;
use test_support::scenarios::{finish_uncut, pause, rename_and_reopen, stop_under_load};
use test_support::server::Server;
use test_support::wait::wait_until;

/// The time limit for a graceful stop, from the contract, doubled for a busy machine.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn a_stop_under_full_load_keeps_every_promise() {
    let server = Server::start(&[]);
    let load = Load::start(server.address(), 50, 64).unwrap();
    wait_until("load", || (load.acknowledged() > 20_000).then_some(()));
    let (verification, took) = stop_under_load(server, load);
    assert!(took < STOPS_WITHIN);
    assert!(verification.is_good() && verification.torn == 0, "{verification:?}");
}

#[test]
fn a_stop_does_not_wait_for_clients_that_will_not_end() {
    let server = Server::start(&[]);
    let silent = server.connect();
    let mut unfinished = server.connect();
    unfinished.send("no line end");
    // Never reads: its replies fill its buffer.
    let deaf = Client::connect_deaf(server.address());
    deaf.fill("\n", Duration::from_millis(300));
    // A line that never ends, at full speed.
    let flooder = server.connect();
    let (address, flooding) = (server.address(), AtomicBool::new(true));
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let piece = vec![b'x'; 1 << 20];
            while flooder.stream().write_all(&piece).is_ok() {}
        });
        // Connects all the time.
        scope.spawn(|| {
            while flooding.load(Ordering::Relaxed) {
                _ = std::net::TcpStream::connect(address);
            }
        });
        let asked = Instant::now();
        let ended = server.stop();
        flooding.store(false, Ordering::Relaxed);
        assert!(asked.elapsed() < STOPS_WITHIN);
        ended
    });
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.said);
    assert!(!ended.log().contains("no line end"));
    drop((silent, deaf));
}

#[test]
fn what_is_pending_at_the_stop_is_answered() {
    const N: usize = 10_000;
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.ask("connected"), "ok");
    // Sent while the server is stopped, so that it finds lines and signal at once.
    server.signal(Signal::STOP);
    client.send("pending\n".repeat(N));
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    assert_eq!(client.rest(), "ok\n".repeat(N));
    let ended = server.wait();
    assert!(ended.status.success());
    assert_eq!(ended.log().matches("recieved: pending").count(), N);
}

#[test]
fn what_comes_during_the_stop_is_refused() {
    let server = Server::start(&[]);
    let deaf = Client::connect_deaf(server.address());
    deaf.fill("\n", Duration::from_millis(300));
    server.signal(Signal::TERM);
    deaf.stream().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // Nothing is read, so the connection is not drained; after a while the remaining lines are refused.
    let mut all = Vec::new();
    thread::sleep(Duration::from_millis(2200));
    _ = deaf.stream().read_to_end(&mut all);
    let all = String::from_utf8(all).unwrap();
    let refused = "error shutting-down: the server is stopping";
    let after: Vec<_> = all.lines().skip_while(|line| *line == "ok").collect();
    assert!(!after.is_empty() && after.iter().all(|line| *line == refused));
    let oks = all.lines().count() - after.len();
    let ended = server.wait();
    assert!(ended.status.success());
    assert_eq!(ended.log().matches(" recieved: ").count(), oks);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut command = test_support::programs::server();
    command.args(["-quiet", "-port", "0"]).env("RUST_LOG", "info");
    let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let deaf = Client::connect_deaf(server.address());
    deaf.fill("\n", Duration::from_millis(300));
    server.signal(Signal::TERM);
    server.wait_for_line("stopping: 1 connected");
    server.signal(Signal::INT);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1));
    let line = ended.said.last().unwrap();
    assert_eq!(line, "server: stopped at once by a second signal: 1 client cut off");
}

#[test]
fn rotation_by_rename_loses_and_repeats_nothing() {
    const ROTATIONS: u32 = 10;
    let server = Server::start(&[]);
    let load = Load::start(server.address(), 20, 16).unwrap();
    let verification = rename_and_reopen(&server, load, ROTATIONS, |load| {
        let before = load.acknowledged();
        wait_until("load", || load.acknowledged() > before + 500);
    });
    assert!(verification.is_good(), "{verification:?}");
    assert!(server.stop().status.success());
}

#[test]
fn sighup_without_a_rename_changes_nothing() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    for n in 0..20 {
        assert_eq!(client.ask(&format!("message {n}")), "ok");
        server.signal(Signal::HUP);
    }
    server.figures();
    let log = server.stop().log();
    let expected: Vec<_> = (0..20).map(|n| format!("message {n}")).collect();
    assert_eq!(test_support::records::received_from(&log, &client.name()), expected);
}

#[test]
fn sigpipe_is_nothing_and_a_pause_is_only_a_pause() {
    let server = Server::start(&[]);
    let load = Load::start(server.address(), 10, 16).unwrap();
    server.signal(Signal::PIPE);
    server.signal(Signal::STOP);
    wait_until("the pause", || server.is_stopped().then_some(()));
    let (before, mut late) = (load.acknowledged(), server.connect());
    late.send("sent during the pause\n");
    server.signal(Signal::CONT);
    assert_eq!(late.reply(), "ok");
    wait_until("load", || (load.acknowledged() > before + 500).then_some(()));
    let verification = finish_uncut(&server, load);
    assert!(verification.is_good(), "{verification:?}");
}

/// A client that sent during a pause longer than the idle timeout is not idle.
#[test]
fn a_paused_server_does_not_take_its_clients_for_idle() {
    let server = Server::start(&["-idle-timeout", "1"]);
    let mut client = server.connect();
    assert_eq!(client.ask("before"), "ok");
    server.signal(Signal::STOP);
    client.send("during the pause\n");
    thread::sleep(Duration::from_millis(2100));
    server.signal(Signal::CONT);
    assert_eq!(client.reply(), "ok");
}

/// A pause in the middle of a turn, with replies on their way: clients get time to continue.
#[test]
fn a_pause_under_load_does_not_end_clients_as_idle() {
    let server = Server::start(&["-idle-timeout", "1"]);
    let load = Load::start(server.address(), 50, 16).unwrap();
    wait_until("load", || load.acknowledged() > 500);
    for _ in 0..3 {
        // Longer than the idle timeout: that is the fault to test.
        pause(&server, &load, Duration::from_millis(1100));
    }
    let verification = finish_uncut(&server, load);
    assert!(verification.is_good(), "{verification:?}");
    let ended = server.stop();
    assert_eq!(ended.count_said("closed, nothing came or went"), 0);
}
