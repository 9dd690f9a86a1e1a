//! Tests of TLS handshakes: their budget in a turn, and their timeout.

use std::io::Write as _;

use super::*;
use crate::connection::Life;

const CLIENTS: usize = 40;

/// Adds connected clients whose hellos the kernel holds.
fn with_hellos(mut world: World) -> World {
    let before = world.clients.len();
    for _ in 0..CLIENTS {
        world.connect();
    }
    while world.server.clients.len() < world.clients.len() {
        world.turn().unwrap();
    }
    for client in &mut world.clients[before..] {
        client.send(usize::MAX);
    }
    world
}

fn over_tls() -> World {
    World::new(Setting { tls: true, ..Setting::IN_PLACE })
}

/// The number of clients that have received something.
fn answered(world: &World) -> usize {
    let answered = world.clients.iter().filter(|client| {
        let socket = client.socket.as_ref().unwrap();
        socket.peek(&mut [0]).is_ok()
    });
    answered.count()
}

/// One turn makes some of the pending handshakes.
#[test]
fn handshakes_have_a_share_of_a_turn() {
    let mut world = with_hellos(over_tls());
    let (mut before, mut turns) = (0, 0);
    while before < CLIENTS {
        world.turn().unwrap();
        let now = answered(&world);
        assert!(now - before <= HANDSHAKE_READS, "{before} to {now}");
        // There is no other work, so every turn makes some.
        assert!(now > before);
        before = now;
        turns += 1;
    }
    assert!(turns >= CLIENTS / HANDSHAKE_READS);
    assert_eq!(world.server.clients.handshakes(), 0);
}

/// However many handshakes are pending, a connected client is read and answered in the same turn, and
/// before any of them.
#[test]
fn connected_clients_do_not_wait_for_handshakes() {
    let mut world = over_tls();
    world.connect();
    world.clients[0].say(1, "");
    world.run_until_idle().unwrap();
    let mut world = with_hellos(world);
    for n in 1..=3 {
        world.clients[0].say(1, "");
        world.clients[0].send(usize::MAX);
        world.phase().unwrap();
        let due = world.server.clients.handshakes();
        world.phase().unwrap();
        assert_eq!(world.server.commits.staged.messages(), 1);
        assert_eq!(world.server.clients.handshakes(), due);
        assert!(due >= CLIENTS - (n - 1) * HANDSHAKE_READS, "{due} left");
        world.turn().unwrap();
        let reply = world.clients[0].read(usize::MAX);
        assert_eq!(reply, b"ok\n");
        world.hear(0, &reply).unwrap();
    }
    world.run_until_idle().unwrap();
}

/// A PROXY header and a handshake together have ten seconds. Bytes that arrive do not extend the time.
#[test]
fn a_connection_has_ten_seconds_to_open() {
    let mut world = World::new(Setting { tls: true, proxied: true, ..Setting::IN_PLACE });
    let send = |world: &mut World, bytes: &[u8]| {
        world.clients[0].socket.as_mut().unwrap().write_all(bytes).unwrap();
        world.turn().unwrap();
    };
    let wait = |world: &mut World, ms| {
        world.server.clients.pass_time(Duration::from_millis(ms));
        world.server.next_periodic_tasks = Instant::now();
        world.turn().unwrap();
        world.server.clients.iter().all(|(_, client)| client.life() == Life::Open)
    };
    for bytes in [
        &b""[..],
        b"PROXY TCP4 203.0.113.7 192.0.2.2 999 80\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.2 999 80\r\n\x16\x03\x01",
        b"PROXY TCP4 203.0.113.7 192.0.2.2 999 80\r\n\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03",
    ] {
        world.clients.clear();
        while !world.server.clients.is_empty() {
            wait(&mut world, 2000);
        }
        let failed = world.server.stats.clients.turned_away();
        world.connect();
        while world.server.clients.is_empty() {
            world.turn().unwrap();
        }
        assert!(wait(&mut world, 9000));
        send(&mut world, bytes);
        assert!(wait(&mut world, 500));
        if bytes.len() > 50 {
            send(&mut world, b"\x00");
        }
        // The time of the previous check counts, so it is still within its time.
        assert!(wait(&mut world, 600));
        assert!(!wait(&mut world, 1000), "{bytes:?}");
        assert_eq!(world.server.stats.clients.turned_away(), failed + 1);
    }
}

/// Connections that the server has not read yet are not closed.
#[test]
fn unread_input_is_read() {
    let mut world = with_hellos(over_tls());
    world.phase().unwrap();
    world.server.clients.pass_time(Duration::from_secs(11));
    world.server.clients.set_time(Instant::now());
    world.server.clients.check_openings();
    // The second check judges by the time of the first.
    world.server.clients.check_openings();
    world.server.reap();
    let open = world.server.clients.iter();
    let open = open.filter(|(_, client)| client.life() == Life::Open);
    assert_eq!(open.count(), CLIENTS);
    assert!(!world.server.clients.are_leaving(), "nothing is left to check");
}

/// Handshakes that fail in the read in which they begin are counted, too, and a `close_notify` is no
/// success.
#[test]
fn handshakes_that_end_in_their_first_read_are_counted() {
    let hello_and = |more: &[u8]| {
        let mut bytes = vec![22, 3, 1, 0, 4, 1, 0, 0, 0];
        bytes.extend_from_slice(more);
        bytes
    };
    for bytes in [
        hello_and(&[]),
        // An alert: `close_notify`.
        [&[22, 3, 1, 0, 8, 1, 0, 1, 0, 3, 3, 0, 0][..], &[21, 3, 1, 0, 2, 1, 0]].concat(),
    ] {
        let mut world = over_tls();
        world.connect();
        while world.server.clients.is_empty() {
            world.turn().unwrap();
        }
        world.clients[0].socket.as_mut().unwrap().write_all(&bytes).unwrap();
        world.clients[0].socket.as_ref().unwrap().shutdown(std::net::Shutdown::Write).unwrap();
        for _ in 0..3 {
            world.turn().unwrap();
        }
        let counts = world.server.stats.clients;
        assert_eq!((counts.handshakes, counts.handshakes_failed), (0, 1), "{bytes:?}");
    }
}
