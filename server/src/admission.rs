//! Admission of clients: allowed networks, and what precedes their messages, such as a PROXY header or a
//! TLS handshake.

pub mod first;
pub mod proxy;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use common::rate_limit::RateLimit;

use crate::networks::Networks;
use crate::options::Config;
use crate::tls::Acceptor;

/// The timeout of the PROXY header and the TLS handshake together, in milliseconds.
pub const OPENING_MS: u32 = 10_000;

/// How long ambiguous first bytes are held before they are taken as messages, in milliseconds.
pub const UNCLEAR_MS: u32 = 1000;

/// The rules of admission, and counters of their results.
#[derive(Debug)]
pub struct Admission {
    /// Connections from other networks are closed at once. `None` allows all.
    allow: Option<Networks>,
    /// Connections from these networks must begin with a PROXY header.
    proxies: Networks,
    /// Set if the server requires TLS.
    pub tls: Option<Acceptor>,
    /// The results of admission.
    pub counts: Counts,
    strangers: RateLimit,
    over_limit: RateLimit,
    failures: RateLimit,
}

/// What a client must begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Messages.
    Messages,
    /// A TLS handshake.
    Tls,
    /// A PROXY header, and after it what else is required.
    Proxy,
}

/// Clients whose first message arrived, and those turned away, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clients whose first bytes were taken as messages.
    pub served: u64,
    /// Not within `-allow`.
    pub not_allowed: u64,
    /// A PROXY header that is required but missing, malformed or late.
    pub proxy_malformed: u64,
    /// A PROXY header from an address that is not trusted with one.
    pub proxy_untrusted: u64,
    /// HTTP requests.
    pub http: u64,
    /// No TLS where it is required, or TLS where it is not supported.
    pub tls_mismatched: u64,
    /// TLS handshakes that succeeded.
    pub handshakes: u64,
    /// TLS handshakes that failed or timed out.
    pub handshakes_failed: u64,
}

impl Counts {
    /// All clients that were not admitted.
    pub fn turned_away(&self) -> u64 {
        self.not_allowed
            + self.proxy_malformed
            + self.proxy_untrusted
            + self.http
            + self.tls_mismatched
            + self.handshakes_failed
    }
}

impl Admission {
    /// The rules of the command line. `tls` has its certificates loaded.
    pub fn new(config: &Config, tls: Option<Acceptor>) -> Self {
        Self {
            allow: config.allow.clone(),
            proxies: config.proxy_from.clone(),
            tls,
            counts: Counts::default(),
            strangers: RateLimit::default(),
            over_limit: RateLimit::default(),
            failures: RateLimit::default(),
        }
    }

    /// A connection from this address must begin with a PROXY header, which names the client.
    pub fn is_proxy(&self, ip: IpAddr) -> bool {
        self.proxies.contain(ip)
    }

    /// What a new connection from this address must begin with.
    pub fn expects_first(&self, ip: IpAddr) -> Expected {
        if self.is_proxy(ip) {
            return Expected::Proxy;
        }
        self.expects_of_client()
    }

    /// What a client must begin with, after the PROXY header if there is one.
    pub fn expects_of_client(&self) -> Expected {
        match &self.tls {
            Some(_) => Expected::Tls,
            None => Expected::Messages,
        }
    }

    /// Reloads certificates and keys. After an error, the current ones are kept.
    pub fn reload(&mut self) {
        let Some(tls) = &mut self.tls else {
            return;
        };
        match tls.reload() {
            Ok(()) => tls
                .warnings()
                .iter()
                .for_each(|warning| log::warn!("{warning}")),
            Err(error) => {
                log::warn!("cannot reload the certificates: {error}; the old ones stay in use");
            }
        }
    }

    /// Whether a client at this address is admitted. One that is not is counted and reported.
    pub fn admits(&mut self, client: SocketAddr, now: Instant) -> bool {
        let admitted = self
            .allow
            .as_ref()
            .is_none_or(|allow| allow.contain(client.ip()));
        if !admitted {
            self.counts.not_allowed += 1;
            if let Some(ending) = self.strangers.allow(now) {
                log::warn!("{client}: closed, its address is not in -allow{ending}");
            }
        }
        admitted
    }

    /// Reports a client that is refused because `most` are connected.
    pub fn report_limit(&mut self, client: SocketAddr, most: usize, now: Instant) {
        if let Some(ending) = self.over_limit.allow(now) {
            log::warn!("{client}: refused, {most} are connected (-max-clients){ending}");
        }
    }

    /// Reports why a client was turned away, at most once a second.
    pub fn report(&mut self, peer: &str, why: impl std::fmt::Display) {
        if let Some(ending) = self.failures.allow(Instant::now()) {
            log::warn!("{peer}: {why}{ending}");
        }
    }
}
