//! The log's records, one line each, in the format of the original Python program.
//!
//! ```text
//! INFO<TAB>| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: Thread 3, iteration 1
//! INFO<TAB>| 2019-02-24 15:10:14 --127.0.0.1:48994 send: ok
//! ```
//!
//! A message can hold any bytes. [`escape`] makes it one line of text without terminal control sequences, and
//! [`unescape`] restores the exact bytes. [`json`] is the other format.

mod escape;
pub mod json;

use std::fmt;

pub use self::escape::{escape, one_line, printable, unescape};

/// The format of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As in the original Python program: two lines per message.
    #[default]
    Original,
    /// One line of JSON per message.
    Json,
}

impl Format {
    /// The values of `-format`.
    pub const CHOICES: &[(&str, Self)] = &[("original", Self::Original), ("json", Self::Json)];

    /// The value of `-format`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Json => "json",
        }
    }

    /// The maximum factor by which escaping lengthens a message. In the original format: `\xNN`, and `\u{ad}`
    /// of two bytes. In JSON: `\u00NN`.
    pub const fn growth(self) -> usize {
        match self {
            Self::Original => 4,
            Self::Json => 6,
        }
    }
}

/// The text between peer and message in a record. The spelling is the original's.
pub const RECEIVED: &str = " recieved: ";

/// The text between peer and reply in a record.
pub const SENT: &str = " send: ";

/// The level of a record. The names are those of Python's `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A message received, or an `ok` sent.
    Info,
    /// An error reply sent, or records not shown.
    Warning,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
        }
    }
}

/// Appends the part of a record before the message or reply.
///
/// `time` is `YYYY-MM-DD hh:mm:ss`, and `peer` is as [`SocketAddr`] prints it. `verb` is [`RECEIVED`] or
/// [`SENT`].
///
/// [`SocketAddr`]: std::net::SocketAddr
pub fn begin(out: &mut Vec<u8>, level: Level, time: &str, peer: &str, verb: &str) {
    out.extend_from_slice(level.name().as_bytes());
    out.extend_from_slice(b"\t| ");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b" --");
    out.extend_from_slice(peer.as_bytes());
    out.extend_from_slice(verb.as_bytes());
}

/// How many bytes of a file [`may_begin_log`] needs, if the file has as many.
pub const BEGINNING: usize = 24;

/// The maximum output of [`begin`] in bytes, with an IPv6 peer that has a scope.
pub const MAX_HEAD: usize = 112;

/// Whether a file that begins with these bytes may be a log in either format. Its first record may be torn.
pub fn may_begin_log(beginning: &[u8]) -> bool {
    let levels = [Level::Info, Level::Warning];
    let is_json = beginning.iter().zip(json::BEGINNING).all(|(a, b)| a == b);
    is_json || levels.into_iter().any(|level| matches(beginning, level).is_some())
}

/// The parts of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// `YYYY-MM-DD hh:mm:ss`, in the server's time zone.
    pub time: &'a [u8],
    /// The client's address.
    pub peer: &'a [u8],
    /// The message, escaped. `None` in the record of a reply.
    pub message: Option<&'a [u8]>,
}

/// Parses a line without its line end; `None` if it is not a record. A line with a raw control character is
/// not one: the only control character that the server writes is the tab after the level.
pub fn parse(line: &[u8]) -> Option<Parts<'_>> {
    const TIME: usize = 19;
    let (level, head) = match matches(line, Level::Info) {
        Some(head) => (Level::Info, head),
        None => (Level::Warning, matches(line, Level::Warning)?),
    };
    let (head, rest) = line.split_at_checked(head)?;
    let time = &head[head.len() - 3 - TIME..head.len() - 3];
    if has_control(rest) {
        return None;
    }
    let (peer, rest) = rest.split_at(memchr::memchr(b' ', rest)?);
    let message = rest.strip_prefix(RECEIVED.as_bytes());
    let is_record = match message {
        Some(_) => level == Level::Info,
        None => rest.starts_with(SENT.as_bytes()),
    };
    is_record.then_some(Parts { time, peer, message })
}

/// Whether there is a raw control character: C0, DEL or C1.
pub fn has_control(text: &[u8]) -> bool {
    // Without branches, so that it compiles to vector instructions.
    let has_ascii =
        |text: &[u8]| text.iter().fold(false, |any, byte| any | byte.is_ascii_control());
    has_ascii(text) || c1_controls(text).next().is_some()
}

/// Positions of C1 controls, which are `C2 80` to `C2 9F` in UTF-8.
fn c1_controls(text: &[u8]) -> impl Iterator<Item = usize> {
    let is_c1 = |at: &usize| matches!(text.get(at + 1), Some(0x80..=0x9f));
    memchr::memchr_iter(0xc2, text).filter(is_c1)
}

/// The position of a whole record at the end of a line that is not a record, or `None`. A power cut can leave
/// NULs or part of a record before a whole one, without a newline between them.
///
/// `format` is that of the records before the line, if there are any: the text of a client must not be taken
/// for a record. No message has a raw tab in the original format, or a raw quotation mark in JSON.
pub fn last_in(line: &[u8], format: Option<Format>) -> Option<usize> {
    let original = || {
        let begin = level_before(line, memchr::memrchr(b'\t', line)?)?;
        (begin > 0 && parse(&line[begin..]).is_some()).then_some(begin)
    };
    let json = || {
        let begin = memchr::memmem::rfind(line, json::BEGINNING)?;
        let (before, record) = line.split_at(begin);
        let is_json = match format {
            Some(format) => format == Format::Json,
            None => line.starts_with(json::BEGINNING) || before.ends_with(b"\0"),
        };
        let is_whole = record.ends_with(b"}") && !has_control(record);
        (begin > 0 && is_json && is_whole).then_some(begin)
    };
    original().or_else(json)
}

/// The position of the level before the tab at `tab`, or `None`.
pub fn level_before(text: &[u8], tab: usize) -> Option<usize> {
    let before = &text[..tab];
    [Level::Info, Level::Warning].into_iter().find_map(|level| {
        let rest = before.strip_suffix(level.name().as_bytes())?;
        Some(rest.len())
    })
}

/// The time of a record of either format, as `YYYY-MM-DD hh:mm:ss` or in RFC 3339. `None` if the line does
/// not begin like a record.
pub fn time(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(json::BEGINNING) {
        Some(rest) => Some(&rest[..memchr::memchr(b'"', rest)?]),
        None => parse(line).map(|parts| parts.time),
    }
}

/// Whether a line is the record of a message.
pub fn is_of_message(line: &[u8]) -> bool {
    parse(line).is_some_and(|parts| parts.message.is_some())
}

/// Whether `text` begins with this level, a time, and the dashes before a peer, as far as it reaches. Returns
/// the length of that part.
fn matches(text: &[u8], level: Level) -> Option<usize> {
    let shape = level.name().bytes().chain(*b"\t| 0000-00-00 00:00:00 --");
    let fits = |(c, expected): (&u8, u8)| match expected {
        b'0' => c.is_ascii_digit(),
        expected => *c == expected,
    };
    let len = shape.clone().count();
    text.iter().zip(shape).all(fits).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_record_of_the_original() {
        let mut record = Vec::new();
        let peer = "127.0.0.1:49030";
        begin(&mut record, Level::Info, "2019-02-24 15:10:14", peer, RECEIVED);
        escape(&mut record, b"Thread 3, iteration 1");
        let expected =
            "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: Thread 3, iteration 1";
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }

    #[test]
    fn what_may_begin_a_log() {
        let record = b"WARNING\t| 2019-02-24 15:10:14 --[::1]:49030 send: error log: full";
        for n in 0..=BEGINNING {
            assert!(may_begin_log(&record[..n]), "{n}");
        }
        assert!(may_begin_log(br#"{"time":"2019-02-24T15:10:14"#));
        for other in ["# A log", "\0\0\0", "INFO | 2019", "INFO\t| 2019/02", "{\"tim\":", "I\n"] {
            assert!(!may_begin_log(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn the_time_of_a_record_of_either_format() {
        for (line, expected) in [
            (
                "INFO\t| 2019-02-24 15:10:14 --[::1]:4 recieved: {\"time\":\"x\"}",
                Some("2019-02-24 15:10:14"),
            ),
            (
                "WARNING\t| 2019-02-24 15:10:14 --[::1]:4 send: error log: full",
                Some("2019-02-24 15:10:14"),
            ),
            (r#"{"time":"2019-02-24T15:10:14Z","peer""#, Some("2019-02-24T15:10:14Z")),
            (r#"{"time":"2019-02-24T15"#, None),
            (r#"{"peer":"[::1]:4"}"#, None),
            ("INFO\t| 2019-02-24 15:10:14 --[::1]:4 rec", None),
            ("\0\0\0", None),
        ] {
            assert_eq!(time(line.as_bytes()), expected.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn the_longest_head_is_not_longer() {
        let mut head = Vec::new();
        let peer = format!("[{}%4294967295]:65535", ["ffff"; 8].join(":"));
        begin(&mut head, Level::Warning, "2019-02-24 15:10:14", &peer, RECEIVED);
        assert!(head.len() <= MAX_HEAD, "{}", head.len());
    }

    proptest! {
        #[test]
        fn no_message_grows_more_than_is_said(text: String, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in [text.as_bytes(), &bytes] {
                let (mut escaped, mut nothing, mut out) = (Vec::new(), Vec::new(), Vec::new());
                escape(&mut escaped, message);
                prop_assert!(escaped.len() <= Format::Original.growth() * message.len());
                json::message(&mut nothing, b"");
                json::message(&mut out, message);
                let most = nothing.len() + Format::Json.growth() * message.len() + 4;
                prop_assert!(out.len() <= most, "{} of {}", out.len(), message.len());
            }
        }
    }

    #[test]
    fn a_record_is_taken_apart() {
        let received = b"INFO\t| 2019-02-24 15:10:14 --[::1]:4 recieved: a send: b";
        let parts = parse(received).unwrap();
        assert_eq!(parts.time, b"2019-02-24 15:10:14");
        assert_eq!((parts.peer, parts.message), (&b"[::1]:4"[..], Some(&b"a send: b"[..])));
        let sent = parse(b"WARNING\t| 2019-02-24 15:10:14 --1.2.3.4:5 send: error log: x").unwrap();
        assert_eq!((sent.peer, sent.message), (&b"1.2.3.4:5"[..], None));
        for other in [
            &b""[..],
            b"INFO\t| 2019-02-24 15:10:14 --",
            b"INFO\t| 2019-02-24 15:10:14 --1.2.3.4:5 said: x",
            b"WARNING\t| 2019-02-24 15:10:14 --1.2.3.4:5 recieved: x",
            b"INFO\t| 2019-02-24 15:10 --1.2.3.4:5 recieved: x",
            b"WARNING\t| 2019-02-24 15:10:14 --[::1]:49030",
        ] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }

    /// Only control characters mark a damaged record: former versions, and the original program, escaped
    /// less.
    #[test]
    fn a_record_has_no_raw_control_character() {
        let record =
            |text: &str| format!("INFO\t| 2019-02-24 15:10:14 --1.2.3.4:5 recieved: {text}");
        for control in ["\0", "\t", "\r", "\n", "\x1f", "\x7f", "\u{80}", "\u{9f}"] {
            for text in [control.to_owned(), format!("a{control}b"), "x".repeat(100) + control] {
                assert_eq!(parse(record(&text).as_bytes()), None, "{text:?}");
            }
        }
        for text in ["\u{a0}é漢🦀", "\u{ad}\u{feff}\u{2028}\u{202e}\u{3164}", ""] {
            assert!(parse(record(text).as_bytes()).is_some(), "{text:?}");
        }
        // Bytes that are not valid UTF-8.
        for bytes in [b"\x80".as_slice(), b"\xc2", b"\xc2\xa0", b"\xff\x9f"] {
            assert!(!has_control(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn the_record_at_the_end_of_a_damaged_line_is_found() {
        let original = "INFO\t| 2019-02-24 15:10:14 --1.2.3.4:5 recieved: a";
        let reply = "WARNING\t| 2019-02-24 15:10:14 --1.2.3.4:5 send: error log: x";
        let json = r#"{"time":"2019-02-24T15:10:14Z","peer":"1.2.3.4:5","message":"a"}"#;
        let nuls = "\0".repeat(99);
        let formats = [None, Some(Format::Original), Some(Format::Json)];
        for record in [original, reply] {
            for before in [nuls.as_str(), "lf", &original[..50], &json[..60], "a\0b"] {
                for format in formats {
                    let line = [before, record].concat();
                    assert_eq!(last_in(line.as_bytes(), format), Some(before.len()), "{line:?}");
                }
            }
        }
        for before in [nuls.as_str(), &json[..60], "lf\0"] {
            let line = [before, json].concat();
            for (format, is_found) in formats.into_iter().zip([true, false, true]) {
                let expected = is_found.then_some(before.len());
                assert_eq!(last_in(line.as_bytes(), format), expected, "{line:?}");
            }
        }
        // A line that a client may have sent, and a line without an end.
        let line = format!("{nuls}lf {json}");
        assert_eq!(last_in(line.as_bytes(), None), None);
        assert_eq!(last_in(line.as_bytes(), Some(Format::Original)), None);
        for line in [original, json, &nuls, "", "\t", "INFO\t", &[&nuls, original, &nuls].concat()]
        {
            assert_eq!(last_in(line.as_bytes(), None), None, "{line:?}");
        }
    }
}
