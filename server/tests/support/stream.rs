//! Servers whose log is a stream, on real NATS nodes.

use std::io::Cursor;
use std::thread;

use cluster::{CURRENT, Cluster, Message, Release, Setup, json};

use super::numbered::{Account, Verification, verify};
use super::{Server, binary};

/// A cluster configuration; none if the program is not available, which prints that the test is skipped.
pub fn setup(nodes: usize) -> Option<Setup> {
    setup_of(CURRENT, nodes)
}

/// The same with another release.
pub fn setup_of(release: Release, nodes: usize) -> Option<Setup> {
    match cluster::install(release) {
        Ok(program) => Some(Setup {
            nodes,
            ..Setup::of(program)
        }),
        Err(why) => {
            let name = thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("skipped {name}: {why}");
            None
        }
    }
}

/// Nodes with a stream LOG that rejects new messages when it is full.
pub fn nodes(nodes: usize) -> Option<Cluster> {
    setup(nodes).map(start)
}

/// Starts the nodes and creates that stream.
pub fn start(setup: Setup) -> Cluster {
    let cluster = setup.start().unwrap();
    cluster
        .stream("LOG")
        .create(&json!({"discard": "new"}))
        .unwrap();
    cluster
}

/// A server whose log is the stream LOG, with the ID `me`.
pub fn serve(cluster: &Cluster, options: &[&str]) -> Server {
    serve_as("me", cluster, options)
}

/// The same with another ID.
pub fn serve_as(id: &str, cluster: &Cluster, options: &[&str]) -> Server {
    let urls = cluster.urls();
    let mut all = vec!["-stream", "LOG", "-nats", &urls, "-id", id];
    all.extend(options);
    Server::start(&all)
}

/// The last line on stderr of a server that fails to start.
pub fn refused(options: &[&str]) -> String {
    let mut command = binary();
    command.args(["-quiet", "-port", "0"]).args(options);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

/// The messages of the stream LOG.
pub fn messages(cluster: &Cluster) -> Vec<Message> {
    cluster.stream("LOG").messages().unwrap()
}

/// All payloads, concatenated: the log.
pub fn log(cluster: &Cluster) -> String {
    let messages = messages(cluster);
    let payloads = messages.iter().map(|message| message.payload.as_slice());
    String::from_utf8(payloads.collect::<Vec<_>>().concat()).unwrap()
}

/// Checks the messages of a load against the stream.
pub fn judge(cluster: &Cluster, accounts: &[Account]) -> Verification {
    let verification = verify(accounts, Cursor::new(log(cluster))).unwrap();
    assert!(verification.is_good(), "{verification:?}");
    assert_eq!(verification.torn, 0, "{verification:?}");
    verification
}
