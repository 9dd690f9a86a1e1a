//! The listening sockets: inherited ones, or new ones.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use common::process;
use http::HttpServer;
use mio::net::TcpListener;

use crate::options::Config;
use crate::server::REFUSALS;
use crate::systemd;

/// Descriptors that will be opened and are not for clients. These are the server's own handles on standard
/// output and error, the poll, the signals and the `sock_diag` socket. The log takes three: its file, a
/// second one while it is reopened, and its directory. A few are spare.
const RESERVED_DESCRIPTORS: usize = 12;

/// The sockets of the server.
pub(super) struct Sockets {
    pub(super) clients: Vec<TcpListener>,
    pub(super) http: Option<HttpServer>,
    /// The sockets for clients belong to the supervisor.
    pub(super) are_inherited: bool,
}

impl Sockets {
    /// Takes over the inherited sockets, and listens where none was inherited.
    pub(super) fn open(config: &Config) -> Result<Self, String> {
        let inherited = systemd::Sockets::from_env()?;
        Ok(Self {
            are_inherited: !inherited.clients.is_empty(),
            clients: open_for_clients(config, inherited.clients)?,
            http: open_for_metrics(config, inherited.metrics)?,
        })
    }

    /// The maximum number of clients: as many as `wanted`, and no more than these `descriptors` allow.
    pub(super) fn max_clients(
        &self,
        wanted: Option<usize>,
        descriptors: usize,
    ) -> Result<usize, String> {
        let for_http = self.http.as_ref().map_or(0, |_| http::DESCRIPTORS);
        // The listening sockets and inherited descriptors are open already.
        let open = process::open_descriptors().max(self.clients.len());
        let reserved = open + RESERVED_DESCRIPTORS + REFUSALS + for_http;
        let possible = descriptors.saturating_sub(reserved);
        if possible == 0 {
            return Err(format!(
                "{descriptors} open files are too few, {} at least are needed: raise 'ulimit -n'",
                reserved + 1
            ));
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted > possible) {
            log::warn!(
                "-max-clients {wanted} is lowered to {possible}: {descriptors} files may be open \
                 ('ulimit -n')"
            );
        }
        Ok(wanted.unwrap_or(possible).min(possible))
    }
}

fn open_for_clients(
    config: &Config,
    inherited: Vec<StdListener>,
) -> Result<Vec<TcpListener>, String> {
    if !inherited.is_empty() {
        return adopt(inherited, config.sockets.keepalive);
    }
    net::listen(&config.host, config.port, config.sockets)
        .map_err(|error| format!("{error}; choose another -host or -port"))
}

fn open_for_metrics(
    config: &Config,
    inherited: Vec<StdListener>,
) -> Result<Option<HttpServer>, String> {
    let sockets = match &config.metrics {
        _ if !inherited.is_empty() => adopt(inherited, None)?,
        None => return Ok(None),
        Some((host, port)) => net::listen(host, *port, net::Options::default())
            .map_err(|error| format!("-metrics: {error}; choose another HOST:PORT"))?,
    };
    Ok(HttpServer::new(sockets))
}

fn adopt(
    inherited: Vec<StdListener>,
    keepalive: Option<Duration>,
) -> Result<Vec<TcpListener>, String> {
    let adopted = inherited.into_iter().map(|socket| net::adopt(socket, keepalive));
    let adopted = adopted.collect::<io::Result<_>>();
    adopted.map_err(|error| format!("cannot use a socket of LISTEN_FDS: {error}"))
}

/// Warns if clients on other hosts can connect without encryption and without `-allow`.
pub(super) fn warn_of_openness(config: &Config, addresses: &[SocketAddr]) {
    let mut open = addresses.iter().filter(|address| !address.ip().to_canonical().is_loopback());
    if config.tls_cert.is_none()
        && config.allow.is_none()
        && let Some(address) = open.next()
    {
        log::warn!(
            "every host that can reach {address} can write to the log, and traffic is not \
             encrypted; use -allow and -tls-cert"
        );
    }
}
