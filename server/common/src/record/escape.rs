//! Escaping of bytes as one line of printable text.

use std::io::Write as _;

/// Appends `message` as one line of printable text, without a line end.
///
/// A C0 control, DEL or a byte that is not valid UTF-8 becomes `\xNN`. A C1 control, a line or paragraph
/// separator or an invisible character becomes `\u{NNNN}`. A backslash is doubled.
#[inline]
pub fn escape(out: &mut Vec<u8>, message: &[u8]) {
    if is_plain(message) {
        out.extend_from_slice(message);
    } else {
        escape_each(out, message);
    }
}

#[cold]
fn escape_each(out: &mut Vec<u8>, message: &[u8]) {
    for chunk in message.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.extend_from_slice(br"\\"),
                c => append_char(out, c),
            }
        }
        for &byte in chunk.invalid() {
            append_byte(out, byte);
        }
    }
}

/// Appends a character other than a backslash, escaped unless it is plain text.
#[inline]
fn append_char(out: &mut Vec<u8>, c: char) {
    match c {
        '\0'..='\x1f' | '\x7f' => append_byte(out, c as u8),
        // Writing to a Vec cannot fail.
        c if is_unsafe(c) => _ = write!(out, "\\u{{{:04x}}}", u32::from(c)),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// The maximum output of [`one_line`] in bytes.
const MAX_LINE: usize = 4096;

/// A diagnostic as one safe line; it may contain text of a peer. It is escaped like a record except for
/// backslashes, so text that was escaped before and paths stay as they are.
pub fn one_line(text: &str) -> String {
    let is_end = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=MAX_LINE.min(text.len())).rev().find(is_end).unwrap_or(0);
    let mut line = Vec::with_capacity(end);
    text[..end].chars().for_each(|c| append_char(&mut line, c));
    if end < text.len() {
        line.extend_from_slice("…".as_bytes());
    }
    // Escaped text is valid UTF-8.
    String::from_utf8(line).unwrap_or_default()
}

/// Untrusted bytes as safe text, escaped like a record; at most `limit` bytes of them.
pub fn printable(bytes: &[u8], limit: usize) -> String {
    let mut text = Vec::new();
    escape(&mut text, &bytes[..bytes.len().min(limit)]);
    // Escaped text is valid UTF-8.
    let mut text = String::from_utf8(text).unwrap_or_default();
    if bytes.len() > limit {
        text.push('…');
    }
    text
}

/// Whether escaping would not change the message. It checks chunks without branches, the last two of which
/// may overlap, so that it compiles to vector instructions.
pub(super) fn is_plain(message: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'[' | b']'..=b'~');
    let all_plain = |chunk: &[u8; 16]| chunk.iter().fold(true, |all, byte| all & plain(byte));
    match message.last_chunk() {
        Some(last) => all_plain(last) && message.as_chunks().0.iter().all(all_plain),
        None => message.iter().all(plain),
    }
}

/// Whether a character above ASCII is escaped. Escaped are C1 controls, line and paragraph separator,
/// interlinear annotation, and the invisible characters that Unicode calls `Default_Ignorable_Code_Point`.
/// Bidirectional controls, fillers and tags are among these. Joiners (U+200C, U+200D) and variation selectors
/// (U+180B–180D, U+180F, U+FE00–FE0F, U+E0100–E01EF) are not escaped, since real text needs them. A test
/// compares this with the Unicode data.
pub(super) const fn is_unsafe(c: char) -> bool {
    matches!(
        c,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}'
    )
}

fn append_byte(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    out.extend_from_slice(br"\x");
    out.extend_from_slice(&digits);
}

/// The message from which [`escape`] made `text`, or `None` if there is none.
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        message.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.first()? {
            b'\\' => {
                message.push(b'\\');
                rest = &rest[1..];
            }
            b'x' => {
                message.push(u8::try_from(hex(rest.get(1..3)?)?).ok()?);
                rest = &rest[3..];
            }
            b'u' => {
                let digits = rest[1..].strip_prefix(b"{")?;
                let end = memchr::memchr(b'}', digits)?;
                let c = char::from_u32(hex(&digits[..end])?)?;
                message.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &digits[end + 1..];
            }
            _ => return None,
        }
    }
    message.extend_from_slice(rest);
    Some(message)
}

fn hex(digits: &[u8]) -> Option<u32> {
    // `from_str_radix` also accepts a sign and capital letters.
    let escape_writes = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let digits = digits.iter().all(escape_writes).then_some(digits)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        escape(&mut out, message);
        out
    }

    #[test]
    fn the_escaping_rule() {
        for (message, expected) in [
            (&b""[..], ""),
            (b"plain ~", "plain ~"),
            (b"a\tb", r"a\x09b"),
            (b"a\nb\r", r"a\x0ab\x0d"),
            (b"\0\x1f\x7f", r"\x00\x1f\x7f"),
            (br"\x41", r"\\x41"),
            (b"\x1b[31m", r"\x1b[31m"),
            (b"\xff\xc3", r"\xff\xc3"),
            (b"\xe2\x82", r"\xe2\x82"),
            ("é 漢 🦀".as_bytes(), "é 漢 🦀"),
            ("\u{85}\u{9f}".as_bytes(), r"\u{0085}\u{009f}"),
            ("\u{2028}\u{2029}".as_bytes(), r"\u{2028}\u{2029}"),
            ("\u{61c}\u{200e}\u{200f}".as_bytes(), r"\u{061c}\u{200e}\u{200f}"),
            ("\u{202a}\u{202e}".as_bytes(), r"\u{202a}\u{202e}"),
            ("\u{2066}\u{2069}".as_bytes(), r"\u{2066}\u{2069}"),
            ("\u{a0}\u{2027}\u{2070}".as_bytes(), "\u{a0}\u{2027}\u{2070}"),
            // Real text needs these.
            ("\u{200c}\u{200d}\u{fe0f}".as_bytes(), "\u{200c}\u{200d}\u{fe0f}"),
        ] {
            let escaped = String::from_utf8(escaped(message)).unwrap();
            assert_eq!(escaped, expected, "{message:?}");
            assert_eq!(unescape(expected.as_bytes()).as_deref(), Some(message));
        }
    }

    #[test]
    fn text_that_no_message_gives_is_told_apart() {
        for text in [r"\", r"\n", r"\x1", r"\xg0", r"\u0085", r"\u{", r"\u{110000}", r"\x+1"] {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
        }
    }

    /// Every character is compared with the Unicode data.
    #[test]
    fn the_characters_that_are_escaped_are_those_of_the_unicode_property() {
        let ignorable = regex_syntax::parse(r"\p{Default_Ignorable_Code_Point}").unwrap();
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(ignorable)) =
            ignorable.kind()
        else {
            panic!("a class of characters");
        };
        let is_ignorable = |c: char| {
            let mut ranges = ignorable.iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&c))
        };
        let stays = |c: char| {
            matches!(c, '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180d}' | '\u{180f}')
                || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
        };
        let also = |c: char| matches!(c, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}');
        for c in '\u{80}'..=char::MAX {
            let expected = is_ignorable(c) && !stays(c) || also(c);
            assert_eq!(is_unsafe(c), expected, "U+{:04X}", u32::from(c));
            if expected {
                let text = escaped(c.to_string().as_bytes());
                assert_eq!(text, format!("\\u{{{:04x}}}", u32::from(c)).as_bytes());
                assert_eq!(unescape(&text).unwrap(), c.to_string().as_bytes());
            }
        }
        assert!(stays('\u{fe0f}') && is_ignorable('\u{fe0f}'));
    }

    /// Logs of older servers contain some of these characters unescaped.
    #[test]
    fn what_was_not_escaped_before_is_still_read() {
        let old = "\u{3164}\u{115f}\u{34f}\u{e0080} \\\\ \\u{200b}";
        let expected = "\u{3164}\u{115f}\u{34f}\u{e0080} \\ \u{200b}";
        assert_eq!(unescape(old.as_bytes()).unwrap(), expected.as_bytes());
    }

    #[test]
    fn a_diagnostic_is_one_safe_line() {
        let hostile = "urn:x\nERROR\t| forged\x1b[2J\u{202e}\u{9b}\u{3164}";
        let safe = r"urn:x\x0aERROR\x09| forged\x1b[2J\u{202e}\u{009b}\u{3164}";
        assert_eq!(one_line(hostile), safe);
        assert_eq!(one_line(safe), safe);
        assert_eq!(one_line("é 漢"), "é 漢");
        let long = "é".repeat(MAX_LINE);
        assert_eq!(one_line(&long), "é".repeat(MAX_LINE / 2) + "…");
    }

    #[test]
    fn foreign_bytes_are_made_safe() {
        assert_eq!(printable(b"a\x1b[2J\xff\xc3\xa9\n", 80), "a\\x1b[2J\\xffé\\x0a");
        let text = "x\u{202e}y\u{9b}";
        assert_eq!(printable(text.as_bytes(), 80), "x\\u{202e}y\\u{009b}");
        assert_eq!(printable(b"abcdef", 3), "abc…");
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_safe_line_and_come_back(
            message in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..100),
                any::<String>().prop_map(String::into_bytes),
            ],
        ) {
            let text = String::from_utf8(escaped(&message)).unwrap();
            prop_assert!(!text.chars().any(|c| c.is_control() || is_unsafe(c)), "{:?}", text);
            prop_assert_eq!(unescape(text.as_bytes()), Some(message));
        }
    }
}
