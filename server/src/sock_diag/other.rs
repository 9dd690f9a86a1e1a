//! Other systems have nothing like it that is to be had without `unsafe`.

use std::io;
use std::net::SocketAddr;

use super::Tcp;

/// Knows nothing.
#[derive(Debug)]
pub enum SockDiag {}

impl SockDiag {
    /// Fails.
    pub fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be asked, since it cannot be opened.
    pub fn ask(&mut self, _: SocketAddr, _: SocketAddr) -> io::Result<Tcp> {
        match *self {}
    }
}
