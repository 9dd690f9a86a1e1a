//! Nodes start, are paused, killed and terminated, and end with this process.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use test_support::nodes::{CURRENT, Node, OLDER, Setup, Store, SyncInterval};
use test_support::process::is_alive;
use test_support::programs::{MOUNT, can};
use test_support::stream_log::{bare_nodes, setup, setup_of};
use test_support::wait::{DEADLINE, wait_until};

/// The answer of a node's HTTP monitoring.
fn ask(node: &Node, path: &str) -> String {
    let mut stream = TcpStream::connect(node.monitoring()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The first line that a node sends to a client.
fn greeting(node: &Node) -> String {
    let client = TcpStream::connect(node.address()).unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    line
}

#[test]
fn either_release_runs_until_it_is_dropped() {
    for release in [CURRENT, OLDER] {
        let Some(setup) = setup_of(release, 1) else {
            return;
        };
        let cluster = setup.start().unwrap();
        let node = &cluster.nodes[0];
        assert_eq!(cluster.urls(), format!("nats://{}", node.address()));
        let greeting = greeting(node);
        assert!(greeting.contains(r#""server_name":"n1""#), "{greeting}");
        assert!(greeting.contains(r#""jetstream":true"#), "{greeting}");
        assert!(greeting.contains(&format!(r#""version":"{}""#, release.version)), "{greeting}");
        let pid = node.pid().unwrap();
        assert!(is_alive(pid));
        drop(cluster);
        assert!(!is_alive(pid));
    }
}

#[test]
fn the_configuration_is_as_it_was_asked_for() {
    let Some(setup) = setup(1) else { return };
    let always = setup.clone().start().unwrap();
    let varz = ask(&always.nodes[0], "/varz");
    assert!(varz.contains(r#""sync_always": true"#), "{varz}");
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        sync: SyncInterval::Every(Duration::from_secs(90)),
        config: "max_payload: 4096".to_owned(),
        stores: vec![Store::At(folder.path().to_owned())],
        ..setup
    };
    let cluster = setup.start().unwrap();
    let node = &cluster.nodes[0];
    let varz = ask(node, "/varz");
    assert!(!varz.contains("sync_always"), "{varz}");
    assert!(varz.contains(r#""sync_interval": 90000000000"#), "{varz}");
    assert!(greeting(node).contains(r#""max_payload":4096"#));
    assert_eq!(node.store(), folder.path());
    assert!(folder.path().join("jetstream").is_dir());
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let Some(setup) = setup(1) else { return };
    let config = "no_such_option: 1".to_owned();
    let error = Setup { config, ..setup }.start().unwrap_err();
    assert!(error.starts_with("n1 is not healthy: "), "{error}");
    assert!(error.contains("no_such_option"), "{error}");
}

#[test]
fn a_killed_node_comes_back_where_it_was() {
    let Some(mut cluster) = bare_nodes(1) else {
        return;
    };
    let node = &mut cluster.nodes[0];
    let (address, pid) = (node.address(), node.pid().unwrap());
    assert!(node.start().is_err(), "it runs");
    node.kill().unwrap();
    assert!(!is_alive(pid) && !node.is_up());
    assert!(TcpStream::connect(address).is_err(), "the port is only reserved");
    node.kill().unwrap();
    assert!(node.pause().is_err() && node.terminate().is_err(), "it does not run");
    assert_eq!(node.wait_until_healthy().unwrap_err(), "n1 does not run");
    node.start().unwrap();
    node.wait_until_healthy().unwrap();
    assert_eq!(node.address(), address);
    assert!(greeting(node).contains(r#""server_name":"n1""#));
}

#[test]
fn a_node_ends_when_it_is_asked() {
    let Some(mut cluster) = bare_nodes(1) else {
        return;
    };
    let node = &mut cluster.nodes[0];
    let pid = node.pid().unwrap();
    let status = node.terminate().unwrap();
    assert!(status.code().is_some(), "it was not killed: {status}");
    assert!(!is_alive(pid) && node.pid().is_none());
    assert!(node.log().contains("Server Exiting"), "{}", node.log());
}

#[test]
fn a_paused_node_says_nothing_until_it_is_resumed() {
    let Some(mut cluster) = bare_nodes(1) else {
        return;
    };
    let node = &mut cluster.nodes[0];
    node.pause().unwrap();
    assert!(!node.is_up());
    let stat = format!("/proc/{}/stat", node.pid().unwrap());
    let is_stopped = || fs::read_to_string(&stat).unwrap().contains(") T ");
    wait_until("the stop", is_stopped);
    // The kernel still accepts connections for it.
    let mut client = TcpStream::connect(node.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    client.read_exact(&mut [0]).unwrap_err();
    node.resume().unwrap();
    node.wait_until_healthy().unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.read_exact(&mut [0]).unwrap();
    // A paused node can be killed.
    node.pause().unwrap();
    let pid = node.pid().unwrap();
    drop(cluster);
    assert!(!is_alive(pid));
}

#[test]
fn three_nodes_know_each_other() {
    let Some(cluster) = bare_nodes(3) else { return };
    let pids: Vec<_> = cluster.nodes.iter().map(|node| node.pid().unwrap()).collect();
    for node in &cluster.nodes {
        let routes = ask(node, "/routez");
        let others = cluster.nodes.iter().filter(|other| other.name() != node.name());
        for other in others {
            let name = format!(r#""remote_name": "{}""#, other.name());
            assert!(routes.contains(&name), "{routes}");
        }
    }
    drop(cluster);
    assert!(pids.into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn a_node_may_outlive_the_thread_that_started_it() {
    let Some(setup) = setup(1) else { return };
    let mut cluster = thread::spawn(|| setup.start().unwrap()).join().unwrap();
    let pid = cluster.nodes[0].pid().unwrap();
    cluster.nodes[0].wait_until_healthy().unwrap();
    assert!(is_alive(pid));
}

#[test]
fn a_small_disk_is_full_soon() {
    let Some(setup) = setup(1) else { return };
    if !can("a tmpfs", MOUNT) {
        return;
    }
    let stores = vec![Store::Memory(1 << 20)];
    let mut cluster = Setup { stores, ..setup }.start().unwrap();
    let ballast = cluster.nodes[0].store().join("ballast");
    let error = fs::write(&ballast, vec![1; 2 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(fs::metadata(&ballast).unwrap().len() <= 1 << 20);
    let pid = cluster.nodes[0].pid().unwrap();
    cluster.nodes[0].kill().unwrap();
    assert!(!is_alive(pid));
    cluster.nodes[0].start().unwrap();
    cluster.nodes[0].wait_until_healthy().unwrap();
    assert!(!cluster.nodes[0].store().join("ballast").exists(), "a new disk");
}

/// Set in the environment of the process that the test starts and kills.
const VICTIM: &str = "CLUSTER_TEST_VICTIM";

#[test]
fn nodes_die_with_a_process_that_is_killed() {
    if env::var_os(VICTIM).is_some() {
        let cluster = bare_nodes(1).unwrap();
        println!("\npid {}", cluster.nodes[0].pid().unwrap());
        loop {
            thread::park();
        }
    }
    if setup(1).is_none() {
        return;
    }
    if !can("a tie to the parent", "setpriv --pdeathsig KILL true") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "nodes_die_with_a_process_that_is_killed", "--nocapture"])
        .env(VICTIM, "")
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut pids = said.filter_map(|line| line.unwrap().strip_prefix("pid ")?.parse().ok());
    let pid = pids.next().unwrap();
    assert!(is_alive(pid));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("the node's death", || !is_alive(pid));
}
