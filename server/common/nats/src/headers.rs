//! Headers of a message.

use std::io::Write as _;

const VERSION: &str = "NATS/1.0";

/// The header block of a message as received; empty if there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a>(pub &'a [u8]);

impl<'a> Headers<'a> {
    /// The status that a node gave the message, such as 503: no responders.
    pub fn status(self) -> Option<u16> {
        let line = self.lines().next()?;
        let status = line.strip_prefix(VERSION)?.trim_start();
        status.get(..3)?.parse().ok()
    }

    /// The description of the status, e.g. `Request Timeout`.
    pub fn description(self) -> Option<&'a str> {
        let line = self.lines().next()?;
        let status = line.strip_prefix(VERSION)?.trim_start();
        let text = status.get(3..)?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The first value with this name, in upper or lower case.
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut fields = self.lines().skip(1).filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }

    fn lines(self) -> impl Iterator<Item = &'a str> {
        str::from_utf8(self.0).unwrap_or_default().split("\r\n")
    }
}

/// Appends a block of headers. Names and values must not contain line ends.
pub fn write(out: &mut Vec<u8>, fields: &[(&str, &str)]) {
    debug_assert!(
        fields
            .iter()
            .all(|(name, value)| !name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']))
    );
    out.extend_from_slice(VERSION.as_bytes());
    for (name, value) in fields {
        _ = write!(out, "\r\n{name}: {value}");
    }
    out.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut block = Vec::new();
        write(&mut block, &[("A", "1: x"), ("B-c", "")]);
        assert_eq!(block, b"NATS/1.0\r\nA: 1: x\r\nB-c: \r\n\r\n");
        let headers = Headers(&block);
        assert_eq!(headers.get("a"), Some("1: x"));
        assert_eq!(headers.get("B-C"), Some(""));
        assert_eq!((headers.get("D"), headers.status()), (None, None));
    }

    #[test]
    fn a_status_and_what_is_said_about_it() {
        let headers = Headers(b"NATS/1.0 408 Request Timeout\r\nNats-Pending: 3\r\n\r\n");
        assert_eq!(headers.status(), Some(408));
        assert_eq!(headers.description(), Some("Request Timeout"));
        assert_eq!(headers.get("Nats-Pending"), Some("3"));
        let headers = Headers(b"NATS/1.0 503\r\n\r\n");
        assert_eq!((headers.status(), headers.description()), (Some(503), None));
    }

    #[test]
    fn nonsense_is_empty() {
        for bytes in ["", "\r\n", "HTTP/1.1 200 OK\r\n\r\n", "NATS/1.0 5\r\n", "NATS/1.0 ü"] {
            let headers = Headers(bytes.as_bytes());
            assert_eq!((headers.status(), headers.get("A")), (None, None), "{bytes:?}");
        }
        assert_eq!(Headers(b"NATS/1.0\r\nA: \xff\r\n").get("A"), None);
    }
}
