//! A socket, with TLS or without.

use std::io::{self, Read, Write};

use crate::Session;

/// A socket, and the session on it if there is one.
#[derive(Debug)]
pub struct Stream<S> {
    /// The socket, to be registered, asked and closed.
    pub socket: S,
    session: Option<Session>,
}

impl<S: Read + Write> Stream<S> {
    /// A socket whose handshake, if there is a session, has not begun.
    pub fn new(socket: S, session: Option<Session>) -> Self {
        Self { socket, session }
    }

    /// Has what follows encrypted, on a connection that began without.
    pub fn secure(&mut self, session: Session) {
        debug_assert!(self.session.is_none(), "it is encrypted already");
        self.session = Some(session);
    }

    /// Reads as much as there is and fits: less than that means that there is no more now. At the end
    /// of the input it is 0.
    pub fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.session.is_none() {
            return self.socket.read(buffer);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                // It comes again, when what is there has been looked at.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Goes on with the handshake. Whether it is done.
    ///
    /// # Errors
    /// None for a socket that has nothing, or takes nothing, now.
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

    /// Something was taken that the kernel does not have yet: [`Write::flush`] goes on with it.
    pub fn has_unsent(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_unsent)
    }
}

/// What comes first, at least a byte: for a socket that waits.
impl<S: Read + Write> Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.read(buffer),
            Some(session) => session.read(&mut self.socket, buffer),
        }
    }
}

impl<S: Read + Write> Write for Stream<S> {
    /// How many bytes are taken. With TLS, the kernel may not have all of these yet.
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
