//! Connection with one message out and one reply in, and every error that a server can cause.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::protocol::{Framing, OK};
use common::record;
use tls::Session;

use super::wire::Wire;

/// Maximum length of a reply, in bytes. A conforming server's replies are a tenth of it.
const MAX_REPLY: usize = 1024;

/// How long to wait for the server's FIN after the last reply. Every message is acknowledged by
/// then.
const LEAVE: Duration = Duration::from_secs(1);

/// A connection with at most one unanswered message.
pub(super) struct Connection {
    wire: Wire,
    peer: SocketAddr,
    framing: Framing,
    timeout: Duration,
    /// Whether the socket's read timeout is currently shorter than `timeout`.
    hurried: bool,
    reply: [u8; MAX_REPLY],
}

impl Connection {
    /// `timeout` limits the wait for a whole reply.
    pub(super) fn open(
        socket: TcpStream,
        session: Option<Session>,
        framing: Framing,
        timeout: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            peer: socket.peer_addr()?,
            wire: Wire::open(socket, session, timeout)?,
            framing,
            timeout,
            hurried: false,
            reply: [0; MAX_REPLY],
        })
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Sends `message`, which includes its line end, and waits for the reply `ok`.
    pub(super) fn exchange(&mut self, message: &[u8]) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        self.expect_silence()?;
        if let Err(error) = self.wire.write_all(message) {
            // A server that closed may have sent the reason first.
            return match self.read_reply(deadline) {
                Err(Failure::Unexpected(reply)) => Err(Failure::Unexpected(reply)),
                _ if is_timeout(&error) => Err(Failure::Silent(self.timeout)),
                _ => Err(Failure::Broken(error)),
            };
        }
        self.read_reply(deadline)
    }

    /// Half-closes the connection. Any data after that is an error: no message is unanswered.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let leave = LEAVE.min(self.timeout);
        let closing = self.wire.end();
        let closing = closing.and_then(|()| self.wire.set_patience(leave));
        let unasked = closing.and_then(|()| self.wire.read(&mut self.reply));
        match unasked {
            // Every message is acknowledged, so it does not matter how the connection ends.
            Ok(0) | Err(_) => Ok(()),
            Ok(len) => Err(Failure::Unasked(shown(&self.reply[..len]))),
        }
    }

    /// Checks that no data came since the last reply. It would be taken for the next reply.
    fn expect_silence(&mut self) -> Result<(), Failure> {
        match self.wire.look(&mut self.reply) {
            Ok(0) => Err(Failure::Closed),
            Ok(len) => Err(Failure::Unasked(shown(&self.reply[..len]))),
            // If the connection is broken, the send reports it.
            Err(_) => Ok(()),
        }
    }

    fn read_reply(&mut self, deadline: Instant) -> Result<(), Failure> {
        if self.hurried {
            self.set_patience(self.timeout)?;
            self.hurried = false;
        }
        let mut len = 0;
        let mut is_late = false;
        loop {
            let rest = &mut self.reply[len..];
            // The process may have been stopped (Ctrl-Z, a suspended laptop). Then the deadline has
            // passed, but the reply may be in the socket.
            let read = if is_late { self.wire.look(rest) } else { self.wire.read(rest) };
            match read {
                Ok(0) if len == 0 => return Err(Failure::Closed),
                Ok(0) => return Err(Failure::ClosedWithin(self.half(len))),
                Ok(n) => len += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) && is_late => return Err(self.silent(len)),
                Err(error) if is_timeout(&error) => {
                    is_late = true;
                    continue;
                }
                Err(error) => return Err(Failure::Broken(error)),
            }
            if let Some(verdict) = judge(&self.reply[..len], self.framing) {
                return verdict;
            }
            if len == MAX_REPLY {
                return Err(Failure::Endless(shown(&self.reply)));
            }
            // The deadline covers the whole reply, even if it arrives byte by byte.
            let left = deadline.saturating_duration_since(Instant::now());
            is_late = left.is_zero();
            if !is_late {
                self.set_patience(left)?;
                self.hurried = true;
            }
        }
    }

    fn set_patience(&self, patience: Duration) -> Result<(), Failure> {
        let set = self.wire.set_patience(patience);
        set.map_err(Failure::Broken)
    }

    fn silent(&self, len: usize) -> Failure {
        if len == 0 {
            Failure::Silent(self.timeout)
        } else {
            Failure::SilentWithin(self.timeout, self.half(len))
        }
    }

    fn half(&self, len: usize) -> String {
        shown(&self.reply[..len])
    }
}

/// Whether `received` is exactly the expected reply. `None` while it is a prefix of it.
fn judge(received: &[u8], framing: Framing) -> Option<Result<(), Failure>> {
    let ok = OK.as_bytes();
    match framing {
        Framing::Line | Framing::Nul | Framing::Octet => {
            let last = framing.reply_end().as_bytes().first();
            let end = received.iter().position(|byte| Some(byte) == last)?;
            let (reply, rest) = (&received[..end], &received[end + 1..]);
            Some(match rest {
                _ if reply != ok => Err(Failure::Unexpected(shown(reply))),
                [] => Ok(()),
                rest => Err(Failure::Unasked(shown(rest))),
            })
        }
        Framing::None if received == ok => Some(Ok(())),
        Framing::None if ok.starts_with(received) => None,
        Framing::None => Some(Err(Failure::Unexpected(shown(received)))),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    // The kind of a socket timeout depends on the platform.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// How a server failed to answer `ok`. Its bytes are kept as [`shown`].
#[derive(Debug)]
pub(super) enum Failure {
    Closed,
    ClosedWithin(String),
    Broken(io::Error),
    Silent(Duration),
    SilentWithin(Duration, String),
    Unexpected(String),
    Unasked(String),
    Endless(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the server closed the connection"),
            Self::ClosedWithin(half) => {
                write!(f, "the server closed the connection within a reply, '{half}'")
            }
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Silent(timeout) => write!(f, "no reply within {} s", timeout.as_secs_f64()),
            Self::SilentWithin(timeout, half) => {
                let seconds = timeout.as_secs_f64();
                write!(f, "only part of a reply within {seconds} s, '{half}'")
            }
            Self::Unexpected(reply) => write!(f, "expected the reply '{OK}', got '{reply}'"),
            Self::Unasked(reply) => write!(f, "an unsolicited reply, '{reply}'"),
            Self::Endless(start) => {
                write!(f, "a reply longer than {MAX_REPLY} bytes, '{start}'")
            }
        }?;
        match self {
            // The server sends no reply ends.
            Self::ClosedWithin(half) | Self::SilentWithin(_, half) if half == OK => {
                f.write_str("; does it need -framing none?")
            }
            _ => Ok(()),
        }
    }
}

/// The start of what the server sent, escaped for a terminal like a record.
fn shown(bytes: &[u8]) -> String {
    const MAX_SHOWN: usize = 100;
    record::printable(bytes, MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(received: &str, framing: Framing) -> String {
        match judge(received.as_bytes(), framing) {
            None => "wait".to_owned(),
            Some(Ok(())) => "ok".to_owned(),
            Some(Err(failure)) => failure.to_string(),
        }
    }

    #[test]
    fn only_ok_is_ok() {
        for (received, expected) in [
            ("", "wait"),
            ("o", "wait"),
            ("ok", "wait"),
            ("error log: no", "wait"),
            ("ok\n", "ok"),
            ("\n", "expected the reply 'ok', got ''"),
            ("okay\n", "expected the reply 'ok', got 'okay'"),
            ("ok\r\n", r"expected the reply 'ok', got 'ok\x0d'"),
            ("no\nok\n", "expected the reply 'ok', got 'no'"),
            ("ok\nok\n", r"an unsolicited reply, 'ok\x0a'"),
            ("ok\n\n", r"an unsolicited reply, '\x0a'"),
        ] {
            assert_eq!(verdict(received, Framing::Line), expected, "{received:?}");
        }
        for (received, expected) in [
            ("", "wait"),
            ("o", "wait"),
            ("ok", "ok"),
            ("okok", "expected the reply 'ok', got 'okok'"),
            ("ok\n", r"expected the reply 'ok', got 'ok\x0a'"),
            ("e", "expected the reply 'ok', got 'e'"),
        ] {
            assert_eq!(verdict(received, Framing::None), expected, "{received:?}");
        }
    }

    #[test]
    fn what_a_server_sends_is_safe_to_show() {
        assert_eq!(shown(b"error log: can't"), "error log: can't");
        assert_eq!(shown(b"\x1b[31m\xff\0"), r"\x1b[31m\xff\x00");
        assert_eq!(shown(&[b'x'; 1000]).chars().count(), 101);
    }
}
