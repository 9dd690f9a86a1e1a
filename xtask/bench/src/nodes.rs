//! NATS nodes for the stream of a server or a publisher, started for one measurement.

use std::path::Path;
use std::time::Instant;

use cluster::{Cluster, Node, Setup, Store, json};

use crate::disturbance::{TICKS, ticks_of};
use crate::system::System;

/// The stream's name.
pub(crate) const STREAM: &str = "LOG";

/// Nodes with one stream. Each has a replica of it and runs with `sync_interval: always`.
#[derive(Debug)]
pub(crate) struct Nodes {
    cluster: Cluster,
}

impl Nodes {
    /// Starts the nodes of `system`, with their files in `folder`; errors are for the user.
    pub(crate) fn of(system: &System, folder: &Path) -> Result<Option<Self>, String> {
        (system.nodes > 0)
            .then(|| Self::start(system.nodes, folder))
            .transpose()
    }

    fn start(count: usize, folder: &Path) -> Result<Self, String> {
        let program = cluster::install(cluster::CURRENT)?;
        let store = |index| Store::At(folder.join(format!("node-{index}")));
        let cluster = Setup {
            nodes: count,
            stores: (1..=count).map(store).collect(),
            ..Setup::of(program)
        };
        let cluster = cluster.start()?;
        let new_refused = json!({ "discard": "new" });
        cluster.stream(STREAM).create(&new_refused)?;
        Ok(Self { cluster })
    }

    /// The URL of the stream's leader. A client of another node would add a hop, in two runs of three.
    pub(crate) fn url(&self) -> Result<String, String> {
        let leader = self.cluster.stream(STREAM).leader()?;
        Ok(self.cluster.nodes[leader].url())
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        let nodes = self.cluster.nodes.iter();
        nodes.filter_map(Node::pid).collect()
    }

    /// Starts to observe them.
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch {
            nodes: self,
            begun: Instant::now(),
            ticks: ticks_of(&self.pids()),
        }
    }
}

/// An observation of the nodes during a measurement.
pub(crate) struct Watch<'a> {
    nodes: &'a Nodes,
    begun: Instant,
    ticks: Option<u64>,
}

/// The result of an observation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The mean length of the stream's messages, including their headers.
    pub(crate) message_bytes: f64,
    /// The mean number of busy CPUs of all nodes together; 0 if `/proc` cannot be read.
    pub(crate) busy_cpus: f64,
}

impl Watch<'_> {
    pub(crate) fn end(self) -> Result<Seen, String> {
        let elapsed = self.begun.elapsed().as_secs_f64();
        let ticks = ticks_of(&self.nodes.pids()).zip(self.ticks);
        let ticks = ticks.map_or(0, |(now, before)| now.saturating_sub(before));
        let state = self.nodes.cluster.stream(STREAM).info()?.state;
        Ok(Seen {
            message_bytes: state.bytes as f64 / state.messages.max(1) as f64,
            busy_cpus: ticks as f64 / TICKS / elapsed,
        })
    }
}
