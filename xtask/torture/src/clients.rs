//! Faults of clients, and their effect on other clients.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::running::{Server, folder};
use fastrand::Rng;

use crate::report::FaultReport;

/// The memory limit of the server in KiB, to which each silent client adds 1 KiB.
const OWN_KIB: u64 = 64 << 10;

/// The number of messages whose replies are timed.
const ASKED: usize = 3_000;

/// While silent and slow clients are connected, the p99 of another client may grow by this factor.
const TIMES_AS_LONG: u32 = 3;

/// A shorter latency always passes: whether two processes share a CPU makes as much of a difference.
const SCHEDULING: Duration = Duration::from_micros(300);

/// The limit for the p99 of another client during a flood.
const BESIDE_A_FLOODER: Duration = Duration::from_millis(10);

/// The machine may be busy: the best of `ATTEMPTS` measurements counts, or of up to `MAX_ATTEMPTS` while
/// the limit is exceeded.
const ATTEMPTS: usize = 5;
const MAX_ATTEMPTS: usize = 30;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Sends one message at a time; returns the 99th percentile of the latency.
fn p99(address: SocketAddr) -> Result<Duration, String> {
    let stream = TcpStream::connect(address).map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .map_err(text)?;
    let (mut reader, mut line) = (BufReader::new(stream), String::new());
    let mut times = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let sent = Instant::now();
        reader.get_mut().write_all(b"asked\n").map_err(text)?;
        line.clear();
        reader.read_line(&mut line).map_err(text)?;
        if line != "ok\n" {
            return Err(format!("answered {line:?}"));
        }
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    Ok(times[ASKED * 99 / 100])
}

/// The best p99 of `ATTEMPTS` measurements, or of more while it exceeds `enough`; and the number of
/// messages, all of them acknowledged.
fn best_p99(address: SocketAddr, enough: Duration) -> Result<(Duration, FaultReport), String> {
    let (mut best, mut report) = (Duration::MAX, FaultReport::default());
    for attempt in 0..MAX_ATTEMPTS {
        if attempt >= ATTEMPTS && best <= enough {
            break;
        }
        best = best.min(p99(address)?);
        report.sent += ASKED as u64;
        report.acknowledged += ASKED as u64;
    }
    Ok((best, report))
}

/// Compares another client's p99 while the others are connected with its p99 `alone`.
fn beside(alone: Duration, address: SocketAddr) -> Result<FaultReport, String> {
    let bound = (TIMES_AS_LONG * alone).max(SCHEDULING);
    let (disturbed, mut report) = best_p99(address, bound)?;
    report.note = format!("p99 alone {alone:.0?}, beside them {disturbed:.0?}");
    report.expect(disturbed <= bound, || {
        format!("another client waits {disturbed:?} instead of {alone:?} (p99)")
    });
    Ok(report)
}

fn check_memory(report: &mut FaultReport, server: &Server, clients: u64) {
    let peak = server.peak_kib();
    let bound = OWN_KIB + clients;
    report.expect(peak < bound, || {
        format!("{peak} KiB of memory, more than {bound}")
    });
    report.remark(format_args!("{} MiB", peak >> 10));
}

pub(crate) fn in_a_row(_: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let mut server = Server::start(folder.path(), "")?;
    for n in 0..10_000 {
        let mut client = TcpStream::connect(server.address).map_err(text)?;
        if n % 2 == 0 {
            client.write_all(b"unfinished").map_err(text)?;
        }
    }
    server.wait_for_clients(0)?;
    let mut report = FaultReport::default();
    check_memory(&mut report, &server, 0);
    Ok(report)
}

pub(crate) fn silent(_: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let mut server = Server::start(folder.path(), "")?;
    let (alone, _) = best_p99(server.address, Duration::MAX)?;
    let connect = |_| TcpStream::connect(server.address);
    let clients: Result<Vec<_>, _> = (0..19_000).map(connect).collect();
    let clients = match clients {
        Ok(clients) => clients,
        Err(error) => return Ok(FaultReport::skipped(&format!("19,000 sockets: {error}"))),
    };
    server.wait_for_clients(19_000)?;
    let mut report = beside(alone, server.address)?;
    check_memory(&mut report, &server, 19_000);
    drop(clients);
    server.wait_for_clients(0)?;
    Ok(report)
}

/// Clients that send a byte now and then, and one that reads a byte now and then.
pub(crate) fn slow(_: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let server = Server::start(folder.path(), "")?;
    let (alone, _) = best_p99(server.address, Duration::MAX)?;
    let connect = |_| TcpStream::connect(server.address);
    let clients: Result<Vec<_>, _> = (0..500).map(connect).collect();
    let clients = clients.map_err(text)?;
    let mut reader = TcpStream::connect(server.address).map_err(text)?;
    reader.write_all(&[b'\n'; 10_000]).map_err(text)?;
    let going_on = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while going_on.load(Ordering::Relaxed) {
                for mut client in &clients {
                    _ = client.write_all(b"x");
                }
                _ = (&reader).read(&mut [0]);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let report = beside(alone, server.address);
        going_on.store(false, Ordering::Relaxed);
        let mut report = report?;
        check_memory(&mut report, &server, 500);
        Ok(report)
    })
}

/// A client that sends at full speed and reads its replies.
pub(crate) fn flooder(_: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let server = Server::start(folder.path(), "")?;
    let flooder = TcpStream::connect(server.address).map_err(text)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let lines = "flood\n".repeat(10_000);
            while (&flooder).write_all(lines.as_bytes()).is_ok() {}
        });
        scope.spawn(|| std::io::copy(&mut &flooder, &mut std::io::sink()));
        let disturbed = best_p99(server.address, BESIDE_A_FLOODER);
        _ = flooder.shutdown(std::net::Shutdown::Both);
        let (disturbed, mut report) = disturbed?;
        report.note = format!("p99 beside it {disturbed:.0?}");
        let within = disturbed < BESIDE_A_FLOODER;
        report.expect(within, || {
            format!("another client waits {disturbed:?} (p99)")
        });
        check_memory(&mut report, &server, 0);
        Ok(report)
    })
}

/// A client that tries to send 100 MB and reads no reply.
pub(crate) fn deaf(_: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let server = Server::start(folder.path(), "")?;
    let (alone, _) = best_p99(server.address, Duration::MAX)?;
    let mut deaf = TcpStream::connect(server.address).map_err(text)?;
    deaf.set_write_timeout(Some(Duration::from_secs(1)))
        .map_err(text)?;
    let lines = "never reads\n".repeat(10_000);
    let mut sent = 0;
    let stopped = loop {
        match deaf.write(lines.as_bytes()) {
            Ok(n) => sent += n,
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
        if sent > 100 << 20 {
            break false;
        }
    };
    let mut report = beside(alone, server.address)?;
    report.expect(stopped, || format!("it is read from: {sent} bytes"));
    report.remark(format_args!("stopped after {} KB", sent / 1000));
    check_memory(&mut report, &server, 0);
    Ok(report)
}

pub(crate) fn endless_line(_: &mut Rng) -> Result<FaultReport, String> {
    let folder = folder()?;
    let server = Server::start(folder.path(), "")?;
    let mut client = TcpStream::connect(server.address).map_err(text)?;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..1000 {
        client.write_all(&piece).map_err(text)?;
    }
    client.write_all(b"\nin step\n").map_err(text)?;
    let mut replies = BufReader::new(client).lines().map_while(Result::ok);
    let (first, second) = (replies.next(), replies.next());
    let mut report = FaultReport {
        sent: 2,
        acknowledged: 1,
        ..FaultReport::default()
    };
    let refused = first.is_some_and(|line| line.starts_with("error too-long: "));
    report.expect(refused && second.as_deref() == Some("ok"), || {
        format!("then {second:?}")
    });
    check_memory(&mut report, &server, 0);
    Ok(report)
}
