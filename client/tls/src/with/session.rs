//! TLS on one connection, over a socket that waits or one that does not.

use std::io::{self, Read, Write};

use rustls::ClientConnection;

use super::words;

/// One connection's TLS. The socket is lent to it whenever there is something to do; where it says
/// `WouldBlock`, so does this.
#[derive(Debug)]
pub struct Session {
    tls: Box<ClientConnection>,
    /// Why it cannot go on: whoever asks again is told the same.
    failure: Option<String>,
}

impl Session {
    pub(super) fn new(tls: ClientConnection) -> Self {
        let tls = Box::new(tls);
        Self { tls, failure: None }
    }

    /// Goes on until the handshake is done.
    ///
    /// # Errors
    /// What went wrong, in words for people.
    pub fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.advance(socket)?;
        }
        self.flush(socket)
    }

    /// Sends what waits, reads what there is, once, and takes it in.
    fn advance(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        match self.flush(socket) {
            // Reading goes on: the server may take nothing until something is taken of it.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        if self.tls.read_tls(socket)? == 0 && self.tls.is_handshaking() {
            return Err(words::cut_off("in the middle of the handshake"));
        }
        if let Err(error) = self.tls.process_new_packets() {
            // The server is told why, if it still listens.
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

    /// Reads what has come, at least a byte; 0 if the server has said that it sends no more.
    ///
    /// # Errors
    /// `UnexpectedEof` if it has not said so: something may be missing.
    pub fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Ok(n) => return Ok(n),
                // What came before a failure comes first.
                Err(_) if self.failure.is_some() => self.check()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.advance(socket)?,
                Err(_) => return Err(words::cut_off("without saying so (no close_notify)")),
            }
        }
    }

    /// Encrypts and sends. How many of the bytes are taken: some, or `WouldBlock`; what of these the
    /// socket has not taken yet is for [`flush`](Self::flush).
    pub fn write(&mut self, socket: &mut (impl Read + Write), bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.flush(socket)?;
        let taken = self.tls.writer().write(bytes)?;
        match self.flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Sends what waits to be sent.
    pub fn flush(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Tells the server that nothing more will be sent.
    pub fn end(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush(socket)
    }

    /// Something was taken that the socket has not.
    pub fn has_unsent(&self) -> bool {
        self.tls.wants_write()
    }
}
