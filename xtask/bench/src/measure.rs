//! One measurement: starts a system, puts a load on it and stops it.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{self, WARMUP};
use crate::cpus::{self, Side};
use crate::handshakes;
use crate::load::Load;
use crate::processes::{cpu_seconds, disturbance_of};
use crate::sample::{Measurement, Sample};
use crate::server::Server;
use crate::system::{System, Tls};

/// The other load runs so much longer, before and after.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures until a measurement is undisturbed, with at most `retries` repetitions; returns the least
/// disturbed one.
pub(crate) fn calmest(retries: usize, measure: impl Fn() -> Measurement) -> Measurement {
    // An error counts as disturbed: a client that hardly got a CPU may have measured nothing.
    let disturbance = |it: &Measurement| it.as_ref().map_or(1.1, |it| it.disturbance);
    let mut best = measure();
    for _ in 0..retries {
        if best.as_ref().is_ok_and(|it| !it.is_disturbed()) {
            break;
        }
        let next = measure();
        if disturbance(&next) < disturbance(&best) {
            best = next;
        }
    }
    best
}

/// Measures for about `time`. Files are in the directory for temporary files.
pub(crate) fn measure(system: &'static System, load: &Load, time: Duration) -> Measurement {
    let min_seconds = load.min_seconds.max(system.min_seconds);
    let time = time.max(Duration::from_secs(min_seconds));
    if !system.in_memory {
        touch_pages(load.log_bytes(time + time / WARMUP))
            .map_err(|error| format!("cannot write a temporary file: {error}"))?;
    }
    let mut server = Server::start(system)?;
    let before = server.own_memory();
    let idle = connect_idle(&mut server, load.idle)
        .map_err(|error| format!("{} idle clients: {error}", load.idle))?;
    let grown = server.own_memory() - before;

    let nodes = server.pids_of_nodes();
    let (begun, before) = (Instant::now(), cpu_seconds(&nodes));
    let servers = [server.pids(), nodes.clone()].concat();
    let (sample, disturbance) = disturbance_of(&servers, || beside(&server, load, time));
    let elapsed = begun.elapsed().as_secs_f64();
    let used = cpu_seconds(&nodes).zip(before);
    let busy = used.map(|(now, before)| (now - before) / elapsed);
    Ok(Sample {
        disturbance,
        bytes_per_idle_client: (load.idle > 0).then(|| grown / idle.len() as f64),
        nodes_cpus: busy.filter(|_| !nodes.is_empty()),
        ..sample?
    })
}

fn connect_idle(server: &mut Server, idle: usize) -> io::Result<Vec<TcpStream>> {
    let connect = |_| match server.system.tls {
        Tls::None => TcpStream::connect(server.address()),
        _ => handshakes::shake_hands(server).map(|(socket, _)| socket),
    };
    let clients = (0..idle).map(connect).collect::<io::Result<Vec<_>>>()?;
    server.await_connections(idle)?;
    Ok(clients)
}

/// Puts a load on the server, beside the one that it names; an error of that one is one of the measurement.
fn beside(server: &Server, load: &Load, time: Duration) -> Measurement {
    let Some(other) = load.beside() else {
        return put(server, load, time);
    };
    thread::scope(|scope| {
        let other_time = time + time / WARMUP + 2 * SETTLE;
        let other = scope.spawn(move || put(server, other, other_time));
        thread::sleep(SETTLE);
        let sample = put(server, load, time);
        let other = other.join();
        other.map_err(|_| "a thread of the benchmark has panicked")??;
        sample
    })
}

fn put(server: &Server, load: &Load, time: Duration) -> Measurement {
    if !load.is_handshakes {
        return client::measure(server, load, time);
    }
    let made = || handshakes::measure(server, load, time);
    cpus::on(server.side(Side::Client), made).map_err(|error| error.to_string())
}

/// Touches as many pages as a log of `bytes` will take.
///
/// The first touch of a page that the host of a virtual machine has reclaimed costs fifteen times as much
/// as writing it, and would dominate the measurement. Pages that were free a moment ago are not reclaimed.
fn touch_pages(bytes: u64) -> io::Result<()> {
    let block = vec![1; 1 << 20];
    let mut file = tempfile::tempfile()?;
    for _ in 0..bytes.div_ceil(block.len() as u64) {
        file.write_all(&block)?;
    }
    File::set_len(&file, 0)
}
