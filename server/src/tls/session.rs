//! The TLS session of one client, over rustls's unbuffered interface. An idle session owns no buffer.
//! Encrypted bytes count as sent when the kernel has accepted them.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::mem;

use net::Socket;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    AppDataRecord, ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus,
};

use super::clients;
use super::output::Output;
use crate::taken::{Next, Taken};

/// The maximum size of incomplete input: more than one record (RFC 8446, section 5.2), and enough for a
/// client's certificates.
const MAX_HELD: usize = 32 << 10;

/// The maximum plaintext of one record (RFC 8446, section 5.1).
const MAX_PLAINTEXT: usize = 16 << 10;

/// The maximum size of unsent output: that of a handshake, or a record of replies with what the library puts
/// before it.
const MAX_OUTPUT: usize = 64 << 10;

/// The maximum memory of a session without the library's own state, in bytes.
pub const MAX_HELD_BYTES: usize = MAX_HELD + MAX_OUTPUT;

/// A TLS session, from the `ClientHello` to its end.
pub struct Session {
    tls: UnbufferedServerConnection,
    /// Incomplete input: part of a record or of the handshake.
    held: Vec<u8>,
    /// Ciphertext that the kernel has not accepted yet.
    output: Output,
    /// Whether only the initial bytes were received, and they are not processed yet.
    is_fresh: bool,
    /// When the handshake began, in the loop's milliseconds. `None` after it.
    handshake_since: Option<u32>,
    /// Whether the client has sent its `close_notify`.
    input_ended: bool,
    /// Whether the server has sent its `close_notify`, or cannot send any more.
    output_ended: bool,
    /// Why the session has failed.
    failure: Option<Box<str>>,
    /// The name in the client's certificate. It is set before the first message is returned.
    client_name: Option<Box<str>>,
}

impl Session {
    pub(super) fn new(tls: UnbufferedServerConnection, held: Vec<u8>, since_ms: u32) -> Self {
        Self {
            tls,
            is_fresh: !held.is_empty(),
            held,
            output: Output::default(),
            handshake_since: Some(since_ms),
            input_ended: false,
            output_ended: false,
            failure: None,
            client_name: None,
        }
    }

    /// Reads up to `scratch.len()` bytes from the socket and decrypts into `input`, which is as long. Output
    /// of TLS itself is sent at once, as far as the kernel accepts it.
    ///
    /// # Errors
    /// See [`Channel::read`](crate::channel::Channel::read).
    pub fn read(
        &mut self,
        socket: &mut impl Socket,
        input: &mut [u8],
        scratch: &mut [u8],
    ) -> io::Result<Taken> {
        debug_assert!(input.len() >= scratch.len() && scratch.len() > MAX_HELD);
        if let Some(failure) = &self.failure {
            let failure = failure.to_string();
            return Err(io::Error::new(io::ErrorKind::InvalidData, failure));
        }
        if self.input_ended {
            return Ok(Taken::plain(0, 0));
        }
        let (mut filled, mut next) = (self.held.len(), Next::More);
        let mut wire_bytes = filled;
        scratch[..filled].copy_from_slice(&self.held);
        if !mem::take(&mut self.is_fresh) {
            wire_bytes = socket.read(&mut scratch[filled..])?;
            filled += wire_bytes;
            if wire_bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if filled < scratch.len() {
                next = Next::Drained;
            }
        }
        let bytes = self.process(&mut scratch[..filled], input);
        self.flush_own(socket);
        if self.input_ended || self.failure.is_some() {
            next = Next::More;
        }
        Ok(Taken { bytes, wire_bytes, next })
    }

    /// Decrypts all complete records. Returns the number of bytes of plaintext.
    fn process(&mut self, wire: &mut [u8], input: &mut [u8]) -> usize {
        let (mut at, mut bytes) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut wire[at..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        let AppDataRecord { discard: more, payload, .. } = record;
                        discard += more;
                        input[bytes..bytes + payload.len()].copy_from_slice(payload);
                        bytes += payload.len();
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, self.output.ciphertext()),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.input_ended = true,
                Err(error) => {
                    self.failure = Some(clients::describe(&error).into());
                    at += discard;
                    // One more call produces the alert for the client.
                    let state = self.tls.process_tls_records(&mut wire[at..]).state;
                    if let Ok(ConnectionState::EncodeTlsData(alert)) = state {
                        encode(alert, self.output.ciphertext());
                    }
                    break;
                }
                // More input is needed, for messages or for the handshake.
                Ok(_) => {
                    at += discard;
                    break;
                }
            }
            at += discard;
            // Messages may follow in the same flight, and then an error that ends the session.
            self.on_handshake();
        }
        self.on_handshake();
        if self.input_ended && self.is_handshaking() && self.failure.is_none() {
            self.failure = Some("it broke the handshake off".into());
        }
        self.held = wire[at..].to_vec();
        if self.held.len() > MAX_HELD && self.failure.is_none() {
            self.failure = Some("its handshake is too long".into());
        }
        if self.failure.is_some() {
            self.held = Vec::new();
        }
        debug_assert!(self.held_bytes() <= MAX_HELD_BYTES);
        debug_assert!(bytes == 0 || self.handshake_since.is_none());
        bytes
    }

    /// Sets the client's name as soon as the handshake is complete.
    fn on_handshake(&mut self) {
        if self.handshake_since.is_some() && !self.tls.is_handshaking() {
            self.handshake_since = None;
            self.client_name = clients::name(self.tls.peer_certificates());
        }
    }

    /// Sends output of TLS itself, unless replies come first: the next write sends both.
    ///
    /// A socket error is not reported here, since the messages that were just read are valid. The next read
    /// or write detects it. If the socket's error has been consumed, the input ends without a `close_notify`,
    /// which drops an unfinished message as the error would.
    fn flush_own(&mut self, socket: &mut impl Socket) {
        if self.output.reply_bytes() > 0 {
            return;
        }
        if self.output_ended || self.output.flush(socket).is_err() {
            self.clear_output();
        }
    }

    /// Encrypts and sends `bytes`; the first of them may be in the unsent output already. Returns how many
    /// are sent: those of records that the kernel has accepted completely.
    pub fn write(
        &mut self,
        socket: &mut impl Socket,
        bytes: &[u8],
        scratch: &mut [u8],
    ) -> io::Result<usize> {
        debug_assert!(bytes.is_empty() || self.failure.is_none());
        debug_assert!(self.output.reply_bytes() <= bytes.len());
        let mut sent = self.output.flush(socket)?;
        // `get` avoids a panic: a wrong count must not end the server.
        while let Some(rest) = bytes.get(sent..)
            && !rest.is_empty()
            && self.output.is_empty()
        {
            let plaintext = &rest[..rest.len().min(MAX_PLAINTEXT)];
            let len = self.encrypt(plaintext, scratch)?;
            sent += self.output.send_replies(socket, &scratch[..len], plaintext.len() as u16)?;
            debug_assert!(self.output.capacity() <= MAX_OUTPUT);
        }
        Ok(sent.min(bytes.len()))
    }

    /// Encrypts the plaintext as one record into `out`. Returns its length.
    fn encrypt(&mut self, plaintext: &[u8], out: &mut [u8]) -> io::Result<usize> {
        debug_assert!(self.output.is_empty());
        loop {
            // `held` is the input that the library has already begun to process.
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.held);
            debug_assert_eq!(discard, 0, "no input has arrived since the last call");
            match state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, self.output.ciphertext()),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.input_ended = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let own = self.output.ciphertext().len();
                    out[..own].copy_from_slice(self.output.ciphertext());
                    self.output.clear();
                    let len = traffic.encrypt(plaintext, &mut out[own..]);
                    return Ok(own + len.map_err(io::Error::other)?);
                }
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Sends a `close_notify`, the last record.
    ///
    /// # Errors
    /// `WouldBlock`: the kernel accepts nothing. Call it again when the socket is writable.
    pub fn send_close_notify(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        if self.owes_close_notify() {
            self.output_ended = true;
            let mut record = [0; 256];
            let status = self.tls.process_tls_records(&mut self.held);
            if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
                let len = traffic.queue_close_notify(&mut record);
                let len = len.map_err(io::Error::other)?;
                let ciphertext = self.output.ciphertext();
                ciphertext.extend_from_slice(&record[..len]);
            }
        }
        self.output.flush(socket)?;
        if self.has_output() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    /// Drops all output and sends no more.
    pub fn clear_output(&mut self) {
        self.output.clear();
        self.output_ended = true;
    }

    /// Stops counting the unsent replies.
    pub fn forget_replies(&mut self) {
        self.output.forget_replies();
    }

    /// Whether TLS has failed. Then no reply can be encrypted, but an alert may be unsent.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether there is unsent output.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether the initial bytes are unprocessed.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Whether the handshake is complete and a `close_notify` was not sent yet.
    pub fn owes_close_notify(&self) -> bool {
        !self.is_handshaking() && !self.output_ended && self.failure.is_none()
    }

    /// Whether the handshake is incomplete.
    pub fn is_handshaking(&self) -> bool {
        self.handshake_since.is_some()
    }

    /// When the handshake began, in the loop's milliseconds. `None` after it, or if it has failed.
    pub fn handshake_since(&self) -> Option<u32> {
        self.handshake_since.filter(|_| self.failure.is_none())
    }

    /// The client's name from its certificate.
    pub fn client_name(&self) -> Option<&str> {
        self.client_name.as_deref()
    }

    /// Allocated bytes for incomplete input and unsent output.
    pub fn held_bytes(&self) -> usize {
        self.held.capacity() + self.output.capacity()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys must not be printed.
        f.debug_struct("Session")
            .field("handshake_since", &self.handshake_since)
            .field("client_name", &self.client_name)
            .finish_non_exhaustive()
    }
}

/// Appends output of the library.
fn encode(mut data: EncodeTlsData<'_, impl Sized>, output: &mut Vec<u8>) {
    let own = output.len();
    if let Err(EncodeError::InsufficientSize(needs)) = data.encode(&mut []) {
        output.resize(own + needs.required_size, 0);
        // The buffer has the size that the library has asked for.
        _ = data.encode(&mut output[own..]);
    }
}
