//! Ciphertext that waits for the socket, and the number of reply bytes in it.

use std::io;
use std::mem;

use net::Socket;

/// The ciphertext of at most one record of replies, and the records of TLS itself.
///
/// The count of reply bytes is stored with the ciphertext that holds them, so that both are dropped together.
#[derive(Debug, Default)]
pub(super) struct Output {
    ciphertext: Vec<u8>,
    reply_bytes: u16,
}

impl Output {
    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.ciphertext.is_empty()
    }

    /// The number of reply bytes in the ciphertext.
    pub(super) fn reply_bytes(&self) -> usize {
        self.reply_bytes.into()
    }

    /// Allocated bytes.
    pub(super) fn capacity(&self) -> usize {
        self.ciphertext.capacity()
    }

    /// The buffer for records of TLS itself.
    pub(super) fn ciphertext(&mut self) -> &mut Vec<u8> {
        &mut self.ciphertext
    }

    /// Sends `ciphertext`, a record with `reply_bytes` bytes of replies, and keeps what the kernel does not
    /// accept. Returns the reply bytes that were sent: all or none.
    pub(super) fn send_replies(
        &mut self,
        socket: &mut impl Socket,
        ciphertext: &[u8],
        reply_bytes: u16,
    ) -> io::Result<usize> {
        debug_assert!(self.is_empty() && self.reply_bytes == 0 && reply_bytes > 0);
        let taken = send(socket, ciphertext)?;
        self.ciphertext.extend_from_slice(&ciphertext[taken..]);
        if self.is_empty() {
            return Ok(reply_bytes.into());
        }
        self.reply_bytes = reply_bytes;
        Ok(0)
    }

    /// Sends as much as the kernel accepts. Returns the reply bytes that are sent completely now and were not
    /// before.
    pub(super) fn flush(&mut self, socket: &mut impl Socket) -> io::Result<usize> {
        if !self.is_empty() {
            let sent = send(socket, &self.ciphertext)?;
            self.ciphertext.drain(..sent);
        }
        if !self.is_empty() {
            return Ok(0);
        }
        // An idle client owns no buffer.
        self.ciphertext = Vec::new();
        Ok(mem::take(&mut self.reply_bytes).into())
    }

    /// Stops counting the replies in it. Their record is still sent: a partial record would break the stream.
    pub(super) fn forget_replies(&mut self) {
        self.reply_bytes = 0;
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Returns how many bytes the kernel accepts.
fn send(socket: &mut impl Socket, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(0) => break,
            Ok(n) => sent += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
