//! Nodes that form a cluster.

use nats::address::{Address, Login};
use nats::client::Client;
use nats::options::Options;
use tempfile::TempDir;

use super::node::Node;

/// Nodes of one cluster. Dropping it kills them all.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, called `n1`, `n2` and so on.
    pub nodes: Vec<Node>,
    pub(super) login: Option<Login>,
    pub(super) admin: Options,
    /// Their files, if the folder is temporary; dropped after the nodes.
    pub(super) _folder: Option<TempDir>,
}

impl Cluster {
    /// The URLs of all nodes, running or not: `nats://…,nats://…`.
    pub fn urls(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Node::url).collect();
        urls.join(",")
    }

    /// A connection to any node that is up.
    pub(super) fn client(&self) -> Result<Client, String> {
        let up: Vec<_> = self.nodes.iter().filter(|node| node.is_up()).collect();
        self.client_of(&up)
    }

    /// A connection to the first of `nodes` that accepts one.
    pub(super) fn client_of(&self, nodes: &[&Node]) -> Result<Client, String> {
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
    /// A node has exited, or is not healthy after the [`DEADLINE`](crate::wait::DEADLINE).
    pub fn wait_until_healthy(&mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(Node::wait_until_healthy)
    }
}
