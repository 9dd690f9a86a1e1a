//! Log servers that keep their lines in the stream.

use std::net::SocketAddr;

use tempfile::TempDir;
use test_support::nodes::{Cluster, Node};
use test_support::ports::Reserved;

use super::STREAM;
use crate::running::{Server, folder, persist};

/// The server's `-ack-wait`. Some faults take longer, so that connections are also closed without a reply.
const ACK_WAIT: &str = "10s";

/// A server with a fixed id and address, over successive processes.
pub(crate) struct LogServer {
    /// The current process, or the last one after it has exited.
    process: Server,
    port: Reserved,
    script: String,
    folder: TempDir,
    /// The stderr lines of earlier processes.
    said: Vec<String>,
}

impl LogServer {
    /// Starts it; the stream exists already.
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

    /// The address on which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address
    }

    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.process.kill()
    }

    /// Starts it after it was killed, repeatedly until the stream accepts it.
    pub(crate) fn start_again(&mut self) -> Result<(), String> {
        self.said.append(&mut self.process.said);
        self.process = persist(|| Server::start_script(self.folder.path(), &self.script))?;
        Ok(())
    }

    /// The index of the node to which it is connected; waits until there is one.
    pub(crate) fn node(&self, cluster: &Cluster) -> Result<usize, String> {
        let places: Vec<_> = cluster.nodes.iter().map(Node::address).collect();
        persist(|| {
            let node = self.process.connected_to(&places);
            node.ok_or_else(|| "a server is connected to no node".to_owned())
        })
    }

    /// Checks that it is running.
    ///
    /// # Errors
    /// It has exited.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => Err(format!(
                "a server has ended with {status}: {:?}",
                self.process.said.last()
            )),
        }
    }

    /// Stops it; returns all lines of its stderr.
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
