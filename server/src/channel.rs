//! What lies between a client's socket and its messages: nothing, TLS, or first bytes of which it
//! is not known yet what they are.

use std::io;

use crate::connection::Socket;
use crate::tls::Session;

/// What lies between a socket and messages. It is no socket around the socket, since for most clients
/// there is nothing: one word then.
#[derive(Debug, Default)]
pub struct Channel(Option<Box<Layer>>);

#[derive(Debug)]
enum Layer {
    Opening(Opening),
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
        Self(Some(Box::new(Layer::Opening(Opening {
            bytes: Vec::new(),
            since_ms,
            expects,
            is_whole: false,
        }))))
    }

    /// Of a client that is told this, and nothing more.
    pub fn farewell(bytes: &'static [u8]) -> Self {
        Self(Some(Box::new(Layer::Farewell(bytes))))
    }

    /// There is nothing: messages come straight from the socket.
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// TLS from here on.
    pub fn tls(session: Session) -> Self {
        Self(Some(Box::new(Layer::Tls(Box::new(session)))))
    }

    /// Reads into `input`, which is as large as [`Workspace`](crate::connection::Workspace) makes it.
    /// `scratch` is lent, as large.
    ///
    /// # Errors
    /// Those of the socket. `UnexpectedEof`: the input was cut off, what had begun is not whole.
    /// `InvalidData`: the client breaks the rules of TLS; the text says how.
    pub fn read(
        &mut self,
        socket: &mut impl Socket,
        input: &mut [u8],
        scratch: &mut [u8],
    ) -> io::Result<Taken> {
        match self.0.as_deref_mut() {
            None | Some(Layer::Farewell(_)) => {
                let bytes = socket.read(input)?;
                Ok(Taken::plain(bytes, input.len()))
            }
            Some(Layer::Opening(opening)) => opening.read(socket, input),
            Some(Layer::Tls(session)) => session.read(socket, input, scratch),
        }
    }

    /// Sends `bytes`, and what is left of earlier ones. Returns how many of these the kernel has, all
    /// that was made of them included; the others are to come again, first.
    pub fn write(
        &mut self,
        socket: &mut impl Socket,
        bytes: &[u8],
        scratch: &mut [u8],
    ) -> io::Result<usize> {
        match self.0.as_deref_mut() {
            None | Some(Layer::Opening(_)) => socket.write(bytes),
            Some(Layer::Tls(session)) => session.write(socket, bytes, scratch),
            Some(Layer::Farewell(left)) => {
                let n = socket.write(left)?;
                *left = &left[n..];
                Ok(0)
            }
        }
    }

    /// Something of its own is to be sent.
    pub fn has_output(&self) -> bool {
        match self.0.as_deref() {
            None | Some(Layer::Opening(_)) => false,
            Some(Layer::Tls(session)) => session.has_output(),
            Some(Layer::Farewell(left)) => !left.is_empty(),
        }
    }

    /// It holds input that it has not looked at.
    pub fn has_unread(&self) -> bool {
        matches!(self.0.as_deref(), Some(Layer::Tls(session)) if session.is_fresh())
    }

    /// The peer would miss a word of farewell.
    pub fn owes_farewell(&self) -> bool {
        matches!(self.0.as_deref(), Some(Layer::Tls(session)) if session.owes_close_notify())
    }

    /// Tells the peer that nothing more will be sent. What comes from now on is not looked at.
    ///
    /// # Errors
    /// `WouldBlock`: the kernel takes nothing; to be called again when it does.
    pub fn end(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        if let Some(Layer::Tls(session)) = self.0.as_deref_mut() {
            session.send_close_notify(socket)?;
        }
        self.0 = None;
        socket.end()
    }

    /// Replies that are on their way do not count as sent any more.
    pub fn forget_replies(&mut self) {
        if let Some(Layer::Tls(session)) = self.0.as_deref_mut() {
            session.forget_replies();
        }
    }

    /// TLS has failed: nothing can be encrypted any more.
    pub fn is_broken(&self) -> bool {
        matches!(self.0.as_deref(), Some(Layer::Tls(session)) if session.has_failed())
    }

    /// Nothing more is sent.
    pub fn clear_output(&mut self) {
        match self.0.as_deref_mut() {
            None | Some(Layer::Opening(_)) => {}
            Some(Layer::Tls(session)) => session.clear_output(),
            Some(Layer::Farewell(left)) => *left = &[],
        }
    }

    /// The client's name by its certificate.
    pub fn client_name(&self) -> Option<&str> {
        match self.0.as_deref() {
            Some(Layer::Tls(session)) => session.client_name(),
            _ => None,
        }
    }

    /// A TLS handshake is under way.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.0.as_deref(), Some(Layer::Tls(session)) if session.is_handshaking())
    }

    /// What has to come first, if anything has.
    pub fn expects(&self) -> Option<Expected> {
        match self.0.as_deref() {
            Some(Layer::Opening(opening)) => Some(opening.expects),
            _ => None,
        }
    }

    /// Keeps the first bytes until more have come. Whether that can be: after the end of the input
    /// it cannot.
    pub fn hold(&mut self, bytes: &[u8], now_ms: u32) -> bool {
        if self.is_plain() {
            *self = Self::opening(Expected::Messages, now_ms);
        }
        match self.0.as_deref_mut() {
            Some(Layer::Opening(opening)) if !opening.is_whole => {
                opening.bytes = bytes.to_vec();
                true
            }
            _ => false,
        }
    }

    /// What has come first is messages: gives back those bytes of it that were held.
    pub fn finish_opening(&mut self) -> Vec<u8> {
        match self.0.take().map(|layer| *layer) {
            Some(Layer::Opening(opening)) => opening.bytes,
            other => {
                self.0 = other.map(Box::new);
                Vec::new()
            }
        }
    }

    /// Since when something is due that has not come: what, and since when in the loop's milliseconds.
    pub fn awaits(&self) -> Option<(Expected, u32)> {
        match self.0.as_deref()? {
            Layer::Opening(opening) => Some((opening.expects, opening.since_ms)),
            Layer::Tls(session) => session.handshake_since().map(|ms| (Expected::Tls, ms)),
            Layer::Farewell(_) => None,
        }
    }

    /// Bytes of memory that it holds, beside what the library does.
    pub fn held_bytes(&self) -> usize {
        match self.0.as_deref() {
            None | Some(Layer::Farewell(_)) => 0,
            Some(Layer::Opening(opening)) => opening.bytes.capacity(),
            Some(Layer::Tls(session)) => session.held_bytes(),
        }
    }
}

impl Opening {
    /// What has come so far, and what comes now.
    fn read(&mut self, socket: &mut impl Socket, input: &mut [u8]) -> io::Result<Taken> {
        let held = self.bytes.len();
        input[..held].copy_from_slice(&self.bytes);
        let rest = &mut input[held..];
        let mut taken = Taken::plain(socket.read(rest)?, rest.len());
        if taken.next == Next::End && held > 0 {
            self.is_whole = true;
            taken.next = Next::More;
        }
        taken.bytes += held;
        self.bytes = Vec::new();
        Ok(taken)
    }
}
