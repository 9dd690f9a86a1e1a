//! A client that misbehaves, and its effect on another one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use test_support::background::Background;
use test_support::server::Server;

use crate::latency::{best_p99, compare, p99_alone};
use crate::report::FaultReport;

/// The limit for the p99 of another client during a flood.
const BESIDE_A_FLOODER: Duration = Duration::from_millis(10);

/// The memory limit of the server in bytes, and what each silent client adds to it.
const OWN_BYTES: u64 = 64 << 20;
const BYTES_PER_CLIENT: u64 = 1 << 10;

/// Checks the peak memory of a server that has served this many silent clients.
fn check_memory(mut report: FaultReport, server: &Server, clients: u64) -> FaultReport {
    let peak = server.peak_memory();
    let is_small = peak < OWN_BYTES + clients * BYTES_PER_CLIENT;
    report.expect(is_small, format!("{peak} bytes of memory"));
    report.remark(&format!("{} MiB", peak >> 20));
    report
}

pub(crate) fn in_a_row(_: &mut Rng) -> FaultReport {
    let mut server = Server::start(&[]);
    for n in 0..10_000 {
        let mut client = TcpStream::connect(server.address()).unwrap();
        if n % 2 == 0 {
            client.write_all(b"unfinished").unwrap();
        }
    }
    server.wait_for_clients(0);
    check_memory(FaultReport::default(), &server, 0)
}

pub(crate) fn silent(_: &mut Rng) -> FaultReport {
    const CLIENTS: usize = 19_000;
    let mut server = Server::start(&[]);
    let alone = p99_alone(&server);
    let clients = match server.connect_all(CLIENTS) {
        Ok(clients) => clients,
        Err(error) => return FaultReport::skipped(&format!("{CLIENTS} sockets: {error}")),
    };
    server.wait_for_clients(CLIENTS);
    let report = check_memory(compare(alone, &server), &server, CLIENTS as u64);
    drop(clients);
    server.wait_for_clients(0);
    report
}

/// Clients that send a byte now and then, and one that reads a byte now and then.
pub(crate) fn slow(_: &mut Rng) -> FaultReport {
    const CLIENTS: usize = 500;
    let server = Server::start(&[]);
    let alone = p99_alone(&server);
    let clients = server.connect_all(CLIENTS).unwrap();
    let mut reader = TcpStream::connect(server.address()).unwrap();
    reader.write_all(&[b'\n'; 10_000]).unwrap();
    let _slow = Background::repeat(move || {
        for mut client in &clients {
            _ = client.write_all(b"x");
        }
        _ = reader.read(&mut [0]);
        thread::sleep(Duration::from_millis(100));
    });
    check_memory(compare(alone, &server), &server, CLIENTS as u64)
}

/// A client that sends at full speed and reads its replies.
pub(crate) fn flooder(_: &mut Rng) -> FaultReport {
    let server = Server::start(&[]);
    let _flooder = Background::flooders(server.address(), 1, b"flood\n");
    let (p99, mut report) = best_p99(&server, BESIDE_A_FLOODER);
    report.remark(&format!("p99 beside it {p99:.0?}"));
    let what = format!("another client waits {p99:?} (p99)");
    report.expect(p99 < BESIDE_A_FLOODER, what);
    check_memory(report, &server, 0)
}

/// A client that sends until it is stopped, and reads no reply.
pub(crate) fn deaf(_: &mut Rng) -> FaultReport {
    const LINE: &str = "never reads\n";
    let server = Server::start(&[]);
    let alone = p99_alone(&server);
    let deaf = server.connect();
    let sent = LINE.len() * deaf.fill(LINE, Duration::from_secs(1));
    let mut report = compare(alone, &server);
    report.remark(&format!("stopped after {} KB", sent / 1000));
    check_memory(report, &server, 0)
}

pub(crate) fn endless_line(_: &mut Rng) -> FaultReport {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let part = vec![b'x'; 1 << 20];
    for _ in 0..1000 {
        client.send(&part);
    }
    client.send("\nin step\n");
    let (first, second) = (client.reply(), client.reply());
    let mut report = FaultReport::acknowledged(1);
    report.sent = 2;
    let refused = first.starts_with("error too-long: ");
    report.expect(refused && second == "ok", format!("then {second:?}"));
    check_memory(report, &server, 0)
}
