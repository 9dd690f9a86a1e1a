//! What others may know of the server, over HTTP: figures for Prometheus, and whether it is well.

mod exposition;
pub mod http;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::listeners::{Listeners, PAUSE};
use crate::snapshot::Snapshot;
use http::{Exchange, Page, Response};

/// Connections at once. One more takes the place of one that does nothing.
const MAX_EXCHANGES: usize = 16;

/// Addresses that it listens on; a name with more has the others left out.
const MAX_LISTENERS: usize = 8;

/// Connections that are accepted in one turn.
const ACCEPT_BUDGET: usize = MAX_EXCHANGES;

/// Tokens that it needs.
pub const TOKENS: usize = MAX_LISTENERS + MAX_EXCHANGES;

/// Descriptors that it needs beside those of its listening sockets: a new connection is accepted before
/// another one leaves its place to it.
pub const DESCRIPTORS: usize = MAX_EXCHANGES + 1;

/// No [`deadline`](Metrics::deadline) is further away than this.
pub const MAX_WAIT: Duration = if http::PATIENCE.as_nanos() > PAUSE.as_nanos() {
    http::PATIENCE
} else {
    PAUSE
};

/// The listening sockets, and the connections to them.
#[derive(Debug)]
pub struct Metrics {
    listeners: Listeners,
    exchanges: Slab<Exchange<TcpStream>>,
    /// `token(n)` of the sockets: listeners first.
    first: Token,
}

impl Metrics {
    /// ReplyMode on these sockets, if there are any.
    pub fn new(mut listeners: Vec<TcpListener>) -> Option<Self> {
        listeners.truncate(MAX_LISTENERS);
        (!listeners.is_empty()).then(|| Self {
            listeners: Listeners::new(listeners, "connections to -metrics"),
            exchanges: Slab::with_capacity(MAX_EXCHANGES),
            first: Token(0),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = io::Result<SocketAddr>> {
        self.listeners.addresses()
    }

    /// Registers all sockets, with tokens from `first` on, [`TOKENS`] of them, downwards.
    pub fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        self.first = first;
        self.listeners
            .register(registry, |index| Token(first.0 - index))
    }

    /// An event has come, for the token that is so many below the first.
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

    /// Something can be done without waiting.
    pub fn has_work(&self) -> bool {
        self.listeners.is_ready() && self.has_place()
            || self.exchanges.iter().any(|(_, it)| it.has_work())
    }

    /// When a connection has taken too long, or another attempt to accept one is due.
    pub fn deadline(&self) -> Option<Instant> {
        let accept_at = self.listeners.paused_until().filter(|_| self.has_place());
        let deadlines = self.exchanges.iter().map(|(_, it)| it.deadline);
        deadlines.chain(accept_at).min()
    }

    /// Goes on with all connections, as far as that goes. `health` says why messages are not kept, if
    /// they are not, and `look` tells all.
    pub fn serve(
        &mut self,
        registry: &Registry,
        now: Instant,
        health: impl Fn() -> Option<String>,
        look: impl Fn() -> Snapshot,
    ) {
        self.close(now);
        self.accept(registry, now);
        for (_, exchange) in &mut self.exchanges {
            exchange.advance(|page| match page {
                Page::Metrics => Response {
                    status: "200 OK",
                    content_type: exposition::CONTENT_TYPE,
                    body: exposition::text(look()),
                },
                Page::Health => match health() {
                    None => Response::line("200 OK", "ok"),
                    Some(why) => Response::line("503 Service Unavailable", &why),
                },
            });
        }
        self.close(now);
    }

    /// Closes connections that are done, or have had their time.
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

    /// There is a place for one more connection, be it that of another.
    fn has_place(&self) -> bool {
        self.exchanges.len() < MAX_EXCHANGES || self.dispensable().is_some()
    }

    /// Gives up a connection if all places are taken.
    fn make_place(&mut self) {
        if self.exchanges.len() == MAX_EXCHANGES
            && let Some(key) = self.dispensable()
        {
            self.exchanges.remove(key);
        }
        debug_assert!(self.exchanges.len() < MAX_EXCHANGES);
    }

    /// Of the connections that wait for their peers, the one that is the least loss: one that has sent
    /// nothing, the oldest of these.
    fn dispensable(&self) -> Option<usize> {
        let waiting = self.exchanges.iter().filter(|(_, it)| !it.has_work());
        let (key, _) = waiting.min_by_key(|(_, it)| (it.progress(), it.deadline))?;
        Some(key)
    }
}
