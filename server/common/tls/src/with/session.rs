//! TLS session over a blocking or non-blocking socket.

use std::io::{self, Read, Write};

use rustls::ClientConnection;

use super::words;

/// The TLS state of one connection. The caller lends it the socket for each operation. An operation
/// returns `WouldBlock` if the socket does.
#[derive(Debug)]
pub struct Session {
    tls: Box<ClientConnection>,
    /// The reason for a failure. Every further call returns it again.
    failure: Option<String>,
}

impl Session {
    pub(super) fn new(tls: ClientConnection) -> Self {
        let tls = Box::new(tls);
        Self { tls, failure: None }
    }

    /// Does the handshake, until it is complete or the socket would block.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket does. The text of any other error is for the user.
    pub fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.advance(socket)?;
        }
        self.flush(socket)
    }

    /// Writes pending data, reads once from the socket and decrypts.
    fn advance(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        match self.flush(socket) {
            // Continue to read: the server may read nothing until this client reads.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        if self.tls.read_tls(socket)? == 0 && self.tls.is_handshaking() {
            return Err(words::cut_off("in the middle of the handshake"));
        }
        if let Err(error) = self.tls.process_new_packets() {
            // Sends the alert with the reason. The server may not be reading any more.
            _ = self.flush(socket);
            let is_first = self.tls.protocol_version().is_none();
            self.failure = Some(words::describe(&error, is_first));
        }
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(why) => Err(io::Error::new(io::ErrorKind::InvalidData, why.clone())),
        }
    }

    /// Reads at least one byte. Returns 0 after the server's `close_notify`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the connection ended without `close_notify`: data may be missing.
    pub fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Ok(n) => return Ok(n),
                // Data that came before a failure is returned first.
                Err(_) if self.failure.is_some() => self.check()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.advance(socket)?,
                Err(_) => return Err(words::cut_off("without saying so (no close_notify)")),
            }
        }
    }

    /// Encrypts and sends. Returns how many bytes were taken, at least one. [`flush`](Self::flush)
    /// writes those that the socket has not taken yet.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if earlier data is still to be written.
    pub fn write(&mut self, socket: &mut (impl Read + Write), bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.flush(socket)?;
        let taken = self.tls.writer().write(bytes)?;
        match self.flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Writes all pending data to the socket.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket takes no more.
    pub fn flush(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Sends `close_notify`: no more data will follow.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket takes no more.
    pub fn end(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush(socket)
    }

    /// Whether taken bytes are still to be written to the socket.
    pub fn has_unsent(&self) -> bool {
        self.tls.wants_write()
    }
}
