//! A running system, for one measurement; dropping it kills its processes.

use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use test_support::ca::TestCa;
use test_support::nodes::{self, Cluster, Node, Setup, json};

use crate::cpus::{self, Side};
use crate::processes::own_memory;
use crate::protocol::STREAM;
use crate::system::{self, Stdout, System, Tls};

/// Timeout for a server to accept connections, or to reach a state.
const PATIENCE: Duration = Duration::from_secs(20);
/// Interval of polling, where there is no event to wait for.
const POLL: Duration = Duration::from_millis(5);

/// The folder with the configuration of the peers.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// A system that accepts connections.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) system: &'static System,
    pub(crate) port: u16,
    /// None if clients talk to the nodes.
    child: Option<Child>,
    /// The server behind it, if it is a proxy.
    backend: Option<Box<Self>>,
    /// The NATS nodes that keep its stream.
    nodes: Option<Cluster>,
    /// Holds its log; deleted after all processes have ended.
    directory: TempDir,
}

impl Server {
    /// Starts a system in an empty directory; errors are for the user.
    pub(crate) fn start(system: &'static System) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start {}: {error}", system.name);
        let directory = TempDir::new().map_err(failed)?;
        if system.tls != Tls::None {
            write_certificates(directory.path()).map_err(failed)?;
        }
        let backend = system.in_front_of.and_then(system::named);
        let backend = backend.map(Self::start).transpose()?;
        let nodes = (system.nodes > 0).then(|| start_nodes(system.nodes));
        let nodes = nodes.transpose()?;
        let leader = nodes.as_ref().map(leader).transpose()?;
        let leader = leader.map(|node| (node.address().port(), node.url()));
        let (port, url) = leader.unwrap_or_default();
        let mut server =
            Self { system, port, child: None, backend: backend.map(Box::new), nodes, directory };
        if !system.is_bare() {
            server.spawn(&url).map_err(failed)?;
        }
        Ok(server)
    }

    /// Starts the program, and waits until it accepts connections.
    fn spawn(&mut self, nats: &str) -> io::Result<()> {
        let system = self.system;
        let files = system.config.iter();
        let texts = files.map(|file| fs::read_to_string(Path::new(PEERS).join(file)));
        let config = texts.collect::<io::Result<String>>()?;
        self.port = free_port()?;
        let backend = self.backend.as_ref().map_or(0, |backend| backend.port);
        let fill = |text: &str| {
            text.replace("{dir}", &self.directory.path().to_string_lossy())
                .replace("{port}", &self.port.to_string())
                .replace("{backend}", &backend.to_string())
                .replace("{nats}", nats)
                .replace("{peers}", PEERS)
        };
        fs::write(self.file("server.conf"), fill(&config))?;
        let mut command = Command::new(system.path()?);
        command
            // Split before the placeholders are filled: the directory may have spaces in its name.
            .args(system.arguments.split_whitespace().map(fill))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if system.stdout != Stdout::Null {
            command.stdout(Stdio::piped());
        }
        let mut child = cpus::on(self.side(Side::Server), || command.spawn())?;
        if system.stdout == Stdout::Read
            && let Some(stdout) = child.stdout.take()
        {
            thread::spawn(|| discard(stdout));
        }
        self.child = Some(child);
        self.wait_until(|server| TcpStream::connect(server.address()).is_ok())
    }

    /// Waits until the server has at least that many open descriptors.
    pub(crate) fn await_connections(&mut self, connections: usize) -> io::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let descriptors = format!("/proc/{pid}/fd");
        self.wait_until(|_| fs::read_dir(&descriptors).is_ok_and(|fds| fds.count() >= connections))
    }

    fn wait_until(&mut self, is_so: impl Fn(&Self) -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
            if let Some(status) = ended.flatten() {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its anonymous memory in bytes.
    pub(crate) fn own_memory(&self) -> f64 {
        self.pid().and_then(own_memory).unwrap_or(0) as f64
    }

    /// The processes whose CPU time counts: the server and its backend, or the nodes if clients talk to
    /// these.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let Some(pid) = self.pid() else {
            return self.pids_of_nodes();
        };
        let backend = self.backend.iter().flat_map(|backend| backend.pids());
        backend.chain([pid]).collect()
    }

    /// The NATS nodes that keep its stream.
    pub(crate) fn pids_of_nodes(&self) -> Vec<u32> {
        let nodes = self.nodes.iter().flat_map(|cluster| &cluster.nodes);
        nodes.filter_map(Node::pid).collect()
    }

    /// The CPUs for it or its client: `side`, or all for a system with NATS nodes.
    pub(crate) fn side(&self, side: Side) -> Side {
        match self.system.nodes {
            0 => side,
            _ => Side::Anywhere,
        }
    }

    /// With these a client connects to it.
    pub(crate) fn tls_options(&self) -> tls::Options {
        let has_certificate = self.system.tls == Tls::ServerAndClient;
        tls::Options {
            ca: (self.system.tls != Tls::None).then(|| self.file("ca.pem")),
            cert: has_certificate.then(|| self.file("client.pem")),
            key: has_certificate.then(|| self.file("client.key")),
            ..tls::Options::default()
        }
    }

    /// The path of a file in its directory.
    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that cannot be killed is left alone.
        if let Some(child) = &mut self.child {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// Nodes with one stream. Each has a replica of it and runs with `sync_interval: always`.
fn start_nodes(count: usize) -> Result<Cluster, String> {
    let mut setup = Setup::of(nodes::install(nodes::CURRENT)?);
    setup.nodes = count;
    let cluster = setup.start()?;
    let full_rejects = json!({ "discard": "new" });
    cluster.stream(STREAM).create(&full_rejects)?;
    Ok(cluster)
}

/// The stream's leader. A client of another node would add a hop, in two runs of three.
fn leader(cluster: &Cluster) -> Result<&Node, String> {
    let leader = cluster.stream(STREAM).leader()?;
    Ok(&cluster.nodes[leader])
}

/// Certificates for server and client, and their CA's: ECDSA, P-256.
fn write_certificates(directory: &Path) -> io::Result<()> {
    let authority = TestCa::new("bench").map_err(io::Error::other)?;
    fs::write(directory.join("ca.pem"), authority.certificate())?;
    let issue = |names: &[&str]| authority.issue(names).map_err(io::Error::other);
    issue(&["client.example"])?.write(directory, "client")?;
    let server = issue(&["localhost", "127.0.0.1"])?;
    server.write(directory, "server")?;
    fs::write(directory.join("both.pem"), server.certificate + &server.key)
}

/// Another process may take the port before the server does: then the measurement fails.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn discard(mut from: impl Read) {
    let mut buffer = vec![0; 1 << 20];
    while from.read(&mut buffer).is_ok_and(|n| n > 0) {}
}
