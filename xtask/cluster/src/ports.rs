//! Where nodes, and what stands beside them, listen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// The addresses of a node, on loopback.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) clients: Reserved,
    pub(crate) monitoring: Reserved,
    pub(crate) routes: Reserved,
}

/// A port of loopback that the kernel gives to nobody who lets it choose, as long as this lives; a
/// program that is told of it can listen there as often as it is started.
///
/// It is a socket that is bound and never listens: with `SO_REUSEADDR` on both sides, another may be
/// bound to the same address and listen, as those of servers are.
#[derive(Debug)]
pub struct Reserved {
    /// Where to listen.
    pub address: SocketAddr,
    _socket: Socket,
}

impl Ports {
    pub(crate) fn reserve() -> io::Result<Self> {
        Ok(Self {
            clients: Reserved::new()?,
            monitoring: Reserved::new()?,
            routes: Reserved::new()?,
        })
    }
}

impl Reserved {
    /// A port that was free.
    ///
    /// # Errors
    /// There is none.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self {
            address,
            _socket: socket,
        })
    }
}
