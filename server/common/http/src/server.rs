//! The listening sockets of the HTTP server, and the connections to them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use net::{Listeners, PAUSE};
use slab::Slab;

use crate::exchange::{Exchange, PATIENCE, Page, Response};

/// The maximum number of connections. A further one replaces one that is idle.
const MAX_EXCHANGES: usize = 16;

/// The maximum number of listening addresses. Further addresses of a name are ignored.
const MAX_LISTENERS: usize = 8;

/// How many connections are accepted in one turn.
const ACCEPT_BUDGET: usize = MAX_EXCHANGES;

/// The number of poll tokens that it needs.
pub const TOKENS: usize = MAX_LISTENERS + MAX_EXCHANGES;

/// The number of descriptors that it needs in addition to its listening sockets. A new connection is accepted
/// before the one that it replaces is closed.
pub const DESCRIPTORS: usize = MAX_EXCHANGES + 1;

/// The longest time to the next [`deadline`](HttpServer::deadline).
pub const MAX_WAIT: Duration =
    if PATIENCE.as_nanos() > PAUSE.as_nanos() { PATIENCE } else { PAUSE };

/// The listening sockets, and the connections to them.
#[derive(Debug)]
pub struct HttpServer {
    listeners: Listeners,
    exchanges: Slab<Exchange<TcpStream>>,
    /// The token of the first socket. Listeners come first, and tokens count downwards.
    first: Token,
}

impl HttpServer {
    /// Serves on these sockets. `None` if there are none.
    pub fn new(mut listeners: Vec<TcpListener>) -> Option<Self> {
        listeners.truncate(MAX_LISTENERS);
        (!listeners.is_empty()).then(|| Self {
            listeners: Listeners::new(listeners, "connections to -metrics"),
            exchanges: Slab::with_capacity(MAX_EXCHANGES),
            first: Token(0),
        })
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> impl Iterator<Item = io::Result<SocketAddr>> {
        self.listeners.addresses()
    }

    /// Registers all sockets with [`TOKENS`] tokens, from `first` downwards.
    pub fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        self.first = first;
        self.listeners.register(registry, |index| Token(first.0 - index))
    }

    /// Handles an event for the token `index` below the first.
    pub fn on_event(&mut self, index: usize) {
        match index.checked_sub(MAX_LISTENERS) {
            None => self.listeners.on_event(index),
            Some(key) => {
                if let Some(exchange) = self.exchanges.get_mut(key) {
                    exchange.on_event();
                }
            }
        }
    }

    /// Whether there is work that needs no further event.
    pub fn has_work(&self) -> bool {
        self.listeners.is_ready() && self.has_place()
            || self.exchanges.iter().any(|(_, it)| it.has_work())
    }

    /// When a connection reaches its timeout, or accepting is to be retried.
    pub fn deadline(&self) -> Option<Instant> {
        let accept_at = self.listeners.paused_until().filter(|_| self.has_place());
        let deadlines = self.exchanges.iter().map(|(_, it)| it.deadline);
        deadlines.chain(accept_at).min()
    }

    /// Advances all connections. `respond` makes the response to a request.
    pub fn serve(&mut self, registry: &Registry, now: Instant, respond: impl Fn(Page) -> Response) {
        self.close(now);
        self.accept(registry, now);
        for (_, exchange) in &mut self.exchanges {
            exchange.advance(&respond);
        }
        self.close(now);
    }

    /// Closes connections that are finished or have reached their timeout.
    fn close(&mut self, now: Instant) {
        let before = self.exchanges.len();
        self.exchanges.retain(|_, exchange| !exchange.is_over(now));
        if self.exchanges.len() < before {
            self.listeners.resume();
        }
    }

    fn accept(&mut self, registry: &Registry, now: Instant) {
        for _ in 0..ACCEPT_BUDGET {
            if !self.has_place() {
                return;
            }
            let Some((mut socket, _)) = self.listeners.accept(now) else {
                return;
            };
            self.make_place();
            let place = self.exchanges.vacant_entry();
            let token = Token(self.first.0 - MAX_LISTENERS - place.key());
            let interest = Interest::READABLE | Interest::WRITABLE;
            if registry.register(&mut socket, token, interest).is_ok() {
                place.insert(Exchange::new(socket, now));
            }
        }
    }

    /// Whether one more connection can be accepted, perhaps in place of another.
    fn has_place(&self) -> bool {
        self.exchanges.len() < MAX_EXCHANGES || self.dispensable().is_some()
    }

    /// Closes a connection if the maximum is reached.
    fn make_place(&mut self) {
        if self.exchanges.len() == MAX_EXCHANGES
            && let Some(key) = self.dispensable()
        {
            self.exchanges.remove(key);
        }
        debug_assert!(self.exchanges.len() < MAX_EXCHANGES);
    }

    /// The connection to close first: of those that wait for their peers, the oldest of those that have sent
    /// least.
    fn dispensable(&self) -> Option<usize> {
        let waiting = self.exchanges.iter().filter(|(_, it)| !it.has_work());
        let (key, _) = waiting.min_by_key(|(_, it)| (it.progress(), it.deadline))?;
        Some(key)
    }
}
