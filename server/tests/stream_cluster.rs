//! The log as a stream of three nodes: after any fault of the nodes, each line answered `ok` is in it once.
#![allow(clippy::unwrap_used)]

use rustix::process::{Pid, Signal, kill_process};
use test_support::nodes::{Cluster, OLDER};
use test_support::numbered::Load;
use test_support::server::Server;
use test_support::stream_log::{connected_node, judge, nodes, serve, serve_as, setup_of, start};
use test_support::wait::wait_until;

/// Puts a load on a server while `fault` affects the nodes. Afterwards the load continues, and every
/// acknowledged line is in the stream once, in order.
fn survives(cluster: &mut Cluster, fault: impl FnOnce(&mut Cluster, &mut Server)) {
    let mut server = serve(cluster, &[]);
    let load = Load::start(server.address(), 20, 20).unwrap();
    wait_until("some load", || (load.acknowledged() > 2000).then_some(()));
    fault(cluster, &mut server);
    let reached = load.acknowledged();
    wait_until("it to go on", || (load.acknowledged() > reached + 2000).then_some(()));
    let accounts = load.finish().unwrap();
    assert!(server.stop().status.success());
    cluster.wait_until_healthy().unwrap();
    let verification = judge(cluster, &accounts);
    assert_eq!((verification.errors, verification.unanswered), (0, 0), "{verification:?}");
}

fn kill_the_leader(cluster: &mut Cluster, _: &mut Server) {
    let leader = cluster.stream("LOG").leader().unwrap();
    cluster.nodes[leader].kill().unwrap();
    assert_ne!(cluster.stream("LOG").leader().unwrap(), leader);
    cluster.nodes[leader].start().unwrap();
}

#[test]
fn a_leader_is_killed() {
    let Some(mut cluster) = nodes(3) else { return };
    survives(&mut cluster, kill_the_leader);
}

#[test]
fn a_leader_of_an_older_release_is_killed() {
    let Some(setup) = setup_of(OLDER, 3) else {
        return;
    };
    survives(&mut start(setup), kill_the_leader);
}

#[test]
fn the_node_that_is_used_is_killed() {
    let Some(mut cluster) = nodes(3) else { return };
    survives(&mut cluster, |cluster, server| {
        let used = connected_node(cluster, server);
        cluster.nodes[used].kill().unwrap();
        server.wait_for_line("; uses nats://");
        cluster.nodes[used].start().unwrap();
    });
}

#[test]
fn the_node_that_is_used_is_stopped_and_wakes_up() {
    let Some(mut cluster) = nodes(3) else { return };
    survives(&mut cluster, |cluster, server| {
        let used = connected_node(cluster, server);
        cluster.nodes[used].pause().unwrap();
        server.wait_for_line("it does not answer; uses nats://");
        cluster.nodes[used].resume().unwrap();
    });
}

#[test]
fn a_node_that_is_about_to_stop_is_left_before_it_does() {
    let Some(mut cluster) = nodes(3) else { return };
    survives(&mut cluster, |cluster, server| {
        let used = connected_node(cluster, server);
        let pid = Pid::from_raw(cluster.nodes[used].pid().unwrap().cast_signed()).unwrap();
        // SIGUSR2 starts its lame duck mode.
        kill_process(pid, Signal::USR2).unwrap();
        server.wait_for_line("it is about to stop; uses nats://");
        wait_until("another node", || (connected_node(cluster, server) != used).then_some(()));
        cluster.nodes[used].kill().unwrap();
        cluster.nodes[used].start().unwrap();
    });
}

#[test]
fn nodes_that_a_node_reports_are_used() {
    let Some(mut cluster) = nodes(3) else { return };
    let url = cluster.nodes[0].url();
    let mut server = Server::start(&["-stream", "LOG", "-nats", &url, "-id", "me"]);
    let mut client = server.connect();
    assert_eq!(client.ask("by the one that was named"), "ok");
    cluster.nodes[0].kill().unwrap();
    server.wait_for_line("stream LOG: lost nats://");
    assert_eq!(client.ask("by another"), "ok");
    assert_ne!(connected_node(&cluster, &server), 0);
}

#[test]
fn a_leader_is_stopped_and_wakes_up() {
    let Some(mut cluster) = nodes(3) else { return };
    survives(&mut cluster, |cluster, _| {
        let leader = cluster.stream("LOG").leader().unwrap();
        cluster.nodes[leader].pause().unwrap();
        wait_until("another leader", || {
            cluster.stream("LOG").leader().ok().filter(|it| *it != leader)
        });
        cluster.nodes[leader].resume().unwrap();
    });
}

#[test]
fn all_nodes_are_killed() {
    let Some(mut cluster) = nodes(3) else { return };
    survives(&mut cluster, |cluster, _| {
        cluster.nodes.iter_mut().for_each(|node| node.kill().unwrap());
        cluster.nodes.iter_mut().for_each(|node| node.start().unwrap());
    });
}

#[test]
fn the_leader_changes_again_and_again() {
    let Some(mut cluster) = nodes(3) else { return };
    survives(&mut cluster, |cluster, _| {
        for _ in 0..5 {
            cluster.stream("LOG").step_down(None).unwrap();
        }
    });
}

#[test]
fn a_server_is_killed_under_load_and_another_goes_on() {
    let Some(cluster) = nodes(3) else { return };
    let mut accounts = Vec::new();
    for round in 1..=3 {
        let server = serve(&cluster, &[]);
        let load = Load::start(server.address(), 20, 20).unwrap();
        wait_until("some load", || (load.acknowledged() > 1000 * round).then_some(()));
        server.kill();
        accounts.extend(load.wait().unwrap());
    }
    judge(&cluster, &accounts);
}

#[test]
fn two_servers_side_by_side() {
    let Some(cluster) = nodes(3) else { return };
    let servers = [serve_as("a", &cluster, &[]), serve_as("b", &cluster, &[])];
    let loads = servers.each_ref().map(|server| Load::start(server.address(), 10, 10).unwrap());
    for load in &loads {
        wait_until("some load", || (load.acknowledged() > 1000).then_some(()));
    }
    let accounts = loads.into_iter().flat_map(|load| load.finish().unwrap());
    judge(&cluster, &accounts.collect::<Vec<_>>());
}
