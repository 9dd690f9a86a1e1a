//! The wire protocol, as far as server and clients share it.
//!
//! - Client to server: messages, each ended by LF. A CR just before the LF is dropped. `-framing` selects
//!   another framing.
//! - Server to client: one reply line per message, in order. `ok` means that the message's record is in the
//!   log. `error CODE: reason` means that it is not.

use std::fmt;
use std::io;

/// The default port of server and clients.
pub const DEFAULT_PORT: u16 = 2005;

/// The default log file of the server.
pub const DEFAULT_LOG: &str = "logging.log";

/// The default of `-max-message`: the maximum size of a message in bytes, without its line end.
pub const DEFAULT_MAX_MESSAGE: usize = 65_536;

/// The reply that means that the message is in the log.
pub const OK: &str = "ok";

/// How messages and replies are delimited on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// LF ends each message and each reply.
    #[default]
    Line,
    /// NUL ends each message and each reply, as in Python's `SysLogHandler`.
    Nul,
    /// A message is preceded by its length in bytes and a space, "octet counting" of RFC 6587. LF ends a
    /// reply.
    Octet,
    /// The dialect of the original Python programs: one `recv` returns one message, and replies have no line
    /// end.
    None,
}

impl Framing {
    /// The values of `-framing`.
    pub const CHOICES: &[(&str, Self)] =
        &[("line", Self::Line), ("nul", Self::Nul), ("octet", Self::Octet), ("none", Self::None)];

    /// The value of `-framing`.
    pub fn name(self) -> &'static str {
        let mut choices = Self::CHOICES.iter();
        let name = choices.find_map(|&(name, framing)| (framing == self).then_some(name));
        name.unwrap_or_default()
    }

    /// The framing with this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        let mut choices = Self::CHOICES.iter();
        choices.find_map(|&(choice, framing)| (choice == name).then_some(framing))
    }

    /// The end of a reply.
    pub const fn reply_end(self) -> &'static str {
        match self {
            Self::Line | Self::Octet => "\n",
            Self::Nul => "\0",
            Self::None => "",
        }
    }

    /// Frames the message that is in `out` from byte `from` to the end.
    pub fn finish_message(self, out: &mut Vec<u8>, from: usize) {
        match self {
            Self::Line => out.push(b'\n'),
            Self::Nul => out.push(0),
            Self::Octet => {
                let length = format!("{} ", out.len() - from);
                out.splice(from..from, length.into_bytes());
            }
            Self::None => {}
        }
    }
}

/// The server's reply to a message.
///
/// Its text has no line end; see [`Framing::reply_end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The message's record is written to the log. With `-sync` it is synced to disk.
    Ok,
    /// The message is longer than this limit in bytes.
    TooLong(usize),
    /// The message does not begin with a valid length, or its length is over this limit in bytes. The server
    /// closes the connection.
    Length(usize),
    /// The log could not be written. The value is the operating system's error number.
    Log(i32),
    /// The log is a stream that rejects the message. The value is the error number of `JetStream`, or 503 if
    /// there was no responder.
    Stream(u16),
    /// Sent once, unasked: the limit of connected clients, which is this number, is reached.
    TooManyClients(usize),
    /// The server is stopping.
    ShuttingDown,
    /// Sent once, unasked, without TLS: the server speaks TLS only.
    TlsRequired,
    /// Sent once, unasked: a PROXY header from an address that may not send one.
    Proxy,
    /// Sent once, unasked: the first line is an HTTP request.
    Http,
}

impl Reply {
    /// The reply to messages whose batch could not be written.
    pub fn log(error: &io::Error) -> Self {
        // Only a write of 0 bytes gives an error without a system error number.
        const EIO: i32 = 5;
        Self::Log(error.raw_os_error().unwrap_or(EIO))
    }
}

impl Reply {
    /// The codes of all error replies.
    pub const ERROR_CODES: [&str; 8] = [
        "too-long",
        "length",
        "log",
        "too-many-clients",
        "shutting-down",
        "tls-required",
        "proxy",
        "http",
    ];

    /// The code of the reply, e.g. `too-long`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ok => OK,
            Self::TooLong(_) => "too-long",
            Self::Length(_) => "length",
            Self::Log(_) | Self::Stream(_) => "log",
            Self::TooManyClients(_) => "too-many-clients",
            Self::ShuttingDown => "shutting-down",
            Self::TlsRequired => "tls-required",
            Self::Proxy => "proxy",
            Self::Http => "http",
        }
    }

    /// Whether a record is written when it was sent. The rejection of a client that was not admitted has
    /// none: strangers must not make the log grow.
    pub const fn has_record(self) -> bool {
        match self {
            Self::Ok
            | Self::TooLong(_)
            | Self::Length(_)
            | Self::Log(_)
            | Self::Stream(_)
            | Self::ShuttingDown => true,
            Self::TooManyClients(_) | Self::TlsRequired | Self::Proxy | Self::Http => false,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str(OK),
            Self::TooLong(limit) => {
                write!(f, "error too-long: the message is longer than {limit} bytes")
            }
            Self::Length(limit) => {
                write!(
                    f,
                    "error length: expected the message's length (0 to {limit}) and a space before it"
                )
            }
            Self::Log(errno) => {
                let error = io::Error::from_raw_os_error(*errno);
                write!(f, "error log: {error}")
            }
            Self::Stream(code) => {
                let why = stream_refusal(*code);
                write!(f, "error log: {why} ({code})")
            }
            Self::TooManyClients(limit) => {
                write!(f, "error too-many-clients: {limit} are connected, try later")
            }
            Self::ShuttingDown => f.write_str("error shutting-down: the server is stopping"),
            Self::TlsRequired => {
                f.write_str("error tls-required: only TLS is spoken here, connect with it")
            }
            Self::Proxy => f.write_str(
                "error proxy: a PROXY header is not taken from this address (-proxy-from)",
            ),
            Self::Http => f.write_str("error http: this is a line log, no web server"),
        }
    }
}

/// Why a stream permanently rejects a message. The numbers are those of nats-server's `errors.json`.
const fn stream_refusal(code: u16) -> &'static str {
    match code {
        503 => "no stream takes it",
        10054 => "it is larger than the stream takes",
        10060 => "another stream has its subject",
        10077 => "the stream is full",
        10109 => "the stream is sealed",
        _ => "the stream refuses it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_says_why_it_refuses() {
        for (code, expected) in [
            (503, "error log: no stream takes it (503)"),
            (10077, "error log: the stream is full (10077)"),
            (10174, "error log: the stream refuses it (10174)"),
        ] {
            let reply = Reply::Stream(code);
            assert_eq!((reply.to_string().as_str(), reply.code()), (expected, "log"));
        }
    }

    #[test]
    fn a_message_is_framed_where_it_stands() {
        for (framing, expected) in [
            (Framing::Line, &b"before|a b\n"[..]),
            (Framing::Nul, b"before|a b\0"),
            (Framing::Octet, b"before|3 a b"),
            (Framing::None, b"before|a b"),
        ] {
            let mut out = b"before|a b".to_vec();
            framing.finish_message(&mut out, 7);
            assert_eq!(out, expected, "{framing:?}");
            assert_eq!(Framing::named(framing.name()), Some(framing));
        }
    }
}
