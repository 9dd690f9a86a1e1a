//! Ciphertext that waits for the kernel, and the reply bytes that are in it.

use std::io;
use std::mem;

use crate::connection::Socket;

/// The ciphertext of at most one record of replies, and what TLS itself has to say.
///
/// The count of reply bytes lives and ends with the ciphertext that holds them, so no path can drop the
/// one and keep the other.
#[derive(Debug, Default)]
pub(super) struct Output {
    ciphertext: Vec<u8>,
    reply_bytes: u16,
}

impl Output {
    /// The kernel has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.ciphertext.is_empty()
    }

    /// Bytes of replies that are in it.
    pub(super) fn reply_bytes(&self) -> usize {
        self.reply_bytes.into()
    }

    /// Bytes of memory.
    pub(super) fn capacity(&self) -> usize {
        self.ciphertext.capacity()
    }

    /// Where TLS puts what it has to say.
    pub(super) fn ciphertext(&mut self) -> &mut Vec<u8> {
        &mut self.ciphertext
    }

    /// Sends a record with `reply_bytes` of replies, `ciphertext`; keeps what the kernel does not take.
    /// Returns the bytes of replies that the kernel has.
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

    /// Sends what there is, as far as the kernel takes it. Returns the bytes of replies that the kernel has
    /// now and did not have before.
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

    /// The replies in it do not count any more. Their record still goes out: half of one would spoil
    /// what follows.
    pub(super) fn forget_replies(&mut self) {
        self.reply_bytes = 0;
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Returns how many of the bytes the kernel takes.
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
