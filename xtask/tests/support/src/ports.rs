//! Ports that stay free while no program listens on them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A free port on loopback. While this value lives, the kernel gives the port to no other program that
/// binds to port 0. A program that is given the port can listen on it, any number of times.
///
/// It is a socket that is bound and never listens. With `SO_REUSEADDR` on both sides, a server can bind
/// to the same address and listen.
#[derive(Debug)]
pub struct Reserved {
    /// The address to listen on.
    pub address: SocketAddr,
    _socket: Socket,
}

impl Reserved {
    /// Reserves a port that was free.
    ///
    /// # Errors
    /// No port is free.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { address, _socket: socket })
    }
}
