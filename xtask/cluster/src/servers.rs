//! A log server that keeps its lines in the stream.

use std::net::SocketAddr;

use rustix::process::Signal;
use test_support::children;
use test_support::nodes::Cluster;
use test_support::ports::Reserved;
use test_support::programs;

use crate::files::Folder;
use crate::nodes::STREAM;
use crate::process::Process;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: &'static str,
    pub(crate) process: Process,
    clients: Reserved,
    metrics: Reserved,
}

impl Server {
    /// Starts a server, and waits until it listens.
    pub(crate) fn start(
        id: &'static str,
        nodes: &Cluster,
        folder: &Folder,
    ) -> Result<Self, String> {
        let reserve = || Reserved::new().map_err(|error| format!("no port for {id}: {error}"));
        let (clients, metrics) = (reserve()?, reserve()?);
        let program = programs::path("server");
        let port = clients.address.port().to_string();
        let urls = nodes.urls().replace("nats://", "nats://line-log:line-log@");
        let metrics_at = metrics.address.to_string();
        let words = [
            &program.to_string_lossy(),
            "-quiet",
            "-port",
            &port,
            "-stream",
            STREAM,
            "-nats",
            &urls,
            "-id",
            id,
            "-metrics",
            &metrics_at,
            "-proxy-from",
            "127.0.0.1",
        ];
        let script = folder.write_script(&format!("start-{id}"), folder.path(), &words)?;
        let mut command = children::tied("sh");
        command.arg(script);
        let process = Process::start(id, command)?;
        process.wait_for("listening on ")?;
        Ok(Self { id, process, clients, metrics })
    }

    /// The address on which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.clients.address
    }

    /// The address of its metrics.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics.address
    }

    /// Stops it gracefully; another exit status than 0 is an error.
    pub(crate) fn stop(self) -> Result<(), String> {
        let status = self.process.end(Signal::TERM)?;
        if status.success() {
            return Ok(());
        }
        Err(format!("server {} ended badly: {status}", self.id))
    }
}
