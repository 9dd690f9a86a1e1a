//! What others may know of the server, over HTTP: figures for Prometheus, and whether it is well.

mod exposition;
pub mod http;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::snapshot::Snapshot;
use http::{Exchange, Page, Response};

/// Connections at once; whoever else comes waits in the backlog, for a second at most.
const MOST_EXCHANGES: usize = 8;

/// Addresses that it listens on; a name with more has the others left out.
const MOST_LISTENERS: usize = 8;

/// Tokens that it needs.
pub const TOKENS: usize = MOST_LISTENERS + MOST_EXCHANGES;

/// Descriptors that it needs beside those of its listening sockets.
pub const DESCRIPTORS: usize = MOST_EXCHANGES;

/// No [`deadline`](Metrics::deadline) is further away than this.
pub const MAX_WAIT: Duration = http::PATIENCE;

/// The listening sockets, and whoever asks.
#[derive(Debug)]
pub struct Metrics {
    listeners: Vec<TcpListener>,
    exchanges: [Option<Exchange<TcpStream>>; MOST_EXCHANGES],
    /// Somebody may wait.
    can_accept: bool,
    /// `token(n)` of the sockets: listeners first.
    first: Token,
}

impl Metrics {
    /// Answers on these sockets, if there are any.
    pub fn new(mut listeners: Vec<TcpListener>) -> Option<Self> {
        listeners.truncate(MOST_LISTENERS);
        (!listeners.is_empty()).then(|| Self {
            listeners,
            exchanges: [const { None }; MOST_EXCHANGES],
            can_accept: true,
            first: Token(0),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = io::Result<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr)
    }

    /// Has itself told of everything, with tokens from `first` on, [`TOKENS`] of them, downwards.
    pub fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        self.first = first;
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            registry.register(listener, Token(first.0 - index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// An event has come, for the token that is so many below the first.
    pub fn note(&mut self, index: usize) {
        match index.checked_sub(MOST_LISTENERS) {
            None => self.can_accept = true,
            Some(at) => {
                if let Some(Some(exchange)) = self.exchanges.get_mut(at) {
                    exchange.note();
                }
            }
        }
    }

    /// Something can be done without waiting.
    pub fn has_work(&self) -> bool {
        let has_place = self.exchanges.iter().any(Option::is_none);
        self.can_accept && has_place || self.exchanges.iter().flatten().any(Exchange::has_work)
    }

    /// When somebody has taken too long.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = self.exchanges.iter().flatten().map(|it| it.deadline);
        deadlines.min()
    }

    /// Goes on with everybody, as far as that goes. `health` says why messages are not kept, if they are
    /// not, and `look` tells all.
    pub fn serve(
        &mut self,
        registry: &Registry,
        now: Instant,
        health: impl Fn() -> Option<String>,
        look: impl Fn() -> Snapshot,
    ) {
        self.close(now);
        self.accept(registry, now);
        for exchange in self.exchanges.iter_mut().flatten() {
            exchange.go_on(|page| match page {
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

    /// Closes whoever is done, or has had his time.
    fn close(&mut self, now: Instant) {
        for exchange in &mut self.exchanges {
            if exchange.as_ref().is_some_and(|it| it.is_over(now)) {
                *exchange = None;
            }
        }
    }

    fn accept(&mut self, registry: &Registry, now: Instant) {
        for (at, place) in self.exchanges.iter_mut().enumerate() {
            if place.is_some() || !self.can_accept {
                continue;
            }
            let Some(mut socket) = self.listeners.iter().find_map(next) else {
                self.can_accept = false;
                return;
            };
            let token = Token(self.first.0 - MOST_LISTENERS - at);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if registry.register(&mut socket, token, interest).is_ok() {
                *place = Some(Exchange::new(socket, now));
            }
        }
    }
}

/// The next who waits. Whatever goes wrong with one who does not any more concerns nobody else.
fn next(listener: &TcpListener) -> Option<TcpStream> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => return Some(socket),
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                _ => return None,
            },
        }
    }
}
