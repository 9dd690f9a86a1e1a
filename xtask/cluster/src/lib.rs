//! Real nodes of NATS `JetStream` on loopback, for tests and chores. They are gone when their [`Cluster`]
//! is dropped, and when the process that started them ends in any other way.
//!
//! ```no_run
//! # fn main() -> Result<(), String> {
//! let program = cluster::install(cluster::CURRENT)?; // who cannot have it skips the test
//! let mut cluster = cluster::Setup { nodes: 3, ..cluster::Setup::of(program) }.start()?;
//! cluster.nodes[1].kill()?;
//! cluster.nodes[1].start()?;
//! cluster.wait_until_healthy()?;
//! # Ok(())
//! # }
//! ```
//!
//! Every error is a sentence for whoever reads the output of a test or a chore.
//!
//! - `install`: the program, in a pinned version
//! - `setup`: what nodes are to be like, and their configuration files
//! - `node`: one of them, and what can be done to it
//! - `ports`: where they listen
//! - `process`: children that never outlive this process

#[cfg(not(unix))]
compile_error!("nodes are stopped and killed by signals");

mod install;
mod node;
mod ports;
mod process;
mod setup;

use std::time::Duration;

use tempfile::TempDir;

pub use install::{CURRENT, OLDER, Release, install};
pub use node::Node;
pub use setup::{Setup, Store, SyncInterval};

/// How long anything may take that is waited for here: far longer than a busy machine needs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Nodes that know each other. All are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, called `n1`, `n2` and so on.
    pub nodes: Vec<Node>,
    /// Their files; dropped after them.
    _folder: TempDir,
}

impl Cluster {
    /// Where clients find the nodes, running or not: `nats://…,nats://…`.
    pub fn urls(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Node::url).collect();
        urls.join(",")
    }

    /// Waits until every node says that it is.
    ///
    /// # Errors
    /// A node has ended, or is not healthy when the [`DEADLINE`] is over.
    pub fn wait_until_healthy(&mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(Node::wait_until_healthy)
    }
}
