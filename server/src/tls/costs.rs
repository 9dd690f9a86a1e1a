//! Worst-case costs of handshakes for the event loop: the most expensive ones, fed to sessions in memory.
//!
//! The tests count work. `measured` also takes the CPU time of every read and prints a table.
//! docs/performance.md has its command and its figures.

pub(super) mod certificates;
mod hellos;

use std::io::{self, Read, Write};
use std::sync::Arc;

use net::Socket;
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tempfile::TempDir;

use super::{Acceptor, Session};
use crate::options::Config;
use certificates::Chain;

/// The size of the event loop's buffers.
const BUFFER: usize = 64 << 10;

/// A server for handshakes.
pub(super) struct Server {
    acceptor: Acceptor,
    _folder: TempDir,
}

impl Server {
    /// With this certificate and key, in PEM, and with these CAs and names of clients.
    pub(super) fn new(
        identity: &test_support::ca::Identity,
        client_ca: Option<&str>,
        names: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = identity.write(folder.path(), "server").unwrap();
        let client_ca = client_ca.map(|pem| {
            let path = folder.path().join("ca.pem");
            std::fs::write(&path, pem).unwrap();
            path
        });
        let config = Config {
            tls_cert: Some(files.certificate),
            tls_key: Some(files.key),
            tls_client_ca: client_ca,
            allow_names: names.iter().map(ToString::to_string).collect(),
            ..Config::default()
        };
        Self { acceptor: Acceptor::open(&config).unwrap().unwrap(), _folder: folder }
    }

    /// With a certificate of its own, and without client certificates.
    fn plain() -> Self {
        Self::new(&certificates::server(), None, &[])
    }

    /// With a certificate of its own, and with these CAs of clients.
    pub(super) fn mutual(client_ca: &str) -> Self {
        Self::new(&certificates::server(), Some(client_ca), &[])
    }
}

/// Both directions, in memory.
#[derive(Default)]
struct Wire {
    to_server: Vec<u8>,
    at: usize,
    to_client: Vec<u8>,
    /// How many bytes one read returns at most.
    most: Option<usize>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.to_server[self.at..];
        let n = rest.len().min(buffer.len()).min(self.most.unwrap_or(usize::MAX));
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_client.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Wire {
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The CPU time of one handshake.
#[derive(Clone, Debug)]
pub(super) struct Cost {
    longest_ns: u64,
    total_ns: u64,
    reads: usize,
    /// The error, or `ok`.
    pub(super) outcome: String,
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// A session and its wire.
pub(super) struct Run {
    session: Session,
    wire: Wire,
    input: Vec<u8>,
    scratch: Vec<u8>,
    cost: Cost,
}

impl Run {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            session: server.acceptor.accept(Vec::new(), 0).unwrap(),
            wire: Wire::default(),
            input: vec![0; BUFFER],
            scratch: vec![0; BUFFER],
            cost: Cost { longest_ns: 0, total_ns: 0, reads: 0, outcome: String::new() },
        }
    }

    /// The server reads everything that was received. Returns false if the session has failed.
    fn read(&mut self) -> bool {
        loop {
            let before = cpu_ns();
            let (input, scratch) = (&mut self.input, &mut self.scratch);
            let taken = self.session.read(&mut self.wire, input, scratch);
            let spent_ns = cpu_ns() - before;
            match taken {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => {
                    self.cost.outcome = error.to_string();
                    return false;
                }
                Ok(_) => {
                    self.cost.longest_ns = self.cost.longest_ns.max(spent_ns);
                    self.cost.total_ns += spent_ns;
                    self.cost.reads += 1;
                }
            }
        }
    }

    /// A handshake with rustls as the client, which then sends `after`.
    pub(super) fn with_client(mut self, config: &Arc<ClientConfig>, after: &After) -> Cost {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
        loop {
            while client.wants_write() {
                client.write_tls(&mut self.wire.to_server).unwrap();
            }
            if !self.read() {
                return self.cost;
            }
            if !client.is_handshaking() && self.wire.to_client.is_empty() {
                break;
            }
            let wire = std::mem::take(&mut self.wire.to_client);
            assert!(!wire.is_empty(), "the server has nothing to say");
            let mut unread = wire.as_slice();
            while !unread.is_empty() {
                client.read_tls(&mut unread).unwrap();
                if let Err(error) = client.process_new_packets() {
                    self.cost.outcome = error.to_string();
                    return self.cost;
                }
            }
        }
        self.cost.outcome = "ok".to_owned();
        match after {
            After::Nothing => {}
            After::KeyUpdates(n) => (0..*n).for_each(|_| client.refresh_traffic_keys().unwrap()),
            After::Bytes(n) => {
                for _ in 0..*n {
                    client.writer().write_all(b"x").unwrap();
                    client.write_tls(&mut self.wire.to_server).unwrap();
                }
            }
        }
        while client.wants_write() {
            client.write_tls(&mut self.wire.to_server).unwrap();
        }
        self.read();
        self.cost
    }

    /// Feeds these bytes, at most `most` of them at a time.
    fn with_bytes(mut self, bytes: &[u8], most: Option<usize>) -> Cost {
        self.wire.most = most;
        self.wire.to_server.extend_from_slice(bytes);
        self.read();
        self.cost
    }
}

/// What a client sends after the handshake.
pub(super) enum After {
    Nothing,
    KeyUpdates(usize),
    /// Records of one byte each.
    Bytes(usize),
}

/// Runs a handshake several times and returns the cheapest run, which was disturbed least.
fn cheapest(rounds: usize, handshake: impl Fn() -> Cost) -> Cost {
    let costs = (0..rounds).map(|_| handshake());
    costs.min_by_key(|cost| cost.longest_ns).unwrap()
}

fn present(name: &str, rounds: usize, handshake: impl Fn() -> Cost) {
    let cost = cheapest(rounds, handshake);
    println!(
        "| {name} | {:.2} | {:.2} | {} | {} |",
        cost.longest_ns as f64 / 1e6,
        cost.total_ns as f64 / 1e6,
        cost.reads,
        cost.outcome.chars().take(90).collect::<String>(),
    );
}

/// Prints the cost of each handshake.
#[test]
#[ignore = "measures; takes a while"]
fn measured() {
    println!("| handshake | longest read, ms | all reads, ms | reads | outcome |");
    println!("|---|---|---|---|---|");
    measure_plain();
    measure_hellos();
    measure_chains();
    measure_names();
}

fn measure_plain() {
    let server = Server::plain();
    for (name, config) in certificates::clients() {
        present(&name, 9, || Run::new(&server).with_client(&config, &After::Nothing));
    }
    let (_, config) = certificates::clients().remove(0);
    for n in [30, 2000] {
        present(&format!("then {n} key updates"), 5, || {
            Run::new(&server).with_client(&config, &After::KeyUpdates(n))
        });
    }
    present("then 2,700 records of a byte", 5, || {
        Run::new(&server).with_client(&config, &After::Bytes(2700))
    });
    for (name, identity) in certificates::servers() {
        let server = Server::new(&identity, None, &[]);
        for (version, config) in certificates::clients().into_iter().take(2) {
            present(&format!("{name}, {version}"), 9, || {
                Run::new(&server).with_client(&config, &After::Nothing)
            });
        }
    }
}

fn measure_hellos() {
    let server = Server::plain();
    for (name, hello) in hellos::all() {
        for record in [16 << 10, 64, 1] {
            let wire = hellos::records(&hello, record);
            if record == 1 && hello.len() > 5000 && wire.len() > 400_000 {
                continue;
            }
            present(&format!("{name}, {} bytes, {record} a record", hello.len()), 5, || {
                Run::new(&server).with_bytes(&wire, None)
            });
        }
    }
    let hello = hellos::plain(30_000);
    let wire = hellos::records(&hello, 16 << 10);
    present("30,000 bytes, one a read", 3, || Run::new(&server).with_bytes(&wire, Some(1)));
    let wire = hellos::records(&hellos::plain(5_000), 1);
    present("5,000 bytes, one a record, one a read", 3, || {
        Run::new(&server).with_bytes(&wire, Some(1))
    });
}

fn measure_chains() {
    let worst = Chain::worst();
    let server = Server::mutual(&worst.anchors);
    for (version, config) in worst.clients() {
        present(&format!("the costliest that is accepted, {version}"), 50, || {
            Run::new(&server).with_client(&config, &After::Nothing)
        });
    }
    for (name, chain) in Chain::hostile() {
        let server = Server::mutual(&chain.anchors);
        for (version, config) in chain.clients() {
            present(&format!("{name}, {version}"), 5, || {
                Run::new(&server).with_client(&config, &After::Nothing)
            });
        }
    }
}

fn measure_names() {
    let names: Vec<_> = (0..200).map(|n| format!("allowed-{n}.example")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for (name, chain) in Chain::with_names() {
        for allowed in [&names[..1], &names] {
            let server = Server::new(&certificates::server(), Some(&chain.anchors), allowed);
            let (version, config) = chain.clients().remove(0);
            present(&format!("{name}, -allow-names {}, {version}", allowed.len()), 3, || {
                Run::new(&server).with_client(&config, &After::Nothing)
            });
        }
    }
}
