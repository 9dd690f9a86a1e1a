//! Listening sockets, with the options that accepted sockets inherit.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use mio::net::TcpListener;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// The backlog: how many connections the kernel holds before they are accepted. The kernel lowers it to its
/// own limit (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// How many ports are tried when port 0 gives one that is taken on another address.
const PORT_ATTEMPTS: usize = 16;

/// Options of listening sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// TCP keepalive. The kernel probes a client that was silent for this long, and closes the connection
    /// if no answer comes for as long again. It sends no probes while data is in flight, so the loop
    /// handles that case.
    ///
    /// The TCP user timeout would handle both. But it also closes a connection whose client takes its
    /// replies slowly: a closed window counts as no answer, even if the peer answers every probe.
    pub keepalive: Option<Duration>,
    /// Other sockets of the same user with this option may listen on the same address (`SO_REUSEPORT`).
    pub reuse_port: bool,
}

/// Listens on every address of `host`, all on one port; 0 means any. On Linux accepted sockets inherit
/// `keepalive` and `TCP_NODELAY`.
///
/// Addresses of a family that the host lacks are skipped, unless all are.
pub fn listen(host: &str, port: u16, options: Options) -> io::Result<Vec<TcpListener>> {
    let addresses = resolve(host, port)?;
    for _ in 1..PORT_ATTEMPTS {
        match listen_on(&addresses, options) {
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    listen_on(&addresses, options)
}

/// Takes over an inherited listening socket, with the same options.
pub fn adopt(
    listener: std::net::TcpListener,
    keepalive: Option<Duration>,
) -> io::Result<TcpListener> {
    set_options(&SockRef::from(&listener), keepalive)?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener))
}

/// Sets the options that accepted sockets inherit.
fn set_options(socket: &Socket, keepalive: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(keepalive) = keepalive {
        socket.set_tcp_keepalive(&probes(keepalive))?;
    }
    Ok(())
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| io::Error::other(format!("cannot find '{host}': {error}")))?
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn listen_on(addresses: &[SocketAddr], options: Options) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    let mut skipped = None;
    let mut port = 0;
    for &(mut address) in addresses {
        if address.port() == 0 {
            address.set_port(port);
        }
        let failed = |error: io::Error| {
            let message = format!("cannot listen on {address}: {error}");
            io::Error::new(error.kind(), message)
        };
        // Next to IPv4 addresses, an IPv6 wildcard must not also take IPv4.
        let only_v6 = addresses.iter().any(SocketAddr::is_ipv4);
        match listener(address, only_v6, options) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if is_missing(&error) => skipped = Some(failed(error)),
            Err(error) => return Err(failed(error)),
        }
    }
    match skipped {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

/// The host lacks this address family or this address.
fn is_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn listener(address: SocketAddr, only_v6: bool, options: Options) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A restart must not wait until the last connections have timed out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    set_options(&socket, options.keepalive)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Probes a client that was silent for `keepalive` for as long again, in four steps of at least a second
/// each.
fn probes(keepalive: Duration) -> TcpKeepalive {
    let interval = (keepalive / 4).max(Duration::from_secs(1));
    let count = keepalive.as_secs().div_ceil(interval.as_secs().max(1));
    TcpKeepalive::new()
        .with_time(keepalive)
        .with_interval(interval)
        .with_retries(count.clamp(1, 127) as u32)
}

/// The peer's address for display: an IPv4 client of an IPv6 socket by its IPv4 address.
pub fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), peer.port()),
        IpAddr::V6(_) => peer,
    }
}
