//! Pattern of a template in a log: it has the server's escapes and reads the numbers back.

use std::fmt::Write as _;

use crate::message::template::{Part, Template};

/// The form of a record's message that was made from a template.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// With escaped literals.
    parts: Vec<Part>,
    /// The length of the longest message that can match, as recorded.
    longest: usize,
}

impl Pattern {
    /// # Errors
    ///
    /// The messages could not be told apart or read back.
    pub(crate) fn new(template: &Template, run: &str) -> Result<Self, String> {
        let parts = template.parts();
        let has = |wanted: fn(&Part) -> bool| parts.iter().any(wanted);
        if !has(|part| matches!(part, Part::Run))
            || !has(|part| matches!(part, Part::Conn(_)))
            || !has(|part| matches!(part, Part::Seq(_)))
        {
            return Err("to be verified it needs {run}, {conn} and {seq}".to_owned());
        }
        let mut messages = template.bind(run).messages();
        let (Some(bound), true) = (messages.pop(), messages.is_empty()) else {
            return Err("to be verified it must be one line".to_owned());
        };
        let typed = template.messages().pop().unwrap_or_default();
        for (part, next) in typed.iter().zip(typed.iter().skip(1).map(Some).chain([None])) {
            let is_number = matches!(part, Part::Conn(_) | Part::Seq(_));
            let is_text = matches!(next, Some(Part::Literal(bytes)) if !bytes[0].is_ascii_digit());
            // Otherwise a message that was truncated within its number equals another one.
            if is_number && !is_text {
                return Err(
                    "to be verified, {conn} and {seq} must be followed by some text that is no \
                     digit, e.g. '{seq};'"
                        .to_owned(),
                );
            }
        }
        Ok(Self::of(&bound))
    }

    fn of(parts: &[Part]) -> Self {
        let escaped = |part: &Part| match part {
            Part::Literal(bytes) => Part::Literal(escape(bytes)),
            other => other.clone(),
        };
        let parts: Vec<_> = parts.iter().map(escaped).collect();
        let longest = parts.iter().map(Part::longest).sum();
        Self { parts, longest }
    }

    /// The patterns of the lines of a hello. Lines without the run's name are left out, since the
    /// verification searches for that name.
    pub(crate) fn of_hello(template: &Template, run: &str) -> Vec<Self> {
        // A connection sends one hello, so its message number is 0.
        let lines = template.bind(run).number_messages(0).messages();
        let patterns = lines.iter().map(|parts| Self::of(parts));
        let is_named = |pattern: &Self| {
            let named = |part: &Part| match part {
                Part::Literal(bytes) => memchr::memmem::find(bytes, run.as_bytes()).is_some(),
                _ => false,
            };
            pattern.parts.iter().any(named)
        };
        patterns.filter(is_named).collect()
    }

    /// The length of the longest message that can match, as recorded.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Classifies `text`, the message of a record.
    pub(crate) fn read(&self, text: &[u8]) -> Text {
        match self.numbers(text) {
            Ok((Some(conn), Some(seq))) => Text::Message(conn, seq),
            Ok(_) | Err(Mismatch::Foreign) => Text::Foreign,
            Err(Mismatch::Torn) => Text::Torn,
        }
    }

    /// Classifies `text` by the pattern of a hello, if the run had this many connections. The hello
    /// need not contain the number of the connection.
    pub(crate) fn read_hello(&self, text: &[u8], connections: u64) -> Text {
        match self.numbers(text) {
            Ok((conn, _)) if conn.unwrap_or(0) < connections => Text::Hello,
            Ok(_) | Err(Mismatch::Foreign) => Text::Foreign,
            Err(Mismatch::Torn) => Text::Torn,
        }
    }

    /// The numbers of the connection and of the message in `text`, if the pattern has them.
    fn numbers(&self, mut text: &[u8]) -> Result<(Option<u64>, Option<u64>), Mismatch> {
        let (mut conn, mut seq) = (None, None);
        for part in &self.parts {
            let (slot, digits) = match part {
                Part::Run => continue,
                Part::Literal(literal) => {
                    match text.strip_prefix(&literal[..]) {
                        Some(rest) => text = rest,
                        None if literal.starts_with(text) => return Err(Mismatch::Torn),
                        None => return Err(Mismatch::Foreign),
                    }
                    continue;
                }
                Part::Conn(digits) => (&mut conn, *digits),
                Part::Seq(digits) => (&mut seq, *digits),
            };
            match take_number(&mut text, digits) {
                Some(number) if *slot.get_or_insert(number) == number => {}
                None if text.is_empty() => return Err(Mismatch::Torn),
                _ => return Err(Mismatch::Foreign),
            }
        }
        if text.is_empty() { Ok((conn, seq)) } else { Err(Mismatch::Foreign) }
    }
}

/// Why a text does not match a pattern.
enum Mismatch {
    /// The text ends too soon.
    Torn,
    Foreign,
}

/// The class of a record's message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// Exactly this message of this connection.
    Message(u64, u64),
    /// The hello of a connection, sent before its first message.
    Hello,
    /// The beginning of a message or of a hello.
    Torn,
    Foreign,
}

/// Takes the number at the start of `text`. It must have at least `digits` digits, and no more
/// leading zeros than needed for that. If the text ends too soon, `text` becomes empty.
fn take_number(text: &mut &[u8], digits: usize) -> Option<u64> {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at(len);
    let is_short = len < digits.max(1);
    if is_short && rest.is_empty() {
        *text = rest;
    }
    if is_short || (len > digits.max(1) && number[0] == b'0') {
        return None;
    }
    *text = rest;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A message as the server escapes it in a record. This is a separate implementation: the server's
/// own would not find the server's errors.
pub(crate) fn escape(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_ascii_control() => _ = write!(text, "\\x{:02x}", c as u32),
                c if is_deceptive(c) => _ = write!(text, "\\u{{{:04x}}}", c as u32),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.into_bytes()
}

/// Terminal control characters and characters that change how text is read: C1 controls, line and
/// paragraph separators, interlinear annotation, and Unicode's `Default_Ignorable_Code_Point`,
/// except joiners and variation selectors.
fn is_deceptive(c: char) -> bool {
    let stays = matches!(c, '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180d}' | '\u{180f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    !stays
        && matches!(c,
            '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}'
            | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::protocol::Framing;

    use crate::message::template::DEFAULT_MESSAGE;

    fn pattern(text: &str) -> Result<Pattern, String> {
        Pattern::new(&Template::parse(text).unwrap().framed(Framing::Line), "cafe")
    }

    #[test]
    fn what_was_sent_is_read_back() {
        let default = pattern(DEFAULT_MESSAGE).unwrap();
        assert_eq!(default.read(b"load cafe 7 42;"), Text::Message(7, 42));
        for foreign in [
            &b"load cafe 7 42;;"[..],
            b"load cafe 07 42;",
            b"load cafe 7 ;",
            b"load cafe 7 99999999999999999999999;",
            b"load babe 7 42;",
            b"oad cafe 7 42;",
        ] {
            let text = foreign.escape_ascii();
            assert_eq!(default.read(foreign), Text::Foreign, "{text}");
        }
        let fixed = pattern("{seq:3}-{conn}/{pad:2}{run}{seq:3}.\\r\\n").unwrap();
        assert_eq!(fixed.read(b"042-7/xxcafe042."), Text::Message(7, 42));
        assert_eq!(fixed.read(b"1042-7/xxcafe1042."), Text::Message(7, 1042));
        assert_eq!(fixed.read(b"042-7/xxcafe043."), Text::Foreign);
        assert_eq!(fixed.read(b"42-7/xxcafe42."), Text::Foreign);
        assert_eq!(fixed.read(b"0042-7/xxcafe0042."), Text::Foreign);
    }

    #[test]
    fn a_message_cut_anywhere_is_torn() {
        for (template, whole) in [
            (DEFAULT_MESSAGE, "load cafe 7 42;"),
            ("{seq:3}-{conn}/{run}{seq:3}.", "042-7/cafe042."),
        ] {
            let pattern = pattern(template).unwrap();
            assert_eq!(pattern.read(whole.as_bytes()), Text::Message(7, 42));
            for at in 0..whole.len() {
                let cut = &whole[..at];
                assert_eq!(pattern.read(cut.as_bytes()), Text::Torn, "{cut}");
            }
        }
    }

    #[test]
    fn literals_are_compared_as_the_log_shows_them() {
        let text = "{run} {conn} {seq} \\\\ \\x1b\\xff\\t é\u{202e}\u{85}\\x7f\\r\\r\\n";
        let pattern = pattern(text).unwrap();
        let logged = "cafe 1 2 \\\\ \\x1b\\xff\\x09 é\\u{202e}\\u{0085}\\x7f\\x0d";
        assert_eq!(pattern.read(logged.as_bytes()), Text::Message(1, 2));
        assert!(pattern.longest() >= logged.len());
    }

    /// Compares the two implementations of the rule on every character.
    #[test]
    fn each_character_is_escaped_as_the_server_does() {
        for c in '\0'..=char::MAX {
            let message = c.to_string();
            let mut logged = Vec::new();
            common::record::escape(&mut logged, message.as_bytes());
            assert_eq!(escape(message.as_bytes()), logged, "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn templates_that_cannot_be_read_back_are_refused() {
        for (text, expected) in [
            ("{run} {seq};", "needs {run}, {conn} and {seq}"),
            ("{run}{conn}{seq};", "must be followed"),
            ("{seq}{run} {conn};", "must be followed"),
            ("{run} {conn}5 {seq};", "must be followed"),
            ("{run} {conn} {seq}", "must be followed"),
            ("{run} {conn} {seq}\\r\\n", "must be followed"),
            ("{run}\\n{conn} {seq};", "one line"),
            ("{run} {conn} {seq};\\n\\n", "one line"),
        ] {
            let error = pattern(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
