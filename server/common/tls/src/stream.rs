//! Socket with or without TLS.

use std::io::{self, Read, Write};

use crate::with::session::Session;

/// A socket, and its TLS session if there is one.
#[derive(Debug)]
pub struct Stream<S> {
    /// The underlying socket, for registering and closing it.
    pub socket: S,
    session: Option<Session>,
}

impl<S: Read + Write> Stream<S> {
    /// Makes a stream whose TLS handshake, if there is a session, has not begun.
    pub fn new(socket: S, session: Option<Session>) -> Self {
        Self { socket, session }
    }

    /// Starts TLS on a connection that began in plaintext.
    pub fn secure(&mut self, session: Session) {
        debug_assert!(self.session.is_none(), "it is encrypted already");
        self.session = Some(session);
    }

    /// Reads until the buffer is full or no more data is available. If it returns less than the
    /// buffer holds, there is no more now. It returns 0 at the end of the input.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is available.
    pub fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.session.is_none() {
            return self.socket.read(buffer);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                // The next call returns the error again, after the caller has seen this data.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Continues the TLS handshake. Returns whether it is complete.
    ///
    /// # Errors
    ///
    /// The handshake failed. `WouldBlock` is not an error here.
    pub fn handshake(&mut self) -> io::Result<bool> {
        let Some(session) = &mut self.session else {
            return Ok(true);
        };
        match session.handshake(&mut self.socket) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether taken bytes are still to be written to the socket. [`Write::flush`] continues.
    pub fn has_unsent(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_unsent)
    }
}

/// Reads whatever comes first, at least one byte: for a blocking socket.
impl<S: Read + Write> Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.read(buffer),
            Some(session) => session.read(&mut self.socket, buffer),
        }
    }
}

impl<S: Read + Write> Write for Stream<S> {
    /// Returns how many bytes were taken. With TLS, some of them may not be written to the socket
    /// yet.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.write(bytes),
            Some(session) => session.write(&mut self.socket, bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            None => Ok(()),
            Some(session) => session.flush(&mut self.socket),
        }
    }
}
