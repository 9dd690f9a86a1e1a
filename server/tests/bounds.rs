//! Memory limits and timeouts, under many clients at once or one for a long time.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::SockRef;
use test_support::client::Client;
use test_support::records::received_from;
use test_support::server::Server;

const MIB: u64 = 1 << 20;

/// Clients that end their input together, each in the middle of a line. Escaping makes the lines four times
/// as long: 75 MiB in one batch, if the last lines did not count towards its limit.
#[test]
fn last_lines_count() {
    const CLIENTS: usize = 300;
    let server = Server::start(&["-quiet"]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(vec![1; 64 << 10]);
    }
    // Stopped, so that the server finds all ends of input in one turn.
    server.signal(Signal::STOP);
    for client in &clients {
        client.stream().shutdown(Shutdown::Write).unwrap();
    }
    server.signal(Signal::CONT);
    for client in &mut clients {
        assert_eq!(client.reply(), "ok");
    }
    let peak = server.peak_memory();
    assert!(peak < 48 * MIB, "{} MiB", peak / MIB);
}

/// Clients send good and bad messages alternately and read no replies.
#[test]
fn replies_that_alternate_cost_a_count() {
    const CLIENTS: usize = 200;
    let server = Server::start(&["-quiet", "-max-message", "1"]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect_deaf(server.address())).collect();
    let block = b"\nxx\n".repeat(10_000);
    for client in &clients {
        let mut stream = client.stream();
        stream.set_nonblocking(true).unwrap();
        let mut quiet = Instant::now();
        // Until the server stops reading from it.
        while quiet.elapsed() < Duration::from_millis(20) {
            if stream.write(&block).is_ok() {
                quiet = Instant::now();
            }
        }
    }
    let peak = server.peak_memory();
    assert!(peak < 16 * MIB, "{} MiB", peak / MIB);
}

/// Resets arrive between the reading of half a line and the reply to the line before it. Each client gives
/// the server a little more time.
#[test]
fn no_reset_makes_half_a_line_a_message() {
    for options in [&["-quiet"][..], &["-quiet", "-sync"]] {
        let server = Server::start(options);
        let mut peers = Vec::new();
        for n in 0..2000_u32 {
            let mut client = server.connect();
            client.send("whole\nHALF");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(u64::from(n % 100) * 3) {}
            peers.push(client.name());
            SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
        }
        let log = server.stop().log();
        assert_eq!(log.matches("HALF").count(), 0, "{options:?}");
    }
}

/// A last line without a line end counts after a true end of the input. The client either waits for replies
/// or has closed the connection, so that replies cause a reset.
#[test]
fn a_true_end_makes_the_last_line_a_message() {
    let server = Server::start(&["-quiet"]);
    let mut peers = Vec::new();
    for _ in 0..500 {
        let mut client = server.connect();
        client.send("whole\nlast");
        client.stream().shutdown(Shutdown::Write).unwrap();
        peers.push(client.name());
    }
    let log = server.stop().log();
    for peer in peers {
        assert_eq!(received_from(&log, &peer), ["whole", "last"], "{peer}");
    }
}

#[test]
fn a_slow_reader_stays_connected() {
    read_slowly(["-keepalive", "1"]);
}

#[test]
fn a_slow_reader_is_not_idle() {
    read_slowly(["-idle-timeout", "1"]);
}

/// A client reads its replies so slowly that the window stays closed for seconds, and no byte is
/// acknowledged meanwhile. The slowness is the fault to test, so the time has to pass.
fn read_slowly(options: [&str; 2]) {
    let mut server = Server::start(&["-quiet", options[0], options[1]]);
    let client = Client::connect_deaf(server.address());
    let mut sender = client.stream().try_clone().unwrap();
    // More replies than all buffers hold; the thread ends with the connection.
    let sending = thread::spawn(move || sender.write_all(&b"\n".repeat(4_000_000)));
    let mut reader = client.stream();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        reader.read_exact(&mut [0; 30]).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    server.wait_for_clients(1);
    client.stream().shutdown(Shutdown::Both).unwrap();
    // The write may have failed: the connection is closed.
    _ = sending.join().unwrap();
}

#[test]
fn an_idle_client_is_closed_and_reported() {
    let mut server = Server::start(&["-idle-timeout", "1"]);
    let mut client = server.connect();
    let peer = client.name();
    assert_eq!(client.ask("then nothing"), "ok");
    server.wait_for_line(&format!("{peer}: closed, nothing came or went for 1 s"));
    assert_eq!(client.rest(), "");
}

#[test]
fn a_client_idle_within_its_first_line_is_reported_once() {
    let mut server = Server::start(&[]);
    let mut original = server.connect();
    original.send("Thread 0, iteration 1");
    let mut person = server.connect();
    assert_eq!(person.ask("hello"), "ok");
    person.send("thinking about the next li");
    let name = original.name();
    let hint = format!("no line end yet from {name}; the original's client needs -framing none");
    server.wait_for_line(&hint);
    // The hint loses no data.
    original.send(", and more\n");
    assert_eq!(original.reply(), "ok");
    let ended = server.stop();
    assert_eq!(ended.count_said("no line end yet"), 0, "once: {:?}", ended.said);
}

/// At the limit, places become free one at a time. A client that waits at one address is served, whatever the
/// load on the other.
#[test]
fn every_address_is_served_at_the_limit() {
    let server = Server::start(&["-quiet", "-host", "localhost", "-max-clients", "1"]);
    let port = server.address().port();
    let _held = Client::connect(([127, 0, 0, 1], port).into());
    let crowd: Vec<_> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let Ok(mut other) = TcpStream::connect(("::1", port)) else {
        eprintln!("skipped: 'localhost' has one address here");
        return;
    };
    other.set_read_timeout(Some(test_support::wait::DEADLINE)).unwrap();
    let mut refusal = [0; 10];
    other.read_exact(&mut refusal).unwrap();
    assert_eq!(&refusal, b"error too-");
    drop(crowd);
}
