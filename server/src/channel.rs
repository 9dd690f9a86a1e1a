//! The channel between a client's socket and its messages: plain TCP, TLS, or first bytes that are not
//! identified yet.

use std::io;

use net::Socket;

use crate::admission::{Expected, proxy};
use crate::taken::{Next, Taken};
use crate::tls::Session;

/// The most bytes of a PROXY header that are held. No other first bytes can be longer.
pub const MAX_FIRST: usize = proxy::MAX_V2;

/// What lies between a socket and its messages. It does not wrap the socket: for most clients there is no
/// layer, and the channel is one word.
#[derive(Debug, Default)]
pub struct Channel(Option<Box<Layer>>);

#[derive(Debug, Default)]
struct Layer {
    transport: Transport,
    /// While this is set, the input is not searched for messages.
    opening: Option<Opening>,
}

#[derive(Debug, Default)]
enum Transport {
    #[default]
    Tcp,
    Tls(Box<Session>),
    /// A TLS alert to a client of a server without TLS, as far as it is not sent.
    Alert(&'static [u8]),
}

/// What must arrive, or be identified, before the input is searched for messages.
#[derive(Debug)]
struct Opening {
    /// The bytes held so far.
    bytes: Vec<u8>,
    /// When it began, in the loop's milliseconds.
    since_ms: u32,
    expects: Expected,
    /// The input has ended.
    is_whole: bool,
    /// The loop knows its deadline.
    is_timed: bool,
}

impl Channel {
    /// A channel that must begin with `expects`. Its timeout counts from `since_ms`.
    pub fn new(expects: Expected, since_ms: u32) -> Self {
        if expects == Expected::Messages {
            return Self(None);
        }
        Self(Some(Box::new(Layer {
            transport: Transport::Tcp,
            opening: Some(Opening::new(expects, since_ms)),
        })))
    }

    /// A channel that sends this TLS alert and nothing more.
    pub fn alert(record: &'static [u8]) -> Self {
        Self::over(Transport::Alert(record))
    }

    /// A TLS channel.
    pub fn tls(session: Session) -> Self {
        Self::over(Transport::Tls(Box::new(session)))
    }

    fn over(transport: Transport) -> Self {
        let opening = None;
        Self(Some(Box::new(Layer { transport, opening })))
    }

    fn transport(&self) -> Option<&Transport> {
        Some(&self.0.as_deref()?.transport)
    }

    fn transport_mut(&mut self) -> Option<&mut Transport> {
        Some(&mut self.0.as_deref_mut()?.transport)
    }

    fn session(&self) -> Option<&Session> {
        match self.transport()? {
            Transport::Tls(session) => Some(session),
            Transport::Tcp | Transport::Alert(_) => None,
        }
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        match self.transport_mut()? {
            Transport::Tls(session) => Some(session),
            Transport::Tcp | Transport::Alert(_) => None,
        }
    }

    fn first(&self) -> Option<&Opening> {
        self.0.as_deref()?.opening.as_ref()
    }

    /// Messages come over TLS.
    pub fn is_tls(&self) -> bool {
        self.session().is_some()
    }

    /// Reads into `input`, whose size [`Buffers`](crate::connection::Buffers) chooses. A plain read
    /// takes at most `read_bytes`. `scratch` is a buffer for ciphertext.
    ///
    /// # Errors
    /// Those of the socket. `UnexpectedEof`: the input was cut off, and an unfinished message is
    /// incomplete. `InvalidData`: a TLS error; its text says which.
    pub fn read(
        &mut self,
        socket: &mut impl Socket,
        input: &mut [u8],
        read_bytes: usize,
        scratch: &mut [u8],
    ) -> io::Result<Taken> {
        let Some(layer) = self.0.as_deref_mut() else {
            let bytes = socket.read(&mut input[..read_bytes])?;
            return Ok(Taken::plain(bytes, read_bytes));
        };
        // New input is placed after the held bytes.
        let held = layer.opening.as_ref().map_or(0, |it| it.bytes.len());
        let mut taken = if let Transport::Tls(session) = &mut layer.transport {
            session.read(socket, &mut input[held..], scratch)?
        } else {
            let rest = &mut input[held..read_bytes.max(MAX_FIRST)];
            Taken::plain(socket.read(rest)?, rest.len())
        };
        if let Some(opening) = &mut layer.opening {
            opening.give_back(&mut taken, input);
        }
        Ok(taken)
    }

    /// Sends `bytes`, after what is left of earlier ones. Returns how many of these the kernel has taken
    /// completely, ciphertext included. The caller must pass the others again, first.
    pub fn write(
        &mut self,
        socket: &mut impl Socket,
        bytes: &[u8],
        scratch: &mut [u8],
    ) -> io::Result<usize> {
        match self.transport_mut() {
            None | Some(Transport::Tcp) => socket.write(bytes),
            Some(Transport::Tls(session)) => session.write(socket, bytes, scratch),
            Some(Transport::Alert(left)) => {
                let n = socket.write(left)?;
                *left = &left[n..];
                Ok(0)
            }
        }
    }

    /// The channel has output of its own to send.
    pub fn has_output(&self) -> bool {
        match self.transport() {
            None | Some(Transport::Tcp) => false,
            Some(Transport::Tls(session)) => session.has_output(),
            Some(Transport::Alert(left)) => !left.is_empty(),
        }
    }

    /// TLS holds input that it has not read yet.
    pub fn has_unread(&self) -> bool {
        self.session().is_some_and(Session::is_fresh)
    }

    /// A `close_notify` must be sent before the connection is closed.
    pub fn owes_close_notify(&self) -> bool {
        self.session().is_some_and(Session::owes_close_notify)
    }

    /// Shuts down the sending side, after a `close_notify` if TLS is used. Later input is not interpreted.
    ///
    /// # Errors
    /// `WouldBlock`: the kernel takes nothing; call again once the socket is writable.
    pub fn end(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        if let Some(session) = self.session_mut() {
            session.send_close_notify(socket)?;
        }
        self.0 = None;
        socket.end()
    }

    /// Replies in transit no longer count as sent.
    pub fn forget_replies(&mut self) {
        if let Some(session) = self.session_mut() {
            session.forget_replies();
        }
    }

    /// TLS has failed, so nothing can be encrypted.
    pub fn is_broken(&self) -> bool {
        self.session().is_some_and(Session::has_failed)
    }

    /// Drops all pending output.
    pub fn clear_output(&mut self) {
        match self.transport_mut() {
            None | Some(Transport::Tcp) => {}
            Some(Transport::Tls(session)) => session.clear_output(),
            Some(Transport::Alert(left)) => *left = &[],
        }
    }

    /// The client's name in its certificate.
    pub fn client_name(&self) -> Option<&str> {
        self.session()?.client_name()
    }

    /// A TLS handshake is in progress.
    pub fn is_handshaking(&self) -> bool {
        self.session().is_some_and(Session::is_handshaking)
    }

    /// What must come first, if it is pending.
    pub fn expects(&self) -> Option<Expected> {
        Some(self.first()?.expects)
    }

    /// Holds the first bytes until more arrive. Returns `false` after the end of the input, since no more
    /// can.
    pub fn hold(&mut self, bytes: &[u8], now_ms: u32) -> bool {
        debug_assert!(bytes.len() < MAX_FIRST);
        let layer = self.0.get_or_insert_default();
        let messages = || Opening::new(Expected::Messages, now_ms);
        let opening = layer.opening.get_or_insert_with(messages);
        if !opening.is_whole {
            opening.bytes = bytes.to_vec();
        }
        !opening.is_whole
    }

    /// Ends the opening: the first bytes are messages, or are not accepted. Returns those that were held.
    pub fn finish_opening(&mut self) -> Vec<u8> {
        let Some(layer) = self.0.as_deref_mut() else {
            return Vec::new();
        };
        let opening = layer.opening.take();
        if matches!(layer.transport, Transport::Tcp) {
            self.0 = None;
        }
        opening.map_or_else(Vec::new, |opening| opening.bytes)
    }

    /// What is pending, and since when in the loop's milliseconds.
    pub fn awaits(&self) -> Option<(Expected, u32)> {
        if let Some(opening) = self.first() {
            return Some((opening.expects, opening.since_ms));
        }
        let since_ms = self.session()?.handshake_since()?;
        Some((Expected::Tls, since_ms))
    }

    /// When ambiguous first bytes began to be held, once for each time that they begin; in the loop's
    /// milliseconds.
    pub fn take_hold_start(&mut self) -> Option<u32> {
        let opening = self.0.as_deref_mut()?.opening.as_mut()?;
        let begins = opening.expects == Expected::Messages && !opening.is_timed;
        begins.then(|| {
            opening.is_timed = true;
            opening.since_ms
        })
    }

    /// Restarts that time.
    pub fn restart_hold(&mut self, now_ms: u32) {
        let layer = self.0.as_deref_mut();
        if let Some(opening) = layer.and_then(|layer| layer.opening.as_mut()) {
            opening.since_ms = now_ms;
            opening.is_timed = false;
        }
    }

    /// Bytes of memory that it holds, without those of the TLS library.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        let first = self.first().map_or(0, |opening| opening.bytes.capacity());
        first + self.session().map_or(0, Session::held_bytes)
    }
}

impl Opening {
    fn new(expects: Expected, since_ms: u32) -> Self {
        Self { bytes: Vec::new(), since_ms, expects, is_whole: false, is_timed: false }
    }

    /// Puts the held bytes before those that a read has `taken`, which follow them in `input`. If the read
    /// brought nothing, they stay held.
    fn give_back(&mut self, taken: &mut Taken, input: &mut [u8]) {
        let held = self.bytes.len();
        let is_end = taken.next == Next::End;
        if taken.bytes == 0 && !is_end {
            return;
        }
        if is_end && held > 0 {
            self.is_whole = true;
            taken.next = Next::More;
        }
        input[..held].copy_from_slice(&self.bytes);
        taken.bytes += held;
        self.bytes = Vec::new();
    }
}
