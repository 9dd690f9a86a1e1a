//! Admission of clients: allowed networks, and what precedes their messages, such as a PROXY header or a
//! TLS handshake.

pub mod first;
pub mod proxy;

use std::net::IpAddr;

use crate::networks::Networks;
use crate::options::Config;
use crate::tls::Acceptor;

/// The timeout of the PROXY header and the TLS handshake together, in milliseconds.
pub const OPENING_MS: u32 = 10_000;

/// How long ambiguous first bytes are held before they are taken as messages, in milliseconds.
pub const UNCLEAR_MS: u32 = 1000;

/// The rules of admission.
#[derive(Debug)]
pub struct Admission {
    /// Connections from other networks are closed at once. `None` allows all.
    allow: Option<Networks>,
    /// Connections from these networks must begin with a PROXY header.
    proxies: Networks,
    /// Set if the server requires TLS.
    pub tls: Option<Acceptor>,
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

impl Admission {
    /// The rules of the command line. `tls` has its certificates loaded.
    pub fn new(config: &Config, tls: Option<Acceptor>) -> Self {
        Self { allow: config.allow.clone(), proxies: config.proxy_from.clone(), tls }
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
            Ok(()) => tls.warnings().iter().for_each(|warning| log::warn!("{warning}")),
            Err(error) => {
                log::warn!("cannot reload the certificates: {error}; the old ones stay in use");
            }
        }
    }

    /// Whether clients at this address are admitted.
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contain(ip))
    }
}
