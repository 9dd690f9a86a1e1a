//! Real nodes of NATS `JetStream` on loopback, for tests and chores. They are gone when their [`Cluster`]
//! is dropped, and when the process that started them ends in any other way.
//!
//! ```no_run
//! # fn main() -> Result<(), String> {
//! let program = cluster::install(cluster::CURRENT)?; // who cannot have it skips the test
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
//! Every error is a sentence for whoever reads the output of a test or a chore.
//!
//! - `install`: the program, in a pinned version
//! - `setup`: what nodes are to be like, and their configuration files
//! - `node`: one of them, and what can be done to it
//! - `stream`, `messages`: a stream, and what is in it
//! - `ports`: where they listen
//! - [`process`]: children that never outlive this process
//!
//! The program in `bin/cluster` starts all that a line log on several machines consists of.

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

/// How long anything may take that is waited for here: far longer than a busy machine needs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long a node may take to answer before it, or another one, is asked again.
const ANSWER: Duration = Duration::from_secs(1);

/// Nodes that know each other. All are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, called `n1`, `n2` and so on.
    pub nodes: Vec<Node>,
    login: Option<Login>,
    admin: Options,
    /// Their files, if these are nobody else's; dropped after them.
    _folder: Option<TempDir>,
}

impl Cluster {
    /// Where clients find the nodes, running or not: `nats://…,nats://…`.
    pub fn urls(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Node::url).collect();
        urls.join(",")
    }

    /// A stream of this name, which may be there or not.
    pub fn stream<'a>(&'a self, name: &'a str) -> Stream<'a> {
        Stream::new(self, name)
    }

    /// A connection to any node that is up.
    fn client(&self) -> Result<Client, String> {
        let up: Vec<_> = self.nodes.iter().filter(|node| node.is_up()).collect();
        self.client_of(&up)
    }

    /// A connection to the first of these nodes that can be used.
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

    /// Waits until every node says that it is.
    ///
    /// # Errors
    /// A node has ended, or is not healthy when the [`DEADLINE`] is over.
    pub fn wait_until_healthy(&mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(Node::wait_until_healthy)
    }
}
