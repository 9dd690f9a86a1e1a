//! Detection of other protocols in the first bytes of a client. No I/O.
//!
//! A line log takes any line. Without detection, input of another protocol would become records, and its
//! sender would receive replies to messages that it never sent.

/// The first bytes of a PROXY header, version 2 (section 2.2 of `HAProxy`'s proxy-protocol.txt).
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The same for version 1 (section 2.1).
const PROXY_V1: &[u8] = b"PROXY ";

/// The methods of RFC 9110, section 9.1, and PATCH (RFC 5789). PRI begins HTTP/2 (RFC 9113, 3.4).
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"OPTIONS ",
    b"DELETE ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"PRI ",
];

/// The most bytes that may be ambiguous. An HTTP method and a single word of this length count as a
/// request.
pub const MAX_UNCLEAR: usize = 1024;

/// The protocol that the first bytes of a client belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Messages, or at least no other known protocol.
    Messages,
    /// A TLS record that begins a handshake.
    Tls,
    /// A PROXY header.
    Proxy,
    /// An HTTP request.
    Http,
    /// Ambiguous: more bytes are needed.
    Unclear,
}

/// The protocol of a client with these first bytes. Within TLS, TLS is not detected again.
///
/// The result does not depend on how the bytes are split: after the first result that is not `Unclear`,
/// more bytes do not change it.
pub fn recognise(bytes: &[u8], is_over_tls: bool) -> First {
    let bytes = &bytes[..bytes.len().min(MAX_UNCLEAR)];
    let tls = if is_over_tls { Sign::No } else { is_tls(bytes) };
    let whole = [
        (tls, First::Tls),
        (begins(bytes, PROXY_V1), First::Proxy),
        (begins(bytes, PROXY_V2), First::Proxy),
        (is_request(bytes), First::Http),
    ];
    let found = whole.iter().filter_map(|(sign, first)| match sign {
        Sign::Yes => Some(*first),
        Sign::Perhaps => Some(First::Unclear),
        Sign::No => None,
    });
    let first = found.min_by_key(|first| *first == First::Unclear).unwrap_or(First::Messages);
    debug_assert!(first != First::Unclear || bytes.len() < MAX_UNCLEAR);
    first
}

/// Whether the bytes, as far as they go, match a protocol.
#[derive(Clone, Copy)]
enum Sign {
    Yes,
    No,
    Perhaps,
}

fn begins(bytes: &[u8], sign: &[u8]) -> Sign {
    if bytes.starts_with(sign) {
        Sign::Yes
    } else if sign.starts_with(bytes) {
        Sign::Perhaps
    } else {
        Sign::No
    }
}

/// A TLS record of the type "handshake" with a version of 3.0 to 3.4 on the wire (RFC 8446, 5.1).
fn is_tls(bytes: &[u8]) -> Sign {
    match bytes {
        [] | [0x16] | [0x16, 3] => Sign::Perhaps,
        [0x16, 3, 0..=4, ..] => Sign::Yes,
        _ => Sign::No,
    }
}

/// An HTTP request line: method, target, version and a line end (RFC 9112, section 3).
fn is_request(bytes: &[u8]) -> Sign {
    let Some(method) = METHODS.iter().find(|method| bytes.starts_with(method)) else {
        let begins = METHODS.iter().any(|method| method.starts_with(bytes));
        return if begins { Sign::Perhaps } else { Sign::No };
    };
    let rest = &bytes[method.len()..];
    let line_end = memchr::memchr(b'\n', rest);
    let line = &rest[..line_end.unwrap_or(rest.len())];
    let mut words = line.splitn(2, |&byte| byte == b' ');
    let (target, version) = (words.next().unwrap_or_default(), words.next());
    let Some(version) = version else {
        // A single word so far. No real message begins like this and goes on that long.
        let is_long = bytes.len() >= MAX_UNCLEAR;
        return match line_end {
            Some(_) => Sign::No,
            None if is_long => Sign::Yes,
            None => Sign::Perhaps,
        };
    };
    let version = version.strip_suffix(b"\r").unwrap_or(version);
    let is_version = |version: &[u8]| match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    };
    let may_become = b"HTTP/".starts_with(&version[..version.len().min(5)]) && version.len() <= 8;
    match line_end {
        Some(_) if is_version(version) && !target.is_empty() => Sign::Yes,
        None if may_become && bytes.len() < MAX_UNCLEAR => Sign::Perhaps,
        // The version begins where the examined bytes end.
        None if may_become => Sign::Yes,
        _ => Sign::No,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLES: [(&[u8], First); 26] = [
        (b"hello\n", First::Messages),
        (b"\n", First::Messages),
        (b"\r\n\r\n", First::Unclear),
        (b"\r\n\r\nx", First::Messages),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", First::Proxy),
        (b"PROXY", First::Unclear),
        (b"PROXY TCP4 192.0.2.1 ", First::Proxy),
        (b"PROXYING\n", First::Messages),
        (b"\x16\x03\x01\x02", First::Tls),
        (b"\x16\x03", First::Unclear),
        (b"\x16\x04\x01", First::Messages),
        (b"\x17\x03\x03", First::Messages),
        (b"GET / HTTP/1.1\r\n", First::Http),
        (b"POST /a?b HTTP/1.0\nx", First::Http),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", First::Http),
        (b"PRI * HTTP/2.0\r\n", First::Http),
        (b"GET / HTTP/1.1", First::Unclear),
        (b"GET / HTTP/1.1 200\n", First::Messages),
        (b"GET it\n", First::Messages),
        (b"GET up, stand up\n", First::Messages),
        (b"GET  HTTP/1.1\n", First::Messages),
        (b"get / HTTP/1.1\r\n", First::Messages),
        (b"GETTING / HTTP/1.1\r\n", First::Messages),
        (b"P", First::Unclear),
        (b"Thread 0, iteration 1", First::Messages),
        (b"4 text", First::Messages),
    ];

    #[test]
    fn examples() {
        for (bytes, expected) in EXAMPLES {
            let text = bytes.escape_ascii();
            assert_eq!(recognise(bytes, false), expected, "{text}");
            let expected = match expected {
                First::Tls => First::Messages,
                First::Unclear if bytes[0] == 0x16 => First::Messages,
                other => other,
            };
            assert_eq!(recognise(bytes, true), expected, "{text}");
        }
    }

    #[test]
    fn a_long_request_is_a_request() {
        let mut long = b"POST /".to_vec();
        long.resize(MAX_UNCLEAR - 1, b'x');
        assert_eq!(recognise(&long, false), First::Unclear);
        long.push(b'x');
        assert_eq!(recognise(&long, false), First::Http);
        // For requests that end on either side of that limit.
        for target in MAX_UNCLEAR - 30..MAX_UNCLEAR + 30 {
            let request = format!("POST /{} HTTP/1.1\r\n", "x".repeat(target));
            assert_eq!(recognise(request.as_bytes(), false), First::Http, "{target}");
        }
    }

    proptest! {
        /// However the bytes are split, the result is the same.
        #[test]
        fn more_bytes_never_change_a_result(
            at in 0..EXAMPLES.len(), is_over_tls: bool,
            filler in prop_oneof![4 => Just(0), 1 => 0..1100_usize],
            tail in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..30),
                "[ \r\nHTP/1.]{0,12}".prop_map(String::into_bytes),
            ],
        ) {
            let mut bytes = EXAMPLES[at].0.to_vec();
            bytes.resize(bytes.len() + filler, b'x');
            bytes.extend(tail);
            let whole = recognise(&bytes, is_over_tls);
            let mut is_clear = false;
            for len in 0..bytes.len() {
                let first = recognise(&bytes[..len], is_over_tls);
                is_clear |= first != First::Unclear;
                if is_clear {
                    prop_assert_eq!(first, whole, "{} bytes", len);
                }
            }
        }

        #[test]
        fn it_becomes_clear_in_time(bytes in prop::collection::vec(any::<u8>(), MAX_UNCLEAR..2000)) {
            prop_assert_ne!(recognise(&bytes, false), First::Unclear);
        }
    }
}
