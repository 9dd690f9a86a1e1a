//! More clients than the descriptor limit allows.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, prlimit};
use test_support::client::Client;
use test_support::programs::script;
use test_support::records::received_from;
use test_support::server::{Server, clients_for};
use test_support::wait::wait_until;

/// The length of an observation, and the CPU time the server may use during it.
const WATCHED: Duration = Duration::from_secs(2);
const IDLING: Duration = Duration::from_millis(100);

/// The CPU time is the server's own: a busy machine does not change it.
fn check_that_it_does_not_spin(server: &Server) {
    let before = server.cpu_time();
    thread::sleep(WATCHED);
    let used = server.cpu_time().saturating_sub(before);
    assert!(used < IDLING, "{used:?} of CPU time in {WATCHED:?}");
}

#[test]
fn two_hundred_clients_where_sixty_four_files_may_be_open() {
    let limit = clients_for(64);
    let command = script("ulimit -n 64; exec $SERVER -port 0 -quiet");
    let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    let mut waiting = clients.split_off(limit);
    for client in &mut clients {
        assert_eq!(client.ask("served"), "ok");
    }
    for client in waiting.iter_mut().take(8) {
        assert_eq!(client.reply(), refusal(limit));
    }
    // They keep their connections open, and the others wait in the backlog.
    waiting.rotate_left(8);
    check_that_it_does_not_spin(&server);

    // Everything else works as usual.
    assert!(
        server.figures().starts_with(&format!("{limit} clients connected, {limit} clients served"))
    );
    let old = server.folder().join("old.log");
    fs::rename(server.log_path(), &old).unwrap();
    server.signal(Signal::HUP);
    wait_until("the new log", || server.log_path().exists().then_some(()));
    assert_eq!(clients[0].ask("in the new log"), "ok");
    assert_eq!(received_from(&server.log(), &clients[0].name()), ["in the new log"]);

    // As served clients leave, waiting ones are served, or refused if they came too early.
    drop(clients);
    let mut lucky = Vec::new();
    for mut client in waiting.drain(..200 - limit - 8) {
        // A refused client's connection may be closed by now.
        _ = client.stream().write_all(b"in turn\n");
        match client.reply().as_str() {
            "ok" => lucky.push(client),
            reply => assert_eq!(reply, refusal(limit)),
        }
    }
    assert_eq!(lucky.len(), limit);
    drop(lucky);
    drop(waiting);
    server.wait_for_clients(0);
    let ended = server.stop();
    assert!(ended.status.success());
    assert!(ended.said.len() < 50, "no flood: {:?}", ended.said);
}

#[test]
fn when_descriptors_run_out_all_the_same_clients_wait() {
    const WAITING: usize = 50;
    let mut server = Server::start(&[]);
    let mut first = server.connect();
    assert_eq!(first.ask("served"), "ok");
    // Lowered under the running server, which cannot know: accept fails with EMFILE.
    let limit = |files| Rlimit { current: Some(files), maximum: Some(20_000) };
    let open = server.descriptors();
    let free = (0..1024).find(|n| !open.contains(n)).unwrap();
    let before = prlimit(Some(server.pid()), Resource::Nofile, limit(free));
    let mut waiting: Vec<Client> = (0..WAITING).map(|_| server.connect()).collect();
    for client in &mut waiting {
        client.send("waiting\n");
    }
    server.wait_for_line("cannot accept clients, they wait: Too many open files");
    check_that_it_does_not_spin(&server);
    assert_eq!(first.ask("still served"), "ok");
    assert!(server.figures().starts_with("1 client connected"));

    // One client leaves, and another is accepted at once.
    drop(first);
    assert_eq!(waiting[0].reply(), "ok");
    // Descriptors are available again: the backlog was not forgotten.
    prlimit(Some(server.pid()), Resource::Nofile, before.unwrap()).unwrap();
    for client in &mut waiting[1..] {
        assert_eq!(client.reply(), "ok");
    }
    let started = server.started.elapsed().as_secs() as usize;
    let ended = server.stop();
    let complaints = ended.count_said("cannot accept clients");
    assert!(complaints <= started + 1, "one a second at most: {:?}", ended.said);
}

#[test]
fn clients_over_max_clients_are_told_so_and_closed() {
    let mut server = Server::start(&["-max-clients", "2"]);
    let mut admitted = [server.connect(), server.connect()];
    for client in &mut admitted {
        assert_eq!(client.ask("served"), "ok");
    }
    for _ in 0..20 {
        let mut refused = server.connect();
        // Its lines do not turn the close into a reset that destroys the reply.
        refused.send("never logged\n".repeat(1000));
        assert_eq!(refused.rest(), refusal(2) + "\n");
    }
    let [left, mut stays] = admitted;
    drop(left);
    server.wait_for_clients(1);
    assert_eq!(server.connect().ask("in its place"), "ok");
    assert_eq!(stays.ask("undisturbed"), "ok");
    let ended = server.stop();
    let log = ended.log();
    assert!(!log.contains("never logged"));
    assert!(!log.contains("too-many-clients"), "{log}");
    let reports = ended.count_said("refused, 2 are connected (-max-clients)");
    assert!((1..20).contains(&reports), "{:?}", ended.said);
}

fn refusal(limit: usize) -> String {
    format!("error too-many-clients: {limit} are connected, try later")
}
