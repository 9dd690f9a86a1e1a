//! Real NATS `JetStream` nodes on loopback. They are killed when their [`Cluster`] is dropped, and when the
//! process that started them ends in any other way.
//!
//! ```no_run
//! # use test_support::nodes::{self, json};
//! # fn main() -> Result<(), String> {
//! let program = nodes::install(nodes::CURRENT)?; // on an error, skip the test
//! let mut cluster = nodes::Setup { nodes: 3, ..nodes::Setup::of(program) }.start()?;
//! cluster.stream("LOG").create(&json!({"discard": "new"}))?;
//! let leader = cluster.stream("LOG").leader()?;
//! cluster.nodes[leader].kill()?;
//! cluster.nodes[leader].start()?;
//! cluster.wait_until_healthy()?;
//! let messages = cluster.stream("LOG").messages()?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here panics: errors are sentences for the reader of a test's or a command's output.
//!
//! From the bottom up:
//!
//! - `install`: the program, in a pinned version
//! - `api`: requests to `JetStream`
//! - `store`, `node`: one node: start, pause, kill
//! - `cluster`, `setup`: several nodes, and their configuration
//! - `stream`, `messages`: a stream and its messages

mod api;
mod cluster;
mod install;
mod messages;
mod node;
mod setup;
mod store;
mod stream;

pub use cluster::Cluster;
pub use install::{CURRENT, OLDER, Release, install};
pub use messages::Message;
pub use node::Node;
pub use serde_json::json;
pub use setup::Setup;
pub use store::{Store, SyncInterval};
pub use stream::Stream;
