//! What lies between a client's socket and its messages: nothing, TLS, or first bytes of which it
//! is not known yet what they are.

use std::io;

use crate::admission::proxy;
use crate::connection::Socket;
use crate::tls::Session;

/// The most bytes that are held of a PROXY header, which can be the longest of what comes first.
pub const MAX_FIRST: usize = proxy::MOST_V2;

/// What lies between a socket and messages. It is no socket around the socket, since for most clients
/// there is nothing: one word then.
#[derive(Debug, Default)]
pub struct Channel(Option<Box<Layer>>);

#[derive(Debug, Default)]
struct Layer {
    transport: Transport,
    /// Messages are not looked for yet.
    opening: Option<Opening>,
}

#[derive(Debug, Default)]
enum Transport {
    #[default]
    Tcp,
    Tls(Box<Session>),
    /// Bytes that are sent as they are, before the end.
    Farewell(&'static [u8]),
}

/// What has to come, or to become clear, before messages are looked for.
#[derive(Debug)]
struct Opening {
    /// What has come so far.
    bytes: Vec<u8>,
    /// When that began, in the loop's milliseconds.
    since_ms: u32,
    expects: Expected,
    /// No more will come.
    is_whole: bool,
    /// The loop has been told of its deadline.
    is_timed: bool,
}

/// What a client has to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Messages.
    Messages,
    /// A TLS handshake.
    Tls,
    /// A PROXY header, and then what else is due.
    Proxy,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of messages.
    pub bytes: usize,
    /// Bytes that came over the wire for these.
    pub wire_bytes: usize,
    /// What another read would bring.
    pub next: Next,
}

/// What another read would bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Perhaps more.
    More,
    /// Nothing: the socket was empty at that moment.
    Drained,
    /// Nothing ever: this was the end of the input.
    End,
}

impl Taken {
    /// The end of the input.
    pub const END: Self = Self {
        bytes: 0,
        wire_bytes: 0,
        next: Next::End,
    };

    /// What one read of `asked` bytes brought.
    fn plain(bytes: usize, asked: usize) -> Self {
        let next = match bytes {
            0 => Next::End,
            bytes if bytes < asked => Next::Drained,
            _ => Next::More,
        };
        let wire_bytes = bytes;
        Self {
            bytes,
            wire_bytes,
            next,
        }
    }
}

impl Channel {
    /// Of a client that has to begin with something, and has `since_ms` on to do so.
    pub fn opening(expects: Expected, since_ms: u32) -> Self {
        Self(Some(Box::new(Layer {
            transport: Transport::Tcp,
            opening: Some(Opening::new(expects, since_ms)),
        })))
    }

    /// Of a client that is told this, and nothing more.
    pub fn farewell(bytes: &'static [u8]) -> Self {
        Self::over(Transport::Farewell(bytes))
    }

    /// TLS from here on.
    pub fn tls(session: Session) -> Self {
        Self::over(Transport::Tls(Box::new(session)))
    }

    fn over(transport: Transport) -> Self {
        let opening = None;
        Self(Some(Box::new(Layer { transport, opening })))
    }

    fn session(&self) -> Option<&Session> {
        match &self.0.as_deref()?.transport {
            Transport::Tls(session) => Some(session),
            Transport::Tcp | Transport::Farewell(_) => None,
        }
    }

    fn first(&self) -> Option<&Opening> {
        self.0.as_deref()?.opening.as_ref()
    }

    /// Messages come over TLS.
    pub fn is_tls(&self) -> bool {
        self.session().is_some()
    }

    /// Reads into `input`, which is as large as [`Workspace`](crate::connection::Workspace) makes it; messages that come
    /// straight from the socket are read `read_bytes` at a time. `scratch` is lent, for ciphertext.
    ///
    /// # Errors
    /// Those of the socket. `UnexpectedEof`: the input was cut off, what had begun is not whole.
    /// `InvalidData`: the client breaks the rules of TLS; the text says how.
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
        // What comes now goes behind what is held.
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

    /// Sends `bytes`, and what is left of earlier ones. Returns how many of these the kernel has, all
    /// that was made of them included; the others are to come again, first.
    pub fn write(
        &mut self,
        socket: &mut impl Socket,
        bytes: &[u8],
        scratch: &mut [u8],
    ) -> io::Result<usize> {
        match self.0.as_deref_mut().map(|layer| &mut layer.transport) {
            None | Some(Transport::Tcp) => socket.write(bytes),
            Some(Transport::Tls(session)) => session.write(socket, bytes, scratch),
            Some(Transport::Farewell(left)) => {
                let n = socket.write(left)?;
                *left = &left[n..];
                Ok(0)
            }
        }
    }

    /// Something of its own is to be sent.
    pub fn has_output(&self) -> bool {
        match self.0.as_deref().map(|layer| &layer.transport) {
            None | Some(Transport::Tcp) => false,
            Some(Transport::Tls(session)) => session.has_output(),
            Some(Transport::Farewell(left)) => !left.is_empty(),
        }
    }

    /// It holds input that it has not looked at.
    pub fn has_unread(&self) -> bool {
        self.session().is_some_and(Session::is_fresh)
    }

    /// The peer would miss a word of farewell.
    pub fn owes_farewell(&self) -> bool {
        self.session().is_some_and(Session::owes_close_notify)
    }

    /// Tells the peer that nothing more will be sent. What comes from now on is not looked at.
    ///
    /// # Errors
    /// `WouldBlock`: the kernel takes nothing; to be called again when it does.
    pub fn end(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        if let Some(Transport::Tls(session)) = self.0.as_deref_mut().map(|it| &mut it.transport) {
            session.send_close_notify(socket)?;
        }
        self.0 = None;
        socket.end()
    }

    /// Replies that are on their way do not count as sent any more.
    pub fn forget_replies(&mut self) {
        if let Some(Transport::Tls(session)) = self.0.as_deref_mut().map(|it| &mut it.transport) {
            session.forget_replies();
        }
    }

    /// TLS has failed: nothing can be encrypted any more.
    pub fn is_broken(&self) -> bool {
        self.session().is_some_and(Session::has_failed)
    }

    /// Nothing more is sent.
    pub fn clear_output(&mut self) {
        match self.0.as_deref_mut().map(|layer| &mut layer.transport) {
            None | Some(Transport::Tcp) => {}
            Some(Transport::Tls(session)) => session.clear_output(),
            Some(Transport::Farewell(left)) => *left = &[],
        }
    }

    /// The client's name by its certificate.
    pub fn client_name(&self) -> Option<&str> {
        self.session()?.client_name()
    }

    /// A TLS handshake is under way.
    pub fn is_handshaking(&self) -> bool {
        self.session().is_some_and(Session::is_handshaking)
    }

    /// What has to come first, if anything has.
    pub fn expects(&self) -> Option<Expected> {
        Some(self.first()?.expects)
    }

    /// Keeps the first bytes until more have come. Whether that can be: after the end of the input
    /// it cannot.
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

    /// What has come first is messages, or nothing that is wanted: gives back those bytes of it that were held.
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

    /// Since when something is due that has not come: what, and since when in the loop's milliseconds.
    pub fn awaits(&self) -> Option<(Expected, u32)> {
        if let Some(opening) = self.first() {
            return Some((opening.expects, opening.since_ms));
        }
        let since_ms = self.session()?.handshake_since()?;
        Some((Expected::Tls, since_ms))
    }

    /// Since when first bytes are held that may be several things, each time that begins; in the loop's milliseconds.
    pub fn begins_to_wait(&mut self) -> Option<u32> {
        let opening = self.0.as_deref_mut()?.opening.as_mut()?;
        let begins = opening.expects == Expected::Messages && !opening.is_timed;
        begins.then(|| {
            opening.is_timed = true;
            opening.since_ms
        })
    }

    /// Has that time begin anew.
    pub fn wait_anew(&mut self, now_ms: u32) {
        let layer = self.0.as_deref_mut();
        if let Some(opening) = layer.and_then(|layer| layer.opening.as_mut()) {
            opening.since_ms = now_ms;
            opening.is_timed = false;
        }
    }

    /// Bytes of memory that it holds, beside what the library does.
    pub fn held_bytes(&self) -> usize {
        let first = self.first().map_or(0, |opening| opening.bytes.capacity());
        first + self.session().map_or(0, Session::held_bytes)
    }
}

impl Opening {
    fn new(expects: Expected, since_ms: u32) -> Self {
        Self {
            bytes: Vec::new(),
            since_ms,
            expects,
            is_whole: false,
            is_timed: false,
        }
    }

    /// Puts what is held before what a read has `taken`, which lies behind it in `input`, unless the read brought nothing.
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
