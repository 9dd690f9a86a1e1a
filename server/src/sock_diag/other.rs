//! A stub for other systems, which have no such interface without `unsafe`.

use std::io;
use std::net::SocketAddr;

use super::tcp::Tcp;

/// A query socket, which cannot be opened here.
#[derive(Debug)]
pub enum SockDiag {}

impl SockDiag {
    /// Always fails with `Unsupported`.
    pub fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called, since no value exists.
    pub fn ask(&mut self, _: SocketAddr, _: SocketAddr) -> io::Result<Tcp> {
        match *self {}
    }
}
