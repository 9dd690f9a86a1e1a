//! The listening sockets: accept new connections, and go on after errors of single ones.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;

use common::rate_limit::RateLimit;

use crate::listen::canonical;

/// How long to wait for descriptors or memory, unless a connection is closed earlier.
pub const PAUSE: Duration = Duration::from_millis(500);

/// The listening sockets of all addresses.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<Listener>,
    /// What connects to them, for messages.
    clients: &'static str,
    /// The socket that is tried first. It moves on with each connection, so that clients at one address
    /// cannot delay those at another.
    first: usize,
    /// After descriptors or memory ran out: no attempt before this time.
    paused_until: Option<Instant>,
    warnings: RateLimit,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// There may be connections in the backlog. The poll reports readiness only once, so it is kept here.
    ready: bool,
}

impl Listeners {
    /// Sockets made by [`listen`](crate::listen()).
    pub fn new(sockets: Vec<TcpListener>, clients: &'static str) -> Self {
        let sockets = sockets.into_iter().map(|socket| Listener { socket, ready: false });
        Self {
            sockets: sockets.collect(),
            clients,
            first: 0,
            paused_until: None,
            warnings: RateLimit::default(),
        }
    }

    /// The addresses, all on one port.
    pub fn addresses(&self) -> impl Iterator<Item = io::Result<SocketAddr>> {
        self.sockets.iter().map(|listener| listener.socket.local_addr())
    }

    /// The number of sockets.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether all are closed.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Registers the socket at `index` with `token(index)`.
    pub fn register(
        &mut self,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<()> {
        for (index, listener) in self.sockets.iter_mut().enumerate() {
            registry.register(&mut listener.socket, token(index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Records that the socket at `index` has connections in its backlog.
    pub fn on_event(&mut self, index: usize) {
        if let Some(listener) = self.sockets.get_mut(index) {
            listener.ready = true;
        }
    }

    /// Makes every socket be tried, with or without an event.
    pub fn mark_all_ready(&mut self) {
        for listener in &mut self.sockets {
            listener.ready = true;
        }
    }

    /// There may be connections in a backlog, and accepting is not paused.
    pub fn is_ready(&self) -> bool {
        self.paused_until.is_none() && self.sockets.iter().any(|listener| listener.ready)
    }

    /// When to try again after descriptors or memory ran out.
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// A connection was closed, so a descriptor may be free again.
    pub fn resume(&mut self) {
        self.paused_until = None;
    }

    /// Accepts the next connection, from each address in turn. `None` if no backlog has one, or accepting
    /// is paused.
    pub fn accept(&mut self, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        for _ in 0..self.sockets.len() {
            let next = (self.first + 1) % self.sockets.len();
            let listener = &mut self.sockets[std::mem::replace(&mut self.first, next)];
            if !listener.ready {
                continue;
            }
            match listener.accept() {
                Ok(Some((socket, peer))) => return Some((socket, canonical(peer))),
                Ok(None) => {}
                Err(error) => {
                    self.paused_until = Some(now + PAUSE);
                    if let Some(ending) = self.warnings.allow(now) {
                        let clients = self.clients;
                        log::warn!("cannot accept {clients}, they wait: {error}{ending}");
                    }
                    return None;
                }
            }
        }
        None
    }

    /// Closes the sockets. The kernel refuses later connections, unless another process holds the sockets,
    /// too.
    pub fn close(&mut self) {
        self.sockets.clear();
        self.first = 0;
        self.paused_until = None;
    }
}

impl Listener {
    /// Accepts the next connection, if there is one. Errors of a single connection are skipped; an error
    /// returned concerns the whole process or host.
    fn accept(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            match self.socket.accept() {
                Ok(client) => return Ok(Some(client)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return Ok(None);
                }
                Err(error) if concerns_one_client(&error) => log::debug!("accept: {error}"),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Errors of one connection, after which the next one can be accepted. Linux returns pending network errors
/// of the new socket as errors of `accept` (`accept(2)`). Only errors that remove the connection from the
/// backlog are listed; with others the loop might never end.
fn concerns_one_client(error: &io::Error) -> bool {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw_os_error) else {
        return false;
    };
    #[cfg(target_os = "linux")]
    if errno == Errno::NONET {
        return true;
    }
    matches!(
        errno,
        Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::INTR
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as Client;

    use super::*;
    use crate::listen::{Options, listen};

    /// Clients at one address do not delay those at another.
    #[test]
    fn addresses_are_served_in_turns() {
        let listen = || listen("127.0.0.1", 0, Options::default()).unwrap();
        let mut listeners =
            Listeners::new(listen().into_iter().chain(listen()).collect(), "clients");
        let addresses: Vec<_> = listeners.addresses().map(Result::unwrap).collect();
        let connect = |address| (0..3).map(move |_| Client::connect(address).unwrap());
        let clients: Vec<Client> = addresses.iter().flat_map(connect).collect();
        listeners.mark_all_ready();
        let accept = || Some(listeners.accept(Instant::now())?.0.local_addr().unwrap());
        let order: Vec<_> = std::iter::from_fn(accept).collect();
        assert_eq!(order, addresses.repeat(3));
        drop(clients);
    }
}
