//! The baseline: a bare `mio` loop that answers `ok` to every line and keeps nothing.
//!
//! No server on one thread, with the same system calls and work between them, can be faster. The
//! benchmark measures what a real server adds to it: a log, a limit, an order at the end.

use std::io::{self, Read as _, Write as _};

use memchr::memchr_iter;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
/// The input buffer that all connections share; as large as the server's.
const INPUT: usize = 64 << 10;
/// The number of replies in one write, at most.
const REPLIES: usize = 16 << 10;
const REPLY: &[u8; 3] = b"ok\n";

struct Client {
    socket: TcpStream,
    /// Bytes of replies that the kernel has not taken yet.
    owed: usize,
}

fn main() -> io::Result<()> {
    common::process::raise_descriptor_limit();
    // The server's own listener, so that accepted sockets have the same options.
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let options = net::Options::default();
    let mut listeners = net::listen("127.0.0.1", port.unwrap_or(0), options)?;
    let listener = &mut listeners[0];
    let mut poll = Poll::new()?;
    poll.registry().register(listener, LISTENER, Interest::READABLE)?;
    _ = writeln!(io::stderr(), "listening on {}", listener.local_addr()?);

    let mut events = Events::with_capacity(1024);
    let mut clients = Slab::new();
    let mut input = vec![0; INPUT];
    let replies = REPLY.repeat(REPLIES);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            let Token(key) = event.token();
            if event.token() == LISTENER {
                accept(listener, &poll, &mut clients)?;
            } else if let Some(client) = clients.get_mut(key) {
                let to_the_end = event.is_read_closed() || event.is_error();
                if !client.answer(&mut input, &replies, to_the_end) {
                    clients.remove(key);
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, clients: &mut Slab<Client>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut socket, _)) => {
                let entry = clients.vacant_entry();
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut socket, Token(entry.key()), both)?;
                entry.insert(Client { socket, owed: 0 });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl Client {
    /// Reads all input and answers it; false when the connection is over.
    fn answer(&mut self, input: &mut [u8], replies: &[u8], to_the_end: bool) -> bool {
        loop {
            let n = match self.socket.read(input) {
                // After the end of the input, replies may still be owed.
                Ok(0) => return self.flush(replies) && self.owed > 0,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return false,
            };
            self.owed += memchr_iter(b'\n', &input[..n]).count() * REPLY.len();
            if !self.flush(replies) {
                return false;
            }
            if n < input.len() && !(to_the_end && n > 0) {
                return true;
            }
        }
    }

    /// Writes the owed replies; false when the connection is over.
    fn flush(&mut self, replies: &[u8]) -> bool {
        while self.owed > 0 {
            // A short write may have ended inside a reply: continue from there.
            let start = (REPLY.len() - self.owed % REPLY.len()) % REPLY.len();
            let end = replies.len().min(start + self.owed);
            match self.socket.write(&replies[start..end]) {
                Ok(n) => self.owed -= n,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }
}
