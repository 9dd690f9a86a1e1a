//! The listening sockets: accepts clients, whatever goes wrong with single ones.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;

use crate::diagnostics::RateLimit;
use crate::net::canonical;

/// How long to wait for descriptors or memory, unless a connection ends before.
pub const PAUSE: Duration = Duration::from_millis(500);

/// The listening sockets of all addresses.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<Listener>,
    /// What connects to them, for messages.
    clients: &'static str,
    /// The socket that is asked first: whoever waits at one address must not keep those waiting who
    /// wait at another.
    first: usize,
    /// Descriptors or memory have run out: no attempt before this.
    paused_until: Option<Instant>,
    complaint: RateLimit,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// Clients may be waiting. Readiness is reported once, so it is kept here.
    ready: bool,
}

impl Listeners {
    /// Sockets as [`net::listen`](crate::net::listen) makes them.
    pub fn new(sockets: Vec<TcpListener>, clients: &'static str) -> Self {
        let sockets = sockets.into_iter().map(|socket| Listener {
            socket,
            ready: false,
        });
        Self {
            sockets: sockets.collect(),
            clients,
            first: 0,
            paused_until: None,
            complaint: RateLimit::default(),
        }
    }

    /// The addresses, all on one port.
    pub fn addresses(&self) -> impl Iterator<Item = io::Result<SocketAddr>> {
        self.sockets
            .iter()
            .map(|listener| listener.socket.local_addr())
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// All are closed.
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

    /// Takes note that clients wait at the socket at `index`.
    pub fn on_event(&mut self, index: usize) {
        if let Some(listener) = self.sockets.get_mut(index) {
            listener.ready = true;
        }
    }

    /// Has every socket looked at, whether an event came for it or not.
    pub fn note_all(&mut self) {
        for listener in &mut self.sockets {
            listener.ready = true;
        }
    }

    /// Clients may be waiting, and nothing keeps them from being accepted.
    pub fn is_ready(&self) -> bool {
        self.paused_until.is_none() && self.sockets.iter().any(|listener| listener.ready)
    }

    /// When to try again after descriptors have run out.
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// A connection has ended: there may be a descriptor again.
    pub fn resume(&mut self) {
        self.paused_until = None;
    }

    /// Accepts the next client, of each address in turn; `None` if none waits, or none can be had
    /// for now.
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
                    if let Some(ending) = self.complaint.allow(now) {
                        let clients = self.clients;
                        log::warn!("cannot accept {clients}, they wait: {error}{ending}");
                    }
                    return None;
                }
            }
        }
        None
    }

    /// Closes the sockets: whoever connects from now on is refused.
    pub fn close(&mut self) {
        self.sockets.clear();
        self.first = 0;
        self.paused_until = None;
    }
}

impl Listener {
    /// The next client, if one waits. The error is none of a client, but of this machine.
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

/// Errors of the client that was next, after which the one behind it can be accepted. Linux passes
/// pending network errors of the new socket on as if they were accept's own (`accept(2)`). Only
/// such errors are here that take the client off the queue, or the loop might never end.
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
    use crate::net;

    /// Whoever waits at one address does not keep those waiting who wait at another.
    #[test]
    fn addresses_are_served_in_turns() {
        let listen = || net::listen("127.0.0.1", 0, net::Options::default()).unwrap();
        let mut listeners =
            Listeners::new(listen().into_iter().chain(listen()).collect(), "clients");
        let addresses: Vec<_> = listeners.addresses().map(Result::unwrap).collect();
        let connect = |address| (0..3).map(move |_| Client::connect(address).unwrap());
        let clients: Vec<Client> = addresses.iter().flat_map(connect).collect();
        listeners.note_all();
        let accept = || Some(listeners.accept(Instant::now())?.0.local_addr().unwrap());
        let order: Vec<_> = std::iter::from_fn(accept).collect();
        assert_eq!(order, addresses.repeat(3));
        drop(clients);
    }
}
