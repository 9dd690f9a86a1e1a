//! Real NATS `JetStream` nodes on loopback, for tests and xtask commands. They are killed when their
//! [`Cluster`] is dropped, and when the process that started them ends in any other way.
//!
//! ```no_run
//! # fn main() -> Result<(), String> {
//! let program = cluster::install(cluster::CURRENT)?; // on an error, skip the test
//! let mut cluster = cluster::Setup { nodes: 3, ..cluster::Setup::of(program) }.start()?;
//! cluster.stream("LOG").create(&cluster::json!({"discard": "new"}))?;
//! let leader = cluster.stream("LOG").leader()?;
//! cluster.nodes[leader].kill()?;
//! cluster.nodes[leader].start()?;
//! cluster.wait_until_healthy()?;
//! let messages = cluster.stream("LOG").messages()?;
//! # Ok(())
//! # }
//! ```
//!
//! Errors are sentences for the reader of a test's or a command's output.
//!
//! - `install`: the program, in a pinned version
//! - `setup`: the configuration of nodes
//! - `node`: one node: start, pause, kill
//! - `stream`, `messages`: a stream and its messages
//! - `ports`: the addresses of the nodes
//! - [`process`]: children that never outlive this process
//!
//! The program in `bin/cluster` starts all parts of a line log on several machines.

mod install;
mod messages;
mod node;
mod ports;
pub mod process;
mod setup;
mod stream;

use std::time::Duration;

use nats::address::{Address, Login};
use nats::client::Client;
use nats::options::Options;
use tempfile::TempDir;

pub use install::{CURRENT, OLDER, Release, install};
pub use messages::Message;
pub use node::Node;
pub use ports::Reserved;
pub use serde_json::json;
pub use setup::{Setup, Store, SyncInterval};
pub use stream::Stream;

/// The timeout for everything here: far longer than a busy machine needs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The timeout for one answer of a node; after it, a node is asked again.
const ANSWER: Duration = Duration::from_secs(1);

/// Nodes of one cluster. Dropping it kills them all.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, called `n1`, `n2` and so on.
    pub nodes: Vec<Node>,
    login: Option<Login>,
    admin: Options,
    /// Their files, if the folder is temporary; dropped after the nodes.
    _folder: Option<TempDir>,
}

impl Cluster {
    /// The URLs of all nodes, running or not: `nats://…,nats://…`.
    pub fn urls(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Node::url).collect();
        urls.join(",")
    }

    /// A stream of this name, which need not exist.
    pub fn stream<'a>(&'a self, name: &'a str) -> Stream<'a> {
        Stream::new(self, name)
    }

    /// A connection to any node that is up.
    fn client(&self) -> Result<Client, String> {
        let up: Vec<_> = self.nodes.iter().filter(|node| node.is_up()).collect();
        self.client_of(&up)
    }

    /// A connection to the first of `nodes` that accepts one.
    fn client_of(&self, nodes: &[&Node]) -> Result<Client, String> {
        if nodes.is_empty() {
            return Err("no node is up".to_owned());
        }
        let address = |node: &&Node| {
            let place = node.address();
            let mut address = Address::new(&place.ip().to_string(), place.port());
            address.login.clone_from(&self.login);
            address
        };
        let urls = nodes.iter().map(address).collect();
        let admin = self.admin.clone();
        Client::connect(&Options { urls, ..admin }, "cluster")
    }

    /// Waits until every node reports that it is healthy.
    ///
    /// # Errors
    /// A node has exited, or is not healthy after the [`DEADLINE`].
    pub fn wait_until_healthy(&mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(Node::wait_until_healthy)
    }
}
