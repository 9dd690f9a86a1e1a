//! Faults for a fixture. The fixture repairs nodes that a fault leaves dead or stopped.

use std::fs::File;
use std::io;
use std::time::Duration;

use fastrand::Rng;
use test_support::nodes::json;
use test_support::stream_log::connected_node;
use test_support::wait::wait_until;

use super::fixture::Fixture;

/// A fault: its name, and the function that injects it.
pub(crate) struct Fault(pub(crate) &'static str, pub(crate) fn(&mut Fixture, &mut Rng));

pub(crate) const ON_ONE_NODE: &[Fault] = &[
    Fault("node killed", kill_all),
    Fault("node stopped", |it, rng| stop(it, rng, leader)),
    Fault("stream full", fill_stream),
    Fault("stream deleted", delete_stream),
    Fault("server killed", kill_server),
];

pub(crate) const ON_THREE_NODES: &[Fault] = &[
    Fault("leader killed", |it, rng| kill(it, rng, leader)),
    Fault("connected node killed", |it, rng| kill(it, rng, connected)),
    Fault("follower killed", |it, rng| kill(it, rng, follower)),
    Fault("two nodes killed", kill_two),
    Fault("all nodes killed", kill_all),
    Fault("leader stopped", |it, rng| stop(it, rng, leader)),
    Fault("connected node stopped", |it, rng| stop(it, rng, connected)),
    Fault("step-downs", step_down),
    Fault("stream full", fill_stream),
    Fault("stream deleted", delete_stream),
    Fault("server killed", kill_server),
    Fault("server killed, its node stopped", kill_server_behind_node),
];

/// For nodes with a tmpfs, which is lost when they are killed.
pub(crate) const ON_SMALL_DISKS: &[Fault] = &[Fault("disk of the leader full", fill_disk)];

/// The longest time for which nodes are dead: longer than `-ack-wait`.
const DEAD: Duration = Duration::from_secs(12);

/// The longest time for which a node is stopped.
const STOPPED: Duration = Duration::from_secs(10);

/// The longest pause between two steps of one fault.
const MEANWHILE: Duration = Duration::from_secs(2);

/// Chooses a node.
type Choose = fn(&Fixture, &mut Rng) -> usize;

fn leader(fixture: &Fixture, _: &mut Rng) -> usize {
    fixture.stream().leader().unwrap()
}

/// A node to which a server is connected. If it leads the stream, another node is made the leader first.
fn connected(fixture: &Fixture, random: &mut Rng) -> usize {
    let server = random.choice(&fixture.servers).unwrap();
    let node = connected_node(&fixture.cluster, server);
    wait_until("another leader", || {
        let leader = fixture.stream().leader();
        if leader == Ok(node) {
            // The same node may be elected again.
            _ = fixture.stream().step_down(None);
        }
        leader.is_ok_and(|leader| leader != node)
    });
    node
}

/// A follower, if possible one without a connected server.
fn follower(fixture: &Fixture, random: &mut Rng) -> usize {
    let leader = leader(fixture, random);
    let node_of = |server| connected_node(&fixture.cluster, server);
    let used: Vec<_> = fixture.servers.iter().map(node_of).collect();
    let mut followers = shuffled_nodes(fixture, random);
    followers.retain(|node| *node != leader);
    followers.sort_by_key(|node| used.contains(node));
    followers[0]
}

fn shuffled_nodes(fixture: &Fixture, random: &mut Rng) -> Vec<usize> {
    let mut nodes: Vec<_> = (0..fixture.cluster.nodes.len()).collect();
    random.shuffle(&mut nodes);
    nodes
}

fn kill(fixture: &mut Fixture, random: &mut Rng, choose: Choose) {
    let node = choose(fixture, random);
    fixture.cluster.nodes[node].kill().unwrap();
    fixture.rest(random, DEAD);
}

fn stop(fixture: &mut Fixture, random: &mut Rng, choose: Choose) {
    let node = choose(fixture, random);
    fixture.cluster.nodes[node].pause().unwrap();
    fixture.rest(random, STOPPED);
}

fn kill_two(fixture: &mut Fixture, random: &mut Rng) {
    let nodes = shuffled_nodes(fixture, random);
    fixture.cluster.nodes[nodes[0]].kill().unwrap();
    fixture.cluster.nodes[nodes[1]].kill().unwrap();
    fixture.rest(random, DEAD);
    fixture.cluster.nodes[nodes[0]].start().unwrap();
    fixture.rest(random, MEANWHILE);
}

fn kill_all(fixture: &mut Fixture, random: &mut Rng) {
    for node in &mut fixture.cluster.nodes {
        node.kill().unwrap();
    }
    fixture.rest(random, MEANWHILE);
}

fn step_down(fixture: &mut Fixture, random: &mut Rng) {
    for _ in 0..=random.usize(..5) {
        fixture.stream().step_down(None).unwrap();
        fixture.rest(random, Duration::from_millis(500));
    }
}

/// Makes the stream reject all new messages, and waits until every client gets errors.
fn close_stream(fixture: &Fixture) {
    let bytes = fixture.stream().info().unwrap().state.bytes;
    let full = json!({"max_bytes": bytes});
    fixture.stream().update(&full).unwrap();
    fixture.clients.wait_for_errors();
}

fn fill_stream(fixture: &mut Fixture, random: &mut Rng) {
    close_stream(fixture);
    fixture.rest(random, MEANWHILE);
    let unlimited = json!({"max_bytes": -1});
    fixture.stream().update(&unlimited).unwrap();
}

/// The stream is full before it is deleted: the messages read then are all that were acknowledged.
fn delete_stream(fixture: &mut Fixture, random: &mut Rng) {
    close_stream(fixture);
    fixture.make_anew(|fixture| fixture.rest(random, MEANWHILE));
}

fn kill_server(fixture: &mut Fixture, random: &mut Rng) {
    let server = random.usize(..fixture.servers.len());
    fixture.servers[server].crash();
    fixture.rest(random, MEANWHILE);
    fixture.servers[server].start_again();
}

/// The killed server's last messages arrive after its successor, with the same id, has started.
fn kill_server_behind_node(fixture: &mut Fixture, random: &mut Rng) {
    let server = random.usize(..fixture.servers.len());
    let node = connected_node(&fixture.cluster, &fixture.servers[server]);
    fixture.cluster.nodes[node].pause().unwrap();
    fixture.rest(random, MEANWHILE);
    fixture.servers[server].restart();
    fixture.rest(random, MEANWHILE);
}

/// The node loses its replica. Before that, the other two need every message. They have them once a new
/// message is acknowledged, for which both are needed.
fn fill_disk(fixture: &mut Fixture, random: &mut Rng) {
    let leader = leader(fixture, random);
    let ballast = fixture.cluster.nodes[leader].store().join("ballast");
    let mut ballast = File::create(ballast).unwrap();
    let full = io::copy(&mut io::repeat(0), &mut ballast).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    wait_until("another leader", || {
        let now = fixture.stream().leader();
        now.is_ok_and(|now| now != leader)
    });
    fixture.clients.wait_for_ok();
    fixture.cluster.nodes[leader].kill().unwrap();
}
