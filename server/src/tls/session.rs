//! One client's TLS, over rustls's unbuffered interface: whoever is idle owns no buffer, and what was
//! encrypted counts as sent when the kernel has taken it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::mem;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    AppDataRecord, ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus,
};

use super::clients;
use super::output::Output;
use crate::channel::{Next, Taken};
use crate::connection::Socket;

/// The most bytes of input that cannot be made anything of yet: more than a record has
/// (RFC 8446, section 5.2), and enough for a client's certificates.
const MAX_HELD: usize = 32 << 10;

/// What one record holds of messages at most (RFC 8446, section 5.1).
const MAX_PLAINTEXT: usize = 16 << 10;

/// The most bytes that wait for the kernel: a handshake's, or a record of replies with what the
/// library puts before it.
const MAX_OUTPUT: usize = 64 << 10;

/// The most bytes that a session holds, beside what the library keeps of it.
pub const MAX_HELD_BYTES: usize = MAX_HELD + MAX_OUTPUT;

/// A session, from the client's hello to its end.
pub struct Session {
    tls: UnbufferedServerConnection,
    /// Input that nothing can be made of yet: a part of a record or of the handshake.
    held: Vec<u8>,
    /// What the kernel has not taken yet.
    output: Output,
    /// Nothing was read yet but what came before the session began.
    is_fresh: bool,
    /// When the handshake began, in the loop's milliseconds; `None` once it is done.
    handshake_since: Option<u32>,
    /// The client has sent its `close_notify`.
    input_ended: bool,
    /// The server has sent its own, or can send nothing.
    output_ended: bool,
    /// Why it cannot go on.
    failure: Option<Box<str>>,
    /// The name in the client's certificate. It is set before the first message is given out.
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

    /// Reads from the socket, as much as `scratch` holds, and decrypts into `input`, which is as long.
    /// What TLS itself has to say is sent at once, as far as the kernel takes it.
    ///
    /// # Errors
    /// As [`Channel::read`](crate::channel::Channel::read) says.
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
            return Ok(Taken::END);
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
        Ok(Taken {
            bytes,
            wire_bytes,
            next,
        })
    }

    /// Decrypts the records that are whole; returns how many bytes of messages these held.
    fn process(&mut self, wire: &mut [u8], input: &mut [u8]) -> usize {
        let (mut at, mut bytes) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut wire[at..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        let AppDataRecord {
                            discard: more,
                            payload,
                            ..
                        } = record;
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
                    // Once more, and no further, for the alert that tells the client.
                    let state = self.tls.process_tls_records(&mut wire[at..]).state;
                    if let Ok(ConnectionState::EncodeTlsData(alert)) = state {
                        encode(alert, self.output.ciphertext());
                    }
                    break;
                }
                // More input is needed, be it for messages or for the handshake.
                Ok(_) => {
                    at += discard;
                    break;
                }
            }
            at += discard;
            // Messages may follow in the same flight, and then something that ends the session.
            self.note_handshake();
        }
        self.note_handshake();
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

    /// Sets the client's name as soon as the handshake is done.
    fn note_handshake(&mut self) {
        if self.handshake_since.is_some() && !self.tls.is_handshaking() {
            self.handshake_since = None;
            self.client_name = clients::name(self.tls.peer_certificates());
        }
    }

    /// Sends what TLS itself has to say, unless replies are in front of it: the next write sends both.
    ///
    /// A socket that fails is not reported here, since the messages that were just read count all the
    /// same. The next read or write finds it: with the socket's error gone, the input ends without a
    /// `close_notify`, which drops an unfinished message as the error would.
    fn flush_own(&mut self, socket: &mut impl Socket) {
        if self.output.reply_bytes() > 0 {
            return;
        }
        if self.output_ended || self.output.flush(socket).is_err() {
            self.clear_output();
        }
    }

    /// Encrypts and sends `bytes`, of which the first may be on their way already. Returns how many
    /// are out: the kernel has the whole of the records they are in.
    pub fn write(
        &mut self,
        socket: &mut impl Socket,
        bytes: &[u8],
        scratch: &mut [u8],
    ) -> io::Result<usize> {
        debug_assert!(bytes.is_empty() || self.failure.is_none());
        debug_assert!(self.output.reply_bytes() <= bytes.len());
        let mut sent = self.output.flush(socket)?;
        // A slice beyond the end is none: a wrong count must not end the server.
        while let Some(rest) = bytes.get(sent..)
            && !rest.is_empty()
            && self.output.is_empty()
        {
            let plaintext = &rest[..rest.len().min(MAX_PLAINTEXT)];
            let len = self.encrypt(plaintext, scratch)?;
            sent += self
                .output
                .send_replies(socket, &scratch[..len], plaintext.len() as u16)?;
            debug_assert!(self.output.capacity() <= MAX_OUTPUT);
        }
        Ok(sent.min(bytes.len()))
    }

    /// Makes one record of the plaintext, in `out`; returns its length.
    fn encrypt(&mut self, plaintext: &[u8], out: &mut [u8]) -> io::Result<usize> {
        debug_assert!(self.output.is_empty());
        loop {
            // What is held belongs to the input that the library has begun to look at.
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.held);
            debug_assert_eq!(discard, 0, "nothing has come since it was last looked at");
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

    /// Sends a `close_notify`: nothing follows it.
    ///
    /// # Errors
    /// `WouldBlock`: the kernel takes nothing; to be called again when it does.
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

    /// Nothing more is sent.
    pub fn clear_output(&mut self) {
        self.output.clear();
        self.output_ended = true;
    }

    /// The replies that are on their way do not count any more.
    pub fn forget_replies(&mut self) {
        self.output.forget_replies();
    }

    /// TLS has failed: no reply can be encrypted any more. An alert may wait to be sent.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Something that is made already is to be sent.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// What came before the session began has not been looked at.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// The handshake is done, and a `close_notify` is still to be sent.
    pub fn owes_close_notify(&self) -> bool {
        !self.is_handshaking() && !self.output_ended && self.failure.is_none()
    }

    /// The handshake is not done.
    pub fn is_handshaking(&self) -> bool {
        self.handshake_since.is_some()
    }

    /// When the handshake began, in the loop's milliseconds, if it is still to be done.
    pub fn handshake_since(&self) -> Option<u32> {
        self.handshake_since.filter(|_| self.failure.is_none())
    }

    /// The client's name by its certificate.
    pub fn client_name(&self) -> Option<&str> {
        self.client_name.as_deref()
    }

    /// Bytes of memory for what waits to be sent or looked at.
    pub fn held_bytes(&self) -> usize {
        self.held.capacity() + self.output.capacity()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are nobody's business.
        f.debug_struct("Session")
            .field("handshake_since", &self.handshake_since)
            .field("client_name", &self.client_name)
            .finish_non_exhaustive()
    }
}

/// Appends what the library has to say.
fn encode(mut data: EncodeTlsData<'_, impl Sized>, output: &mut Vec<u8>) {
    let own = output.len();
    if let Err(EncodeError::InsufficientSize(needs)) = data.encode(&mut []) {
        output.resize(own + needs.required_size, 0);
        // It was told how much it needs.
        _ = data.encode(&mut output[own..]);
    }
}
