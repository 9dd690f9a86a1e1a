//! The cost of TLS outside the messages: handshakes, memory of idle clients, and latency of other
//! clients during handshakes.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use tls::{Connector, Session};

use crate::cpus::{self, Side};
use crate::measure;
use crate::running::Running;
use crate::system::{SECURE, System};

/// The number of clients that send nothing after their handshake.
const IDLE: usize = 10_000;

/// Handshakes per second during the latency measurement.
const BESIDE: u32 = 200;

/// The result of one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Secure {
    /// Whether clients present certificates.
    pub(crate) with_certificate: bool,
    /// Full handshakes per second of the server's CPU time.
    pub(crate) handshakes_per_s: f64,
    /// The server's anonymous memory in bytes per idle client, if it was measured.
    pub(crate) bytes_per_idle_client: Option<f64>,
    /// p99 of the latency of a client during 200 handshakes per second, in nanoseconds.
    pub(crate) p99_ns: u64,
}

/// Takes about `time` for each figure; measures memory if `with_idle`. Errors are for the user.
pub(crate) fn measure(
    with_certificate: bool,
    with_idle: bool,
    time: Duration,
    root: &Path,
) -> Result<Secure, String> {
    let system = &SECURE[usize::from(with_certificate)];
    let server = Running::start(system, root)?;
    let options = tls::Options {
        ca: Some(server.file("ca.pem")),
        cert: with_certificate.then(|| server.file("client.pem")),
        key: with_certificate.then(|| server.file("client.key")),
        ..tls::Options::default()
    };
    let failed = |error: io::Error| format!("{}: {error}", system.name);
    let handshakes_per_s = handshakes(&server, &options, time).map_err(failed)?;
    let idle = with_idle.then(|| idle(&server, &options)).transpose();
    let p99_ns = talk(&server, system, &options, time)?;
    Ok(Secure {
        with_certificate,
        handshakes_per_s,
        bytes_per_idle_client: idle.map_err(failed)?,
        p99_ns,
    })
}

/// A full handshake: a new connector has no session to resume.
fn shake_hands(server: &Running, options: &tls::Options) -> io::Result<(TcpStream, Session)> {
    let connector = Connector::open(options).map_err(io::Error::other)?;
    let connector = connector.ok_or(io::ErrorKind::Unsupported)?;
    let session = connector.begin("localhost");
    let mut session = session.map_err(io::Error::other)?;
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
    session.handshake(&mut socket)?;
    Ok((socket, session))
}

fn handshakes(server: &Running, options: &tls::Options, time: Duration) -> io::Result<f64> {
    let cpu = || server.cpu_ns().ok_or(io::ErrorKind::Unsupported);
    cpus::on(Side::Client, || {
        shake_hands(server, options)?;
        let (begun, before, mut made) = (Instant::now(), cpu()?, 0_u32);
        while begun.elapsed() < time {
            shake_hands(server, options)?;
            made += 1;
        }
        Ok(f64::from(made) * 1e9 / (cpu()? - before) as f64)
    })
}

fn idle(server: &Running, options: &tls::Options) -> io::Result<f64> {
    let before = server.own_memory().ok_or(io::ErrorKind::Unsupported)?;
    let clients = (0..IDLE).map(|_| shake_hands(server, options).map(|(socket, _)| socket));
    let clients = clients.collect::<io::Result<Vec<_>>>()?;
    let after = server.own_memory().ok_or(io::ErrorKind::Unsupported)?;
    Ok(after.saturating_sub(before) as f64 / clients.len() as f64)
}

/// p99 of a client at 1,000 messages a second, during handshakes.
fn talk(
    server: &Running,
    system: &System,
    options: &tls::Options,
    time: Duration,
) -> Result<u64, String> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| -> io::Result<()> {
            let begun = Instant::now();
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                shake_hands(server, options)?;
                let due = begun + Duration::from_secs(1) / BESIDE * n;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            Ok(())
        });
        let p99 =
            measure::p99_of_a_talker(server, system, options, time.max(Duration::from_secs(1)));
        is_over.store(true, Ordering::Relaxed);
        match beside.join() {
            Ok(Ok(())) => p99,
            Ok(Err(error)) => Err(format!("{}: {error}", system.name)),
            Err(_) => Err("a thread of the benchmark has panicked".to_owned()),
        }
    })
}
