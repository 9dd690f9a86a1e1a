//! Faults for a fixture. The fixture repairs nodes that a fault leaves dead or stopped.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use test_support::nodes::json;

use super::fixture::Fixture;
use crate::running::wait_until;

/// A fault: its name, and the function that injects it.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) inject: fn(&mut Fixture, &mut Rng) -> Result<(), String>,
}

pub(crate) const ON_ONE_NODE: &[Fault] = &[
    fault("node killed", kill_all),
    fault("node stopped", stop_leader),
    fault("stream full", fill_stream),
    fault("stream deleted", delete_stream),
    fault("server killed", kill_server),
];

pub(crate) const ON_THREE_NODES: &[Fault] = &[
    fault("leader killed", kill_leader),
    fault("connected node killed", kill_connected),
    fault("follower killed", kill_follower),
    fault("two nodes killed", kill_two),
    fault("all nodes killed", kill_all),
    fault("leader stopped", stop_leader),
    fault("connected node stopped", stop_connected),
    fault("step-downs", step_down),
    fault("stream full", fill_stream),
    fault("stream deleted", delete_stream),
    fault("server killed", kill_server),
    fault(
        "server killed, its node stopped",
        kill_server_behind_stopped_node,
    ),
];

/// For nodes with a tmpfs, which is lost when they are killed.
pub(crate) const ON_SMALL_DISKS: &[Fault] = &[fault("disk of the leader full", fill_disk)];

const fn fault(
    name: &'static str,
    inject: fn(&mut Fixture, &mut Rng) -> Result<(), String>,
) -> Fault {
    Fault { name, inject }
}

/// The longest time for which nodes are dead: longer than `-ack-wait`.
const DEAD: Duration = Duration::from_secs(12);

/// The longest time for which a node is stopped.
const STOPPED: Duration = Duration::from_secs(10);

/// The longest pause between two steps of one fault.
const MEANWHILE: Duration = Duration::from_secs(2);

fn kill_leader(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    let leader = fixture.stream().leader()?;
    fixture.cluster.nodes[leader].kill()?;
    fixture.rest(random, DEAD);
    Ok(())
}

/// Kills a node to which a server is connected, and which is not the leader.
fn kill_connected(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    let node = connected_follower(fixture, random)?;
    fixture.cluster.nodes[node].kill()?;
    fixture.rest(random, DEAD);
    Ok(())
}

/// Kills a follower, if possible one without a connected server.
fn kill_follower(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    let leader = fixture.stream().leader()?;
    let mut used = Vec::new();
    for server in &fixture.servers {
        used.push(server.node(&fixture.cluster)?);
    }
    let mut followers: Vec<_> = (0..fixture.cluster.nodes.len()).collect();
    followers.retain(|node| *node != leader);
    random.shuffle(&mut followers);
    followers.sort_by_key(|node| used.contains(node));
    fixture.cluster.nodes[followers[0]].kill()?;
    fixture.rest(random, DEAD);
    Ok(())
}

fn kill_two(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    let mut nodes: Vec<_> = (0..fixture.cluster.nodes.len()).collect();
    random.shuffle(&mut nodes);
    for node in &nodes[..2] {
        fixture.cluster.nodes[*node].kill()?;
    }
    fixture.rest(random, DEAD);
    fixture.cluster.nodes[nodes[0]].start()?;
    fixture.rest(random, MEANWHILE);
    Ok(())
}

fn kill_all(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    for node in &mut fixture.cluster.nodes {
        node.kill()?;
    }
    fixture.rest(random, MEANWHILE);
    Ok(())
}

fn stop_leader(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    let leader = fixture.stream().leader()?;
    fixture.cluster.nodes[leader].pause()?;
    fixture.rest(random, STOPPED);
    Ok(())
}

fn stop_connected(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    let node = connected_follower(fixture, random)?;
    fixture.cluster.nodes[node].pause()?;
    fixture.rest(random, STOPPED);
    Ok(())
}

/// A node to which a server is connected. If it leads the stream, another node is made the leader first.
fn connected_follower(fixture: &Fixture, random: &mut Rng) -> Result<usize, String> {
    let server = random.usize(..fixture.servers.len());
    let node = fixture.servers[server].node(&fixture.cluster)?;
    wait_until("another leader", || {
        let leader = fixture.stream().leader();
        if leader == Ok(node) {
            // The same node may be elected again.
            _ = fixture.stream().step_down(None);
        }
        leader.is_ok_and(|leader| leader != node)
    })?;
    Ok(node)
}

fn step_down(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    for _ in 0..=random.usize(..5) {
        fixture.stream().step_down(None)?;
        fixture.rest(random, Duration::from_millis(500));
    }
    Ok(())
}

/// Makes the stream reject all new messages, and waits until every client gets errors.
fn close_stream(fixture: &Fixture) -> Result<(), String> {
    let bytes = fixture.stream().info()?.state.bytes;
    fixture.stream().update(&json!({"max_bytes": bytes}))?;
    fixture.clients.wait_until_refused()
}

fn fill_stream(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    close_stream(fixture)?;
    fixture.rest(random, MEANWHILE);
    fixture.stream().update(&json!({"max_bytes": -1}))
}

/// The stream is full before it is deleted: the messages read then are all that were acknowledged.
fn delete_stream(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    close_stream(fixture)?;
    fixture.make_anew(|fixture| fixture.rest(random, MEANWHILE))
}

fn kill_server(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    let server = random.usize(..fixture.servers.len());
    fixture.servers[server].kill()?;
    fixture.rest(random, MEANWHILE);
    fixture.servers[server].start_again()
}

/// The killed server's last messages arrive after its successor, with the same id, has started.
fn kill_server_behind_stopped_node(fixture: &mut Fixture, random: &mut Rng) -> Result<(), String> {
    let server = random.usize(..fixture.servers.len());
    let node = fixture.servers[server].node(&fixture.cluster)?;
    fixture.cluster.nodes[node].pause()?;
    fixture.rest(random, MEANWHILE);
    fixture.servers[server].kill()?;
    fixture.servers[server].start_again()?;
    fixture.rest(random, MEANWHILE);
    Ok(())
}

/// The node loses its replica. Before that, the other two need every message. They have them once a new
/// message is acknowledged, for which both are needed.
fn fill_disk(fixture: &mut Fixture, _: &mut Rng) -> Result<(), String> {
    let leader = fixture.stream().leader()?;
    let ballast = fixture.cluster.nodes[leader].store().join("ballast");
    fill(&ballast).map_err(|error| format!("cannot fill a disk: {error}"))?;
    wait_until("another leader", || {
        let now = fixture.stream().leader();
        now.is_ok_and(|now| now != leader)
    })?;
    fixture.clients.wait_until_kept()?;
    fixture.cluster.nodes[leader].kill()
}

/// Writes until the disk is full.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let piece = vec![0; 64 << 10];
    loop {
        match file.write_all(&piece) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            written => written?,
        }
    }
}
