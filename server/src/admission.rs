//! Who may come in, and what comes before their messages: a PROXY header, a TLS handshake, or
//! something that is no message at all.

pub mod first;
pub mod networks;
pub mod proxy;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::channel::{Channel, Expected};
use crate::diagnostics::RateLimit;
use crate::options::Config;
use crate::tls::Acceptor;
use networks::Networks;

/// How long a connection may take for its PROXY header and its handshake together, in milliseconds.
pub const OPENING_MS: u32 = 10_000;

/// First bytes that may be several things are taken for messages after so long, in milliseconds.
pub const UNCLEAR_MS: u32 = 1000;

/// Whom the server lets in.
#[derive(Debug)]
pub struct Admission {
    /// Whoever comes from elsewhere is closed at once; everybody may come if there is none.
    allow: Option<Networks>,
    /// From here a PROXY header comes before all else.
    proxies: Networks,
    /// TLS is spoken.
    pub tls: Option<Acceptor>,
    /// What came of those who came.
    pub counts: Counts,
    strangers: RateLimit,
    over_limit: RateLimit,
    failures: RateLimit,
}

/// Clients that got as far as a message, and the others by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whose first bytes were taken for messages.
    pub served: u64,
    /// Not within `-allow`.
    pub not_allowed: u64,
    /// No PROXY header from where one is due, or a malformed one.
    pub proxy_malformed: u64,
    /// A PROXY header from where none is trusted.
    pub proxy_untrusted: u64,
    /// Requests of HTTP.
    pub http: u64,
    /// No TLS where it is spoken, or TLS where it is not.
    pub tls_mismatched: u64,
    /// TLS handshakes that came to their end.
    pub handshakes: u64,
    /// TLS handshakes that failed, or took too long.
    pub handshakes_failed: u64,
}

impl Counts {
    /// All those that were not let in.
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
    /// As the command line says; `tls` is open already.
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

    /// A PROXY header has to come from this address, and tells who the client is.
    pub fn is_proxy(&self, ip: IpAddr) -> bool {
        self.proxies.contain(ip)
    }

    /// How a connection begins that comes from this address.
    pub fn first_channel(&self, ip: IpAddr, now_ms: u32) -> Channel {
        if self.is_proxy(ip) {
            return Channel::opening(Expected::Proxy, now_ms);
        }
        self.channel(now_ms)
    }

    /// How it begins, or goes on when a PROXY header has come.
    pub fn channel(&self, now_ms: u32) -> Channel {
        match &self.tls {
            Some(_) => Channel::opening(Expected::Tls, now_ms),
            None => Channel::default(),
        }
    }

    /// Reads certificates and keys anew; those that were read before are kept if anything is wrong.
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
                log::warn!("cannot reload the certificates: {error}; the old ones stay in use")
            }
        }
    }

    /// Whether a client at this address may come in. One who may not is counted, and said.
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

    /// Reports a client that came while `most` are connected.
    pub fn report_limit(&mut self, client: SocketAddr, most: usize, now: Instant) {
        if let Some(ending) = self.over_limit.allow(now) {
            log::warn!("{client}: refused, {most} are connected (-max-clients){ending}");
        }
    }

    /// Says, once a second at most, why a client did not get as far as a message.
    pub fn report(&mut self, peer: &str, why: impl std::fmt::Display) {
        if let Some(ending) = self.failures.allow(Instant::now()) {
            log::warn!("{peer}: {why}{ending}");
        }
    }
}
