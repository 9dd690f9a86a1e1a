//! Records as lines of JSON: one per message and per error reply, none for an `ok`.
//!
//! ```text
//! {"time":"2026-11-25T03:35:12.123456+01:00","peer":"127.0.0.1:49030","message":"Thread 3, iteration 1"}
//! {"time":"2026-11-25T03:35:12.123460+01:00","peer":"127.0.0.1:49030","error":"too-long"}
//! ```
//!
//! A message that is not valid UTF-8 is `"bytes"`, in base64, instead of `"message"`. Characters that the
//! original format escapes are escaped as `\uNNNN`.

use std::io::Write as _;

use data_encoding::BASE64;

use super::escape::{is_plain, is_unsafe};

/// The beginning of each record.
pub const BEGINNING: &[u8] = br#"{"time":""#;

/// Appends the part of a record before the message or the error: time, peer, and the client's name from its
/// certificate, if any. Time (RFC 3339) and peer need no escapes.
pub fn begin(out: &mut Vec<u8>, time: &str, peer: &str, client: Option<&str>) {
    for part in [r#"{"time":""#, time, r#"","peer":""#, peer, r#"","#] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some(client) = client {
        out.extend_from_slice(br#""client":""#);
        escape(out, client);
        out.extend_from_slice(br#"","#);
    }
}

/// Appends a message and the end of the record.
pub fn message(out: &mut Vec<u8>, message: &[u8]) {
    if let Ok(text) = std::str::from_utf8(message) {
        out.extend_from_slice(br#""message":""#);
        escape(out, text);
    } else {
        out.extend_from_slice(br#""bytes":""#);
        let start = out.len();
        out.resize(start + BASE64.encode_len(message.len()), 0);
        BASE64.encode_mut(message, &mut out[start..]);
    }
    out.extend_from_slice(b"\"}\n");
}

/// Appends the code of an error reply and the end of the record.
pub fn error(out: &mut Vec<u8>, code: &str) {
    for part in [r#""error":""#, code, "\"}\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Whether a line begins and ends like a record.
pub fn is_like_record(beginning: &[u8], end: u8) -> bool {
    beginning.starts_with(BEGINNING) && end == b'}'
}

#[inline]
fn escape(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) && memchr::memchr(b'"', text.as_bytes()).is_none() {
        out.extend_from_slice(text.as_bytes());
    } else {
        escape_each(out, text);
    }
}

#[cold]
fn escape_each(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            c if c.is_ascii_control() || is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a Vec cannot fail.
                    _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn record(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        let time = "2026-11-25T03:35:12.123456+01:00";
        begin(&mut out, time, "[::1]:4", None);
        message(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_of_each_kind() {
        let head = r#"{"time":"2026-11-25T03:35:12.123456+01:00","peer":"[::1]:4","#;
        for (bytes, expected) in [
            (&b"Thread 3"[..], r#""message":"Thread 3"}"#),
            (b"a\"b\\\n\x7f", r#""message":"a\"b\\\u000a\u007f"}"#),
            ("é\u{85}\u{202e}\u{e0001}".as_bytes(), r#""message":"é\u0085\u202e\udb40\udc01"}"#),
            (b"\xff\0", r#""bytes":"/wA="}"#),
        ] {
            assert_eq!(record(bytes), format!("{head}{expected}\n"));
        }
        let mut out = Vec::new();
        begin(&mut out, "", "", Some("a\"b"));
        assert_eq!(out, br#"{"time":"","peer":"","client":"a\"b","#);
        out.clear();
        error(&mut out, "too-long");
        assert_eq!(out, b"\"error\":\"too-long\"}\n");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            ".{0,30}".prop_map(String::into_bytes),
        ]) {
            let record = record(&bytes);
            prop_assert_eq!(record.matches('\n').count(), 1);
            prop_assert!(record.trim_end().chars().all(|c| !c.is_control() && !is_unsafe(c)));
            let json: Value = serde_json::from_str(&record).unwrap();
            let back = match (&json["message"], &json["bytes"]) {
                (Value::String(text), Value::Null) => text.clone().into_bytes(),
                (Value::Null, Value::String(text)) => BASE64.decode(text.as_bytes()).unwrap(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(back, bytes);
            let end = *record.trim_end().as_bytes().last().unwrap();
            prop_assert!(is_like_record(record.as_bytes(), end));
        }
    }
}
