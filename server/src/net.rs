//! Listening sockets with the options that accepted ones inherit.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use mio::net::TcpListener;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// How many connections the kernel may hold before they are accepted. It cuts this down to its own
/// limit (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// How often another port is tried when port 0 gave one that is taken on another address.
const PORT_ATTEMPTS: usize = 16;

/// What is asked of listening sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// With one, the kernel probes a client that has been silent for so long, and ends the connection
    /// when nothing has come of that for as long again. It does not probe while data is in flight; that
    /// is watched by the loop. TCP's user timeout would do both, but it also ends a connection whose
    /// client takes its replies slowly: a closed window counts as no answer, whatever its machine says.
    pub keepalive: Option<Duration>,
    /// Others of the same user who say so, too, may listen at the same address.
    pub reuse_port: bool,
}

/// Listens on every address of `host`, all on one port; 0 stands for any. On Linux accepted sockets
/// inherit `keepalive` and `TCP_NODELAY`.
///
/// Addresses of a family that this machine lacks are skipped, unless no other is left.
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

/// Takes over a socket that listens already, with the same options.
pub fn adopt(
    listener: std::net::TcpListener,
    keepalive: Option<Duration>,
) -> io::Result<TcpListener> {
    set_options(&SockRef::from(&listener), keepalive)?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener))
}

/// What accepted sockets inherit.
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
        // Beside IPv4 addresses an IPv6 wildcard must keep to its own family.
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

/// The machine has no such address family, or not this address.
fn is_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn listener(address: SocketAddr, only_v6: bool, options: Options) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A restart need not wait for the last connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    set_options(&socket, options.keepalive)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Probes a client that was silent for `keepalive`, for as long again, in four steps where they are
/// no shorter than a second.
fn probes(keepalive: Duration) -> TcpKeepalive {
    let interval = (keepalive / 4).max(Duration::from_secs(1));
    let count = keepalive.as_secs().div_ceil(interval.as_secs().max(1));
    TcpKeepalive::new()
        .with_time(keepalive)
        .with_interval(interval)
        .with_retries(count.clamp(1, 127) as u32)
}

/// The peer as people know it: an IPv4 client of an IPv6 socket by its IPv4 address.
pub fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), peer.port()),
        IpAddr::V6(_) => peer,
    }
}
