//! The result of reading a socket through a layer such as TLS.

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of messages.
    pub bytes: usize,
    /// Bytes received over the wire for these.
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
    /// Nothing: the input has ended.
    End,
}

impl Taken {
    /// The result of a plain read of at most `asked` bytes.
    pub fn plain(bytes: usize, asked: usize) -> Self {
        let next = match bytes {
            0 => Next::End,
            bytes if bytes < asked => Next::Drained,
            _ => Next::More,
        };
        Self { bytes, wire_bytes: bytes, next }
    }
}
