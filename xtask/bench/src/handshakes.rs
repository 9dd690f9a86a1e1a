//! Full TLS handshakes, which `client load` does not make: it resumes sessions.

use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tls::{Connector, Session};

use crate::load::Load;
use crate::processes::cpu_seconds;
use crate::sample::Sample;
use crate::server::Server;

/// A new connector has no session to resume.
pub(crate) fn shake_hands(server: &Server) -> io::Result<(TcpStream, Session)> {
    let connector = Connector::open(&server.tls_options()).map_err(io::Error::other)?;
    let connector = connector.ok_or(io::ErrorKind::Unsupported)?;
    let mut session = connector.begin("localhost").map_err(io::Error::other)?;
    let mut socket = TcpStream::connect(server.address())?;
    session.handshake(&mut socket)?;
    Ok((socket, session))
}

/// Makes handshakes for `time`, one after the other, at the rate of the load if it has one.
pub(crate) fn measure(server: &Server, load: &Load, time: Duration) -> io::Result<Sample> {
    let used = || cpu_seconds(&server.pids()).ok_or(io::ErrorKind::Unsupported);
    shake_hands(server)?;
    let (begun, before) = (Instant::now(), used()?);
    let mut took = Vec::new();
    while begun.elapsed() < time || took.is_empty() {
        let started = Instant::now();
        shake_hands(server)?;
        took.push(started.elapsed().as_nanos() as f64);
        if let Some(rate) = load.rate {
            let due = begun + Duration::from_secs(1) / rate * took.len() as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), used()? - before);
    took.sort_unstable_by(f64::total_cmp);
    let at = |per_mille| took[took.len() * per_mille / 1000];
    Ok(Sample {
        seconds,
        messages: took.len() as f64,
        p50: at(500),
        p99: at(990),
        p99_9: at(999),
        cpu: Some(cpu),
        ..Sample::default()
    })
}
