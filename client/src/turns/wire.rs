//! Socket of the turn-taking client, with or without TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::net::RecvFlags;
use tls::Session;

/// A socket with blocking and non-blocking reads.
pub(super) struct Wire {
    socket: TcpStream,
    session: Option<Session>,
}

impl Wire {
    /// Does the TLS handshake if there is a session. `timeout` limits each read and each write.
    pub(super) fn open(
        mut socket: TcpStream,
        mut session: Option<Session>,
        timeout: Duration,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(timeout))?;
        socket.set_read_timeout(Some(timeout))?;
        if let Some(session) = &mut session {
            let greeted = session.handshake(&mut socket);
            greeted.map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    let why = format!("no answer within {} s", timeout.as_secs_f64());
                    io::Error::new(io::ErrorKind::TimedOut, why)
                }
                _ => error,
            })?;
        }
        Ok(Self { socket, session })
    }

    /// Sets the timeout of a read.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(patience))
    }

    /// Blocks until data arrives.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.read(buffer),
            Some(session) => session.read(&mut self.socket, buffer),
        }
    }

    /// Reads what has arrived, without blocking. Returns `WouldBlock` if nothing has.
    pub(super) fn look(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = NonBlocking(&self.socket);
        match &mut self.session {
            None => socket.read(buffer),
            Some(session) => session.read(&mut socket, buffer),
        }
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return self.socket.write_all(bytes);
        };
        while !bytes.is_empty() {
            let taken = session.write(&mut self.socket, bytes)?;
            bytes = &bytes[taken..];
        }
        session.flush(&mut self.socket)
    }

    /// Half-closes the connection: closes the sending side.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            session.end(&mut self.socket)?;
        }
        self.socket.shutdown(Shutdown::Write)
    }
}

/// A socket whose reads do not block.
struct NonBlocking<'a>(&'a TcpStream);

impl Read for NonBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (n, _) = rustix::net::recv(self.0, buffer, RecvFlags::DONTWAIT)?;
        Ok(n)
    }
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
