//! Servers that keep their lines in the stream.

use std::net::SocketAddr;

use cluster::{Cluster, Node, Reserved};
use tempfile::TempDir;

use super::STREAM;
use crate::running::{Server, folder, persist};

/// How long lines may wait for the stream: less than some of what is done to it takes, so that clients
/// are closed without a reply, too.
const ACK_WAIT: &str = "10s";

/// A server that has an id and an address, whichever of its processes it is.
pub(crate) struct LogServer {
    /// The present one, or what is left of the last.
    process: Server,
    port: Reserved,
    script: String,
    folder: TempDir,
    /// What the earlier ones said on standard error.
    said: Vec<String>,
}

impl LogServer {
    /// Starts it before a cluster whose stream is there.
    pub(crate) fn start(cluster: &Cluster, id: &str) -> Result<Self, String> {
        let port = Reserved::new().map_err(|error| format!("cannot reserve a port: {error}"))?;
        let number = port.address.port();
        let script = format!(
            "exec $SERVER -port {number} -quiet -stream {STREAM} -id {id} -ack-wait {ACK_WAIT} -nats {}",
            cluster.urls()
        );
        let folder = folder()?;
        let process = Server::start_script(folder.path(), &script)?;
        Ok(Self {
            process,
            port,
            script,
            folder,
            said: Vec::new(),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address
    }

    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.process.kill()
    }

    /// Starts it after it was killed: as often as it takes until the stream answers it.
    pub(crate) fn start_again(&mut self) -> Result<(), String> {
        self.said.append(&mut self.process.said);
        self.process = persist(|| Server::start_script(self.folder.path(), &self.script))?;
        Ok(())
    }

    /// Which node it is connected to, after waiting until it is.
    pub(crate) fn node(&self, cluster: &Cluster) -> Result<usize, String> {
        let places: Vec<_> = cluster.nodes.iter().map(Node::address).collect();
        persist(|| {
            let node = self.process.connected_to(&places);
            node.ok_or_else(|| "a server is connected to no node".to_owned())
        })
    }

    /// Whether it is there as it should be.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => Err(format!(
                "a server has ended with {status}: {:?}",
                self.process.said.last()
            )),
        }
    }

    /// Has it stop; returns all that it has said on standard error.
    pub(crate) fn stop(mut self) -> Result<Vec<String>, String> {
        let (status, _) = self.process.stop()?;
        self.said.append(&mut self.process.said);
        if status.success() {
            Ok(self.said)
        } else {
            Err(format!(
                "a server ends with {status}: {:?}",
                self.said.last()
            ))
        }
    }
}
