//! Socket of a connection, as an event loop uses it.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

/// What a connection requires of its socket.
pub trait Socket: Read + Write {
    /// Shuts down the sending side.
    fn end(&mut self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
