//! The client side of the protocol: decoding and encoding of operations.

use std::fmt;
use std::io::Write as _;
use std::str;

use memchr::memchr;

use crate::headers::Headers;

/// The maximum length of a line before a payload. The INFO of a large cluster is longer than the 4,096 bytes
/// that a node accepts.
pub const MAX_LINE: usize = 64 << 10;

/// The maximum size of a message, headers included. Nodes can be configured for up to 64 MiB, and `JetStream`
/// encodes stored messages in base64.
pub const MAX_MESSAGE: usize = 90 << 20;

/// The minimum size of one read.
const READ: usize = 32 << 10;

/// A larger buffer is freed when it is empty.
const KEPT: usize = 256 << 10;

/// An operation from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// The INFO, in JSON.
    Info(&'a [u8]),
    /// A message for a subscription.
    Message(Message<'a>),
    /// A ping, to be answered with [`pong`].
    Ping,
    /// The answer to a [`ping`].
    Pong,
    /// An acknowledgement in verbose mode.
    Ok,
    /// An error, without its quotes.
    Err(&'a str),
}

/// A message of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The subject that it was published to.
    pub subject: &'a str,
    /// The ID of the subscription.
    pub subscription: u64,
    /// The reply subject.
    pub reply: Option<&'a str>,
    /// The headers.
    pub headers: Headers<'a>,
    /// The payload.
    pub payload: &'a [u8],
}

/// Invalid input. The connection is not usable any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl Malformed {
    fn line(line: &[u8]) -> Self {
        let shown = &line[..line.len().min(80)];
        Self(format!("'{}' is not understood", shown.escape_ascii()))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "that is not NATS: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Decodes the first operation of `bytes`, and returns it with its length. `None` if it is incomplete.
pub fn decode(bytes: &[u8]) -> Result<Option<(Op<'_>, usize)>, Malformed> {
    let Some(end) = memchr(b'\n', &bytes[..bytes.len().min(MAX_LINE)]) else {
        return match bytes.len() {
            ..MAX_LINE => Ok(None),
            _ => Err(Malformed::line(bytes)),
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let whole = end + 1;
    let name_end = line.iter().position(|byte| is_space(*byte));
    let (name, rest) = line.split_at(name_end.unwrap_or(line.len()));
    let op = match name.to_ascii_uppercase().as_slice() {
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        b"+OK" => Op::Ok,
        b"INFO" => Op::Info(rest.trim_ascii()),
        b"-ERR" => Op::Err(unquoted(rest).ok_or_else(|| Malformed::line(line))?),
        b"MSG" => return message(line, rest, false, whole, bytes),
        b"HMSG" => return message(line, rest, true, whole, bytes),
        _ => return Err(Malformed::line(line)),
    };
    Ok(Some((op, whole)))
}

/// Parses `subject sid [reply] [#headers] #total` and the payload after that line.
fn message<'a>(
    line: &[u8],
    rest: &'a [u8],
    has_headers: bool,
    begin: usize,
    bytes: &'a [u8],
) -> Result<Option<(Op<'a>, usize)>, Malformed> {
    let malformed = || Malformed::line(line);
    let words = str::from_utf8(rest).map_err(|_| malformed())?;
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    let counts = 1 + usize::from(has_headers);
    let (subject, sid, reply) = match words.len().checked_sub(counts) {
        Some(2) => (words[0], words[1], None),
        Some(3) => (words[0], words[1], Some(words[2])),
        _ => return Err(malformed()),
    };
    let count = |word: &str| word.parse::<usize>().ok().filter(|n| *n <= MAX_MESSAGE);
    let total = count(words[words.len() - 1]).ok_or_else(malformed)?;
    let split = if has_headers { count(words[words.len() - 2]).ok_or_else(malformed)? } else { 0 };
    let subscription = sid.parse().map_err(|_| malformed())?;
    let end = begin + total;
    if split > total {
        return Err(malformed());
    }
    let Some(tail) = bytes.get(end..end + 2) else {
        return Ok(None);
    };
    if tail != b"\r\n" {
        return Err(malformed());
    }
    let (headers, payload) = bytes[begin..end].split_at(split);
    let message = Message { subject, subscription, reply, headers: Headers(headers), payload };
    Ok(Some((Op::Message(message), end + 2)))
}

fn unquoted(text: &[u8]) -> Option<&str> {
    let text = text.trim_ascii();
    let inner = text.strip_prefix(b"'").and_then(|it| it.strip_suffix(b"'"));
    str::from_utf8(inner.unwrap_or(text)).ok()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Buffers the input from a node and splits it into operations.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// The range of bytes that are not decoded yet.
    begin: usize,
    end: usize,
}

impl Decoder {
    /// Where to read to. It is never empty.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.end == 0 && self.buffer.len() > KEPT {
            self.buffer = Vec::new();
        }
        // Doubling the buffer avoids a copy of a large message at each read.
        let wanted = (self.end + READ).max(2 * self.end);
        if self.buffer.len() < self.end + READ {
            self.buffer.resize(wanted, 0);
        }
        debug_assert!(self.buffer.len() <= 2 * (MAX_MESSAGE + MAX_LINE + READ));
        &mut self.buffer[self.end..]
    }

    /// Reports that `n` bytes were read into the [`space`](Self::space).
    pub fn filled(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.buffer.len());
    }

    /// The next complete operation.
    pub fn next_op(&mut self) -> Result<Option<Op<'_>>, Malformed> {
        let Self { buffer, begin, end } = self;
        let decoded = decode(&buffer[*begin..*end])?;
        Ok(decoded.map(|(op, length)| {
            *begin += length;
            op
        }))
    }

    /// Whether there is no incomplete input. Input before a TLS handshake must not be taken for input within
    /// it.
    pub fn is_empty(&self) -> bool {
        self.begin == self.end
    }
}

/// Appends `PING`.
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PING\r\n");
}

/// Appends `PONG`.
pub fn pong(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PONG\r\n");
}

/// Appends `SUB`: subscribes to `subject`, which may have wildcards, with this ID.
pub fn subscribe(out: &mut Vec<u8>, subject: &str, subscription: u64) {
    debug_assert!(is_subject(subject));
    _ = write!(out, "SUB {subject} {subscription}\r\n");
}

/// Appends what comes before a payload of `length` bytes; [`END`] comes after it. `headers` is empty or a
/// block from [`headers::write`](crate::headers::write).
pub fn publish_head(
    out: &mut Vec<u8>,
    subject: &str,
    reply: Option<&str>,
    headers: &[u8],
    length: usize,
) {
    debug_assert!(is_subject(subject) && reply.is_none_or(is_subject));
    let (reply, space) = reply.map_or(("", ""), |reply| (reply, " "));
    let total = headers.len() + length;
    if headers.is_empty() {
        _ = write!(out, "PUB {subject} {reply}{space}{total}\r\n");
    } else {
        let split = headers.len();
        _ = write!(out, "HPUB {subject} {reply}{space}{split} {total}\r\n");
        out.extend_from_slice(headers);
    }
}

/// The end of a payload.
pub const END: &[u8] = b"\r\n";

/// Appends a complete message.
pub fn publish(
    out: &mut Vec<u8>,
    subject: &str,
    reply: Option<&str>,
    headers: &[u8],
    payload: &[u8],
) {
    publish_head(out, subject, reply, headers, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(END);
}

/// Whether this is a valid subject: non-empty tokens, separated by dots, without white space.
pub fn is_subject(text: &str) -> bool {
    text.split('.').all(|word| {
        !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

/// Whether this is valid as one literal token of a subject and in the name of a consumer.
pub fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const CONVERSATION: &[u8] = b"INFO {\"version\":\"2.15.1\"}\r\n+OK\r\nPING\r\npong\r\n\
        MSG a.b 7 5\r\nhe\r\no\r\nMSG a 7 _INBOX.x 0\r\n\r\nmsg\ta\t7\t1\r\nx\r\n\
        HMSG _INBOX.1 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n\
        HMSG _INBOX.1 9 r.r 25 27\r\nNATS/1.0\r\nA: b c\r\nD:e\r\n\r\nhi\r\n\
        -ERR 'Authorization Violation'\r\n";

    fn shown(op: &Op<'_>) -> String {
        match op {
            Op::Message(message) => format!(
                "{} {} {:?} {} {}",
                message.subject,
                message.subscription,
                message.reply,
                message.headers.0.escape_ascii(),
                message.payload.escape_ascii()
            ),
            other => format!("{other:?}"),
        }
    }

    fn fed(pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let mut decoder = Decoder::default();
        let mut ops = Vec::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                let space = decoder.space();
                let n = space.len().min(piece.len());
                space[..n].copy_from_slice(&piece[..n]);
                decoder.filled(n);
                piece = &piece[n..];
                while let Some(op) = decoder.next_op()? {
                    ops.push(shown(&op));
                }
            }
        }
        assert!(decoder.is_empty(), "nothing is left over");
        Ok(ops)
    }

    #[test]
    fn a_conversation_at_every_split() {
        let whole = fed(&[CONVERSATION]).unwrap();
        let expected = [
            format!("{:?}", Op::Info(b"{\"version\":\"2.15.1\"}")),
            "Ok".to_owned(),
            "Ping".to_owned(),
            "Pong".to_owned(),
            "a.b 7 None  he\\r\\no".to_owned(),
            "a 7 Some(\"_INBOX.x\")  ".to_owned(),
            "a 7 None  x".to_owned(),
            "_INBOX.1 9 None NATS/1.0 503\\r\\n\\r\\n ".to_owned(),
            "_INBOX.1 9 Some(\"r.r\") NATS/1.0\\r\\nA: b c\\r\\nD:e\\r\\n\\r\\n hi".to_owned(),
            "Err(\"Authorization Violation\")".to_owned(),
        ];
        assert_eq!(whole, expected);
        for split in 0..CONVERSATION.len() {
            let (one, two) = CONVERSATION.split_at(split);
            assert_eq!(fed(&[one, two]).unwrap(), whole, "split at {split}");
        }
        let bytes: Vec<&[u8]> = CONVERSATION.chunks(1).collect();
        assert_eq!(fed(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for bad in [
            "HTTP/1.1 400 Bad Request\r\n",
            "MSG a 1\r\n",
            "MSG a b 1\r\n",
            "MSG a 1 -1\r\n",
            "MSG a 1 r 2 3\r\n",
            "MSG a 1 99999999999\r\n",
            "MSG a 1 1\r\nxyz",
            "HMSG a 1 5 3\r\n",
            "HMSG a 1 3\r\n",
            "MSG \u{fffd} x 1\r\n",
            "\r\n",
        ] {
            let refused = decode(bad.as_bytes());
            assert!(refused.is_err(), "{bad:?}: {refused:?}");
        }
        assert!(decode(b"-ERR '\xff'\r\n").is_err());
        assert_eq!(decode(&vec![b'x'; MAX_LINE - 1]), Ok(None));
        assert!(decode(&vec![b'x'; MAX_LINE]).is_err());
    }

    #[test]
    fn memory_for_a_large_message_is_given_back() {
        let mut large = b"MSG a 1 1000000\r\n".to_vec();
        large.resize(large.len() + 1_000_000, b'x');
        large.extend_from_slice(b"\r\n");
        let mut decoder = Decoder::default();
        for piece in large.chunks(1000) {
            decoder.space()[..piece.len()].copy_from_slice(piece);
            decoder.filled(piece.len());
        }
        assert!(matches!(decoder.next_op(), Ok(Some(Op::Message(_)))));
        assert!(decoder.space().len() <= KEPT);
        assert!(decoder.buffer.capacity() <= KEPT);
    }

    #[test]
    fn words_and_subjects() {
        for good in ["a", "a.b", "$JS.API.STREAM.INFO.X", "_INBOX.a.*", "a.>"] {
            assert!(is_subject(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\r\nPING", "a\tb"] {
            assert!(!is_subject(bad), "{bad:?}");
        }
        assert!(is_word("web-1_a") && !is_word("a.b") && !is_word("*") && !is_word(""));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300), splits in vec(0..300_usize, 0..5)) {
            let mut at: Vec<_> = splits.into_iter().map(|split| split.min(bytes.len())).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut decoder = Decoder::default();
            for range in at.windows(2) {
                let piece = &bytes[range[0]..range[1]];
                decoder.space()[..piece.len()].copy_from_slice(piece);
                decoder.filled(piece.len());
                while let Ok(Some(_)) = decoder.next_op() {}
            }
        }

        /// Input that differs little from valid input reaches more of the code.
        #[test]
        fn nor_does_a_conversation_with_faults(
            faults in vec((0..CONVERSATION.len(), any::<u8>()), 1..6)
        ) {
            let mut bytes = CONVERSATION.to_vec();
            for (at, byte) in faults {
                bytes[at] = byte;
            }
            let mut rest = bytes.as_slice();
            while let Ok(Some((_, length))) = decode(rest) {
                prop_assert!(length > 0 && length <= rest.len());
                rest = &rest[length..];
            }
        }

        #[test]
        fn what_is_published_can_be_read(
            payload in vec(any::<u8>(), 0..200),
            value in "[a-z0-9]{0,9}",
            has_reply: bool,
            has_headers: bool,
        ) {
            let mut headers = Vec::new();
            if has_headers {
                crate::headers::write(&mut headers, &[("Nats-Msg-Id", &value)]);
            }
            let reply = has_reply.then_some("r.1");
            let mut out = Vec::new();
            publish(&mut out, "a.b", reply, &headers, &payload);
            // A node sends the same with the subscription ID in it.
            let text = String::from_utf8_lossy(&out[..out.iter().position(|b| *b == b'\n').unwrap()]).into_owned();
            let line = text.replace("HPUB a.b ", "HMSG a.b 4 ").replace("PUB a.b ", "MSG a.b 4 ");
            let mut sent = line.into_bytes();
            sent.extend_from_slice(&out[text.len()..]);
            let (op, length) = decode(&sent).unwrap().unwrap();
            prop_assert_eq!(length, sent.len());
            let Op::Message(message) = op else { panic!("{op:?}") };
            prop_assert_eq!((message.subject, message.subscription, message.reply), ("a.b", 4, reply));
            prop_assert_eq!(message.payload, &payload[..]);
            let id = message.headers.get("nats-msg-id");
            prop_assert_eq!(id, has_headers.then_some(value.as_str()));
        }
    }
}
