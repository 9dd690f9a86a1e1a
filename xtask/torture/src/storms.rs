//! Many clients that do the same thing at once, and their effect on a light client.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::SockRef;

use crate::running::{self, Server, folder, folder_in_memory, log};
use fastrand::Rng;

use crate::report::FaultReport;

/// The number of flooders.
const FLOODERS: usize = 50;

/// The light client sends a line at this interval, `LINES` times.
const EVERY: Duration = Duration::from_millis(10);
const LINES: usize = 200;

/// The machine may be busy: the best of up to this many measurements counts. The first good one ends them.
const ATTEMPTS: usize = 6;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Each client sends half a line, then a reset, at a random moment while the server handles the line before.
pub(crate) fn resets(random: &mut Rng) -> Result<FaultReport, String> {
    const RESETS: u64 = 5000;
    let folder = folder()?;
    let options = if random.u64(..2) == 0 { "" } else { "-sync" };
    let mut server = Server::start(folder.path(), options)?;
    for n in 0..RESETS {
        let mut client = TcpStream::connect(server.address).map_err(text)?;
        writeln!(client, "whole {n}").map_err(text)?;
        client.write_all(b"HALF").map_err(text)?;
        let begun = Instant::now();
        let pause = Duration::from_nanos(random.u64(..400_000));
        while begun.elapsed() < pause {}
        let reset = SockRef::from(&client).set_linger(Some(Duration::ZERO));
        reset.map_err(text)?;
    }
    server.wait_for_clients(0)?;
    let (status, _) = server.stop()?;
    let mut report = FaultReport {
        sent: RESETS,
        ..FaultReport::default()
    };
    let (mut whole, mut half) = (0, 0);
    for line in running::open(&log(folder.path()))?.lines() {
        let line = line.map_err(text)?;
        whole += u32::from(line.contains(" recieved: whole "));
        half += u32::from(line.contains("HALF"));
    }
    report.note = format!("{whole} whole lines logged {options}");
    report.expect(status.success(), || format!("ended with {status}"));
    report.expect(half == 0, || format!("{half} half lines logged as whole"));
    Ok(report)
}

/// A thousand clients that end their input together, in the middle of a line. Escaping makes the line
/// four times as long.
pub(crate) fn ends(_: &mut Rng) -> Result<FaultReport, String> {
    const CLIENTS: usize = 1000;
    /// The memory limit of the clients together, and of the server in addition, in KiB.
    const HELD_KIB: u64 = 64 * CLIENTS as u64;
    const OWN_KIB: u64 = 32 << 10;
    let folder = folder()?;
    let server = Server::start(folder.path(), "")?;
    let connect = |_| TcpStream::connect(server.address);
    let clients: Result<Vec<_>, _> = (0..CLIENTS).map(connect).collect();
    let clients = clients.map_err(text)?;
    let line = vec![1; 64 << 10];
    for mut client in &clients {
        client.write_all(&line).map_err(text)?;
    }
    // Stopped, so that the server finds all ends of input in one turn.
    server.signal(Signal::STOP)?;
    for client in &clients {
        client.shutdown(Shutdown::Write).map_err(text)?;
    }
    server.signal(Signal::CONT)?;
    let mut report = FaultReport {
        sent: CLIENTS as u64,
        ..FaultReport::default()
    };
    for mut client in &clients {
        let mut reply = String::new();
        client.read_to_string(&mut reply).map_err(text)?;
        report.acknowledged += u64::from(reply == "ok\n");
    }
    let (acknowledged, peak) = (report.acknowledged, server.peak_kib());
    report.note = format!("{} MiB", peak >> 10);
    report.expect(acknowledged == CLIENTS as u64, || {
        format!("{acknowledged} answered ok")
    });
    report.expect(peak < HELD_KIB + OWN_KIB, || {
        format!("{peak} KiB of memory")
    });
    Ok(report)
}

pub(crate) fn light_beside_flooders(_: &mut Rng) -> Result<FaultReport, String> {
    beside_flooders(b"Thread 3, iteration 1\n", Duration::from_millis(10))
}

pub(crate) fn light_beside_bare_line_ends(_: &mut Rng) -> Result<FaultReport, String> {
    beside_flooders(b"\n", Duration::from_millis(20))
}

/// The latency of a light client under load from flooders that read their replies.
fn beside_flooders(line: &[u8], bound: Duration) -> Result<FaultReport, String> {
    let mut report = FaultReport::default();
    let (mut best, mut half) = (Duration::MAX, Duration::MAX);
    for _ in 0..ATTEMPTS {
        let folder = folder_in_memory()?;
        let server = Server::start(folder.path(), "")?;
        let over = AtomicBool::new(false);
        let measured = thread::scope(|scope| {
            scope.spawn(|| flood(server.address, line, &over));
            let measured = light(server.address);
            over.store(true, Ordering::Relaxed);
            measured
        });
        let times = measured?;
        report.sent += LINES as u64;
        report.acknowledged += LINES as u64;
        let p99 = times[LINES * 99 / 100];
        if p99 < best {
            (best, half) = (p99, times[LINES / 2]);
        }
        if best <= bound {
            break;
        }
    }
    report.note = format!("p99 {best:.1?}, p50 {half:.1?}");
    report.expect(best <= bound, || {
        format!("a light client waits {best:?} (p99)")
    });
    Ok(report)
}

/// Sends a line at an interval; returns the latencies in ascending order.
fn light(address: SocketAddr) -> Result<Vec<Duration>, String> {
    let stream = TcpStream::connect(address).map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).map_err(text)?;
    let (mut reader, mut reply) = (BufReader::new(stream), String::new());
    let mut times = Vec::with_capacity(LINES);
    for _ in 0..LINES {
        thread::sleep(EVERY);
        let sent = Instant::now();
        reader
            .get_mut()
            .write_all(b"now and then\n")
            .map_err(text)?;
        reply.clear();
        reader.read_line(&mut reply).map_err(text)?;
        if reply != "ok\n" {
            return Err(format!("answered {reply:?}"));
        }
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Drives all flooders from this thread until `over`, so that the server has a CPU of its own
/// where there are two.
fn flood(address: SocketAddr, line: &[u8], over: &AtomicBool) {
    let connect = |_| {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    };
    let streams: Vec<_> = (0..FLOODERS).filter_map(connect).collect();
    let block = line.repeat((64 << 10) / line.len());
    let mut replies = vec![0; 64 << 10];
    while !over.load(Ordering::Relaxed) {
        let mut moved = false;
        for mut stream in &streams {
            // After a partial write the next block starts a new line: any text will do.
            moved |= stream.write(&block).is_ok();
            moved |= stream.read(&mut replies).is_ok();
        }
        if !moved {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Clients that read a reply now and then, with a short keepalive: the server drops none of them.
pub(crate) fn slow_readers(_: &mut Rng) -> Result<FaultReport, String> {
    const CLIENTS: usize = 50;
    const WATCHED: Duration = Duration::from_secs(12);
    let folder = folder()?;
    let server = Server::start(folder.path(), "-keepalive 1 -idle-timeout 2")?;
    let lines = b"\n".repeat(64 << 10);
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(server.address).map_err(text)?;
        client.set_nonblocking(true).map_err(text)?;
        let mut quiet = Instant::now();
        // Until all buffers are full of replies.
        while quiet.elapsed() < Duration::from_millis(20) {
            if client.write(&lines).is_ok() {
                quiet = Instant::now();
            }
        }
        clients.push(client);
    }
    let begun = Instant::now();
    let mut cut_off = 0;
    while begun.elapsed() < WATCHED {
        for mut client in &clients {
            match client.read(&mut [0; 3]) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => cut_off += 1,
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    let mut report = FaultReport::default();
    report.expect(cut_off == 0, || {
        "a client that takes replies was dropped".to_owned()
    });
    Ok(report)
}
