//! What is done to a scene. Nodes that are left dead or stopped are mended by it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use cluster::json;
use fastrand::Rng;

use super::scene::Scene;
use crate::running::wait_until;

/// Something that is done, and what it is called.
pub(crate) struct Blow {
    pub(crate) name: &'static str,
    pub(crate) strike: fn(&mut Scene, &mut Rng) -> Result<(), String>,
}

pub(crate) const ON_ONE_NODE: &[Blow] = &[
    blow("node killed", kill_all),
    blow("node stopped", stop_leader),
    blow("stream full", fill_stream),
    blow("stream deleted", delete_stream),
    blow("server killed", kill_server),
];

pub(crate) const ON_THREE_NODES: &[Blow] = &[
    blow("leader killed", kill_leader),
    blow("connected node killed", kill_connected),
    blow("follower killed", kill_follower),
    blow("two nodes killed", kill_two),
    blow("all nodes killed", kill_all),
    blow("leader stopped", stop_leader),
    blow("connected node stopped", stop_connected),
    blow("step-downs", step_down),
    blow("stream full", fill_stream),
    blow("stream deleted", delete_stream),
    blow("server killed", kill_server),
    blow(
        "server killed, its node stopped",
        kill_server_behind_stopped_node,
    ),
];

/// For nodes whose disks are gone when they are killed.
pub(crate) const ON_SMALL_DISKS: &[Blow] = &[blow("disk of the leader full", fill_disk)];

const fn blow(name: &'static str, strike: fn(&mut Scene, &mut Rng) -> Result<(), String>) -> Blow {
    Blow { name, strike }
}

/// How long nodes are dead at most: longer than `-ack-wait`.
const DEAD: Duration = Duration::from_secs(12);

/// How long one is stopped at most.
const STOPPED: Duration = Duration::from_secs(10);

/// The longest pause between two things that belong together.
const MEANWHILE: Duration = Duration::from_secs(2);

fn kill_leader(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    let leader = scene.stream().leader()?;
    scene.cluster.nodes[leader].kill()?;
    scene.rest(random, DEAD);
    Ok(())
}

/// A server's node that is not the leader.
fn kill_connected(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    let node = connected_follower(scene, random)?;
    scene.cluster.nodes[node].kill()?;
    scene.rest(random, DEAD);
    Ok(())
}

/// Another one, if there is another.
fn kill_follower(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    let leader = scene.stream().leader()?;
    let mut used = Vec::new();
    for server in &scene.servers {
        used.push(server.node(&scene.cluster)?);
    }
    let mut followers: Vec<_> = (0..scene.cluster.nodes.len()).collect();
    followers.retain(|node| *node != leader);
    random.shuffle(&mut followers);
    followers.sort_by_key(|node| used.contains(node));
    scene.cluster.nodes[followers[0]].kill()?;
    scene.rest(random, DEAD);
    Ok(())
}

fn kill_two(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    let mut nodes: Vec<_> = (0..scene.cluster.nodes.len()).collect();
    random.shuffle(&mut nodes);
    for node in &nodes[..2] {
        scene.cluster.nodes[*node].kill()?;
    }
    scene.rest(random, DEAD);
    scene.cluster.nodes[nodes[0]].start()?;
    scene.rest(random, MEANWHILE);
    Ok(())
}

fn kill_all(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    for node in &mut scene.cluster.nodes {
        node.kill()?;
    }
    scene.rest(random, MEANWHILE);
    Ok(())
}

fn stop_leader(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    let leader = scene.stream().leader()?;
    scene.cluster.nodes[leader].pause()?;
    scene.rest(random, STOPPED);
    Ok(())
}

fn stop_connected(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    let node = connected_follower(scene, random)?;
    scene.cluster.nodes[node].pause()?;
    scene.rest(random, STOPPED);
    Ok(())
}

/// A node to which one of the servers is connected, after having it led by another.
fn connected_follower(scene: &Scene, random: &mut Rng) -> Result<usize, String> {
    let server = random.usize(..scene.servers.len());
    let node = scene.servers[server].node(&scene.cluster)?;
    wait_until("another leader", || {
        let leader = scene.stream().leader();
        if leader == Ok(node) {
            // It may be elected again.
            _ = scene.stream().step_down(None);
        }
        leader.is_ok_and(|leader| leader != node)
    })?;
    Ok(node)
}

fn step_down(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    for _ in 0..=random.usize(..5) {
        scene.stream().step_down(None)?;
        scene.rest(random, Duration::from_millis(500));
    }
    Ok(())
}

/// Has the stream refuse all that is new.
fn close_stream(scene: &Scene) -> Result<(), String> {
    let bytes = scene.stream().info()?.state.bytes;
    scene.stream().update(&json!({"max_bytes": bytes}))?;
    scene.clients.wait_until_refused()
}

fn fill_stream(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    close_stream(scene)?;
    scene.rest(random, MEANWHILE);
    scene.stream().update(&json!({"max_bytes": -1}))
}

/// It is full before: so what was acknowledged can be read, and is all there is.
fn delete_stream(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    close_stream(scene)?;
    scene.make_anew(|scene| scene.rest(random, MEANWHILE))
}

fn kill_server(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    let server = random.usize(..scene.servers.len());
    scene.servers[server].kill()?;
    scene.rest(random, MEANWHILE);
    scene.servers[server].start_again()
}

/// What it had sent arrives when its successor, which has the same id, is at work.
fn kill_server_behind_stopped_node(scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
    let server = random.usize(..scene.servers.len());
    let node = scene.servers[server].node(&scene.cluster)?;
    scene.cluster.nodes[node].pause()?;
    scene.rest(random, MEANWHILE);
    scene.servers[server].kill()?;
    scene.servers[server].start_again()?;
    scene.rest(random, MEANWHILE);
    Ok(())
}

/// The node loses all that it had. Before that, the others have to have everything: they do as soon as
/// something is acknowledged, for which both are needed.
fn fill_disk(scene: &mut Scene, _: &mut Rng) -> Result<(), String> {
    let leader = scene.stream().leader()?;
    let ballast = scene.cluster.nodes[leader].store().join("ballast");
    fill(&ballast).map_err(|error| format!("cannot fill a disk: {error}"))?;
    wait_until("another leader", || {
        let now = scene.stream().leader();
        now.is_ok_and(|now| now != leader)
    })?;
    scene.clients.wait_until_kept()?;
    scene.cluster.nodes[leader].kill()
}

/// Writes until there is no room left.
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
