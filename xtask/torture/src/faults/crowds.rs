//! Many clients that do the same thing at once, and their effect on a light client.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;
use socket2::SockRef;
use test_support::background::Background;
use test_support::server::Server;

use crate::report::FaultReport;

/// The number of flooders.
const FLOODERS: usize = 50;

/// The light client sends a line at this interval, `LINES` times.
const EVERY: Duration = Duration::from_millis(10);
const LINES: usize = 200;

/// The machine may be busy: the best of up to this many measurements counts. The first good one ends them.
const ATTEMPTS: usize = 6;

/// Each client sends half a line, then a reset, at a random moment while the server handles the line before.
pub(crate) fn resets(random: &mut Rng) -> FaultReport {
    const RESETS: u64 = 5000;
    let options: &[&str] = if random.bool() { &[] } else { &["-sync"] };
    let mut server = Server::start(options);
    for n in 0..RESETS {
        let mut client = TcpStream::connect(server.address()).unwrap();
        writeln!(client, "whole {n}").unwrap();
        client.write_all(b"HALF").unwrap();
        let begun = Instant::now();
        let pause = Duration::from_nanos(random.u64(..400_000));
        while begun.elapsed() < pause {}
        let reset = Some(Duration::ZERO);
        SockRef::from(&client).set_linger(reset).unwrap();
    }
    server.wait_for_clients(0);
    let ended = server.stop();
    let log = ended.log();
    let logged = |text| log.lines().filter(|line| line.contains(text)).count();
    let (whole, half) = (logged(" recieved: whole "), logged("HALF"));
    let mut report = FaultReport { sent: RESETS, ..FaultReport::default() };
    report.remark(&format!("{whole} whole lines logged {}", options.concat()));
    let status = ended.status;
    report.expect(status.success(), format!("ended with {status}"));
    report.expect(half == 0, format!("{half} half lines logged as whole"));
    report
}

/// A thousand clients that end their input together, in the middle of a line. Escaping makes the line
/// four times as long.
pub(crate) fn ends(_: &mut Rng) -> FaultReport {
    const CLIENTS: usize = 1000;
    const LINE: usize = 64 << 10;
    /// The memory limit: the lines, and what the server needs without them.
    const MAX_BYTES: u64 = (CLIENTS * LINE + (32 << 20)) as u64;
    let server = Server::start(&[]);
    let clients = server.connect_all(CLIENTS).unwrap();
    let line = vec![1; LINE];
    for mut client in &clients {
        client.write_all(&line).unwrap();
    }
    // Stopped, so that the server finds all ends of input in one turn.
    server.signal(Signal::STOP);
    for client in &clients {
        client.shutdown(Shutdown::Write).unwrap();
    }
    server.signal(Signal::CONT);
    let mut unanswered = CLIENTS;
    for mut client in &clients {
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        unanswered -= usize::from(reply == "ok\n");
    }
    let peak = server.peak_memory();
    let mut report = FaultReport::acknowledged((CLIENTS - unanswered) as u64);
    report.sent = CLIENTS as u64;
    report.remark(&format!("{} MiB", peak >> 20));
    report.expect(unanswered == 0, format!("{unanswered} without an ok"));
    report.expect(peak < MAX_BYTES, format!("{peak} bytes of memory"));
    report
}

pub(crate) fn flooders(_: &mut Rng) -> FaultReport {
    beside_flooders(b"Thread 3, iteration 1\n", Duration::from_millis(10))
}

pub(crate) fn bare_line_ends(_: &mut Rng) -> FaultReport {
    beside_flooders(b"\n", Duration::from_millis(20))
}

/// The latency of a light client under load from flooders that read their replies.
fn beside_flooders(line: &[u8], bound: Duration) -> FaultReport {
    let (mut best, mut half, mut sent) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..ATTEMPTS {
        let server = start_in_memory();
        let _flooders = Background::flooders(server.address(), FLOODERS, line);
        let times = server.connect().latencies(LINES, EVERY);
        sent += LINES as u64;
        (best, half) = (best, half).min((times[LINES * 99 / 100], times[LINES / 2]));
        if best <= bound {
            break;
        }
    }
    let mut report = FaultReport::acknowledged(sent);
    report.remark(&format!("p99 {best:.1?}, p50 {half:.1?}"));
    let what = format!("a light client waits {best:?} (p99)");
    report.expect(best <= bound, what);
    report
}

/// A server with its log in memory, if there is `/dev/shm`. A disk slower than the flooders would delay every
/// write and hide all other effects.
fn start_in_memory() -> Server {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    Server::start_in(folder.unwrap(), &[])
}

/// Clients that read a reply now and then, with a short keepalive: the server drops none of them.
pub(crate) fn slow_readers(_: &mut Rng) -> FaultReport {
    const CLIENTS: usize = 50;
    const WATCHED: Duration = Duration::from_secs(12);
    let server = Server::start(&["-keepalive", "1", "-idle-timeout", "2"]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &clients {
        // Until all buffers are full of replies.
        client.fill("\n", Duration::from_millis(20));
        client.stream().set_nonblocking(true).unwrap();
    }
    let begun = Instant::now();
    let mut cut_off = 0;
    while begun.elapsed() < WATCHED {
        for client in &clients {
            match client.stream().read(&mut [0; 3]) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => cut_off += 1,
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    let mut report = FaultReport::default();
    report.expect(cut_off == 0, format!("{cut_off} reads of dropped clients"));
    report
}
