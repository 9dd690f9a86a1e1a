//! The contract on the wire, as far as server and clients share it.
//!
//! Client to server: messages, each ended by LF; a CR just before the LF is dropped. `-framing` chooses
//! other ways to tell them apart.
//! Server to client, one reply line a message, in order: `ok`, which means that the message's
//! record is in the log, or `error CODE: reason`, which means that it is not.

use std::fmt;
use std::io;

/// The port that server and clients use unless told otherwise.
pub const DEFAULT_PORT: u16 = 2005;

/// Where the server writes its log unless told otherwise.
pub const DEFAULT_LOG: &str = "logging.log";

/// The longest message in bytes, its line end not counted, unless `-max-message` says otherwise.
pub const DEFAULT_MAX_MESSAGE: usize = 65_536;

/// The reply that promises that the message is in the log.
pub const OK: &str = "ok";

/// How messages and replies are told apart on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Each message and each reply is ended by LF.
    #[default]
    Line,
    /// Each message and each reply is ended by NUL, as Python's `SysLogHandler` does.
    Nul,
    /// A message is preceded by its length in bytes and a space, "octet counting" of RFC 6587; a reply
    /// is ended by LF.
    Octet,
    /// The dialect of the original Python programs: what one `recv` brings is one message, and
    /// replies have no line end.
    None,
}

impl Framing {
    /// The spellings of `-framing`.
    pub const CHOICES: &[(&str, Self)] = &[
        ("line", Self::Line),
        ("nul", Self::Nul),
        ("octet", Self::Octet),
        ("none", Self::None),
    ];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        let mut choices = Self::CHOICES.iter();
        let name = choices.find_map(|&(name, framing)| (framing == self).then_some(name));
        name.unwrap_or_default()
    }

    /// The framing that is typed so.
    pub fn named(name: &str) -> Option<Self> {
        let mut choices = Self::CHOICES.iter();
        choices.find_map(|&(choice, framing)| (choice == name).then_some(framing))
    }

    /// What ends a reply.
    pub const fn reply_end(self) -> &'static str {
        match self {
            Self::Line | Self::Octet => "\n",
            Self::Nul => "\0",
            Self::None => "",
        }
    }

    /// Turns the message at the end of `out`, from byte `from` on, into what goes over the wire.
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

/// What the server answers to a message.
///
/// Its text has no line end; [`Framing::reply_end`] brings that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The message's record is written to the log (with `-sync`: synced to disk).
    Ok,
    /// The message is longer than this many bytes, the limit.
    TooLong(usize),
    /// The message does not begin with its length, or with one over the limit of so many bytes; the
    /// server closes the connection.
    Length(usize),
    /// The log could not be written; the operating system's error number.
    Log(i32),
    /// The log is a stream that refuses the message; the error number of `JetStream`, or 503 where
    /// nobody takes it.
    Stream(u16),
    /// Sent unasked, once: this many clients are connected already, the limit.
    TooManyClients(usize),
    /// The server is stopping.
    ShuttingDown,
    /// Sent unasked, once, without TLS: only TLS is spoken here.
    TlsRequired,
    /// Sent unasked, once: a PROXY header came from where none is trusted.
    Proxy,
    /// Sent unasked, once: the first line is a request of HTTP.
    Http,
}

impl Reply {
    /// The reply for messages whose batch could not be written.
    pub fn log(error: &io::Error) -> Self {
        // An error that does not come from the system can only be a write that took nothing.
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

    /// The word that says what kind of reply it is, e.g. `too-long`.
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

    /// Whether a record is written when it was sent. A refusal of a client that was not admitted has none: the log
    /// must not grow by what a stranger does.
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
                write!(
                    f,
                    "error too-long: the message is longer than {limit} bytes"
                )
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
                write!(
                    f,
                    "error too-many-clients: {limit} are connected, try later"
                )
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

/// Why a stream refuses a message for good, in words; the numbers are those of nats-server's
/// `errors.json`.
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
            assert_eq!(
                (reply.to_string().as_str(), reply.code()),
                (expected, "log")
            );
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
