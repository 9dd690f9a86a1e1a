//! Servers whose log is a stream, on real NATS nodes.

use std::io::Cursor;

use crate::nodes::{self, CURRENT, Cluster, Message, Node, Release, Setup, json};
use crate::numbered::{Account, Verification, verify};
use crate::programs;
use crate::server::Server;
use crate::wait::wait_until;

/// The stream of all tests.
pub const STREAM: &str = "LOG";

/// A cluster configuration; none if the program is not available, which prints that the test is skipped.
pub fn setup(nodes: usize) -> Option<Setup> {
    setup_of(CURRENT, nodes)
}

/// The same with another release.
pub fn setup_of(release: Release, nodes: usize) -> Option<Setup> {
    match nodes::install(release) {
        Ok(program) => Some(Setup { nodes, ..Setup::of(program) }),
        Err(why) => {
            programs::skip(&why);
            None
        }
    }
}

/// Nodes without a stream.
pub fn bare_nodes(nodes: usize) -> Option<Cluster> {
    setup(nodes).map(|setup| setup.start().unwrap())
}

/// Nodes with a stream LOG that rejects new messages when it is full.
pub fn nodes(nodes: usize) -> Option<Cluster> {
    setup(nodes).map(start)
}

/// Starts the nodes and creates that stream.
pub fn start(setup: Setup) -> Cluster {
    let cluster = setup.start().unwrap();
    create(&cluster);
    cluster
}

/// Creates that stream.
pub fn create(cluster: &Cluster) {
    let stream = cluster.stream(STREAM);
    stream.create(&json!({"discard": "new"})).unwrap();
}

/// A server whose log is the stream LOG, with the ID `me`.
pub fn serve(cluster: &Cluster, options: &[&str]) -> Server {
    serve_as("me", cluster, options)
}

/// The same with another ID.
pub fn serve_as(id: &str, cluster: &Cluster, options: &[&str]) -> Server {
    Server::start(&[&log_in(id, &cluster.urls())[..], options].concat())
}

/// The same for a server that can be started again.
pub fn serve_fixed(id: &str, cluster: &Cluster, options: &[&str]) -> Server {
    Server::start_fixed(&[&log_in(id, &cluster.urls())[..], options].concat())
}

fn log_in<'a>(id: &'a str, urls: &'a str) -> [&'a str; 6] {
    ["-stream", STREAM, "-nats", urls, "-id", id]
}

/// The index of the node to which a server is connected; waits until there is one.
pub fn connected_node(cluster: &Cluster, server: &Server) -> usize {
    let nodes: Vec<_> = cluster.nodes.iter().map(Node::address).collect();
    wait_until("the node that is used", || {
        let used = server.remote_addresses();
        nodes.iter().position(|node| used.contains(node))
    })
}

/// The last line on stderr of a server that fails to start.
pub fn refused(options: &[&str]) -> String {
    let mut command = programs::server();
    command.args(["-quiet", "-port", "0"]).args(options);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

/// The messages of the stream LOG.
pub fn messages(cluster: &Cluster) -> Vec<Message> {
    cluster.stream(STREAM).messages().unwrap()
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
