//! Message template: its escapes, placeholders and rendering.

use std::fmt;

use common::protocol::Framing;

/// The default of `-message`. The semicolon marks the end, so that a truncated message is not
/// mistaken for another.
pub(crate) const DEFAULT_MESSAGE: &str = "load {run} {conn} {seq};";

/// Maximum length of a message in bytes, `{pad:N}` included. It protects the memory from a typing
/// error.
const MAX_MESSAGE: usize = 64 << 20;

/// Maximum number of digits in `{conn:N}` and `{seq:N}`.
const MAX_DIGITS: usize = 1000;

/// A message with placeholders for the number of the connection and its own number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
    framing: Framing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(Vec<u8>),
    Run,
    /// A number with at least this many digits.
    Conn(usize),
    Seq(usize),
}

impl Part {
    /// The length of its longest form in bytes.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Self::Literal(bytes) => bytes.len(),
            Self::Run => 0,
            Self::Conn(digits) | Self::Seq(digits) => 20.max(*digits),
        }
    }
}

impl Template {
    /// Parses `text`.
    ///
    /// # Errors
    ///
    /// The text is for the user.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if c == '\\' {
                let (byte, len) = escape(rest)?;
                template.literal(&[byte]);
                rest = &rest[len..];
            } else if let Some((placeholder, len)) = placeholder(rest) {
                template.push(placeholder)?;
                rest = &rest[len..];
            } else {
                let len = c.len_utf8();
                template.literal(&rest.as_bytes()[..len]);
                rest = &rest[len..];
            }
        }
        Ok(template)
    }

    /// Parses a text with escapes and without placeholders, such as `-reply`.
    pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, TemplateError> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            let (byte, len) = escape(&rest[at..])?;
            bytes.push(byte);
            rest = &rest[at + len..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(bytes)
    }

    /// Adds the message end of the framing. An LF at the end is not added twice.
    pub(crate) fn framed(mut self, framing: Framing) -> Self {
        match framing {
            Framing::Line if !self.ends_with_lf() => self.literal(b"\n"),
            Framing::Nul => self.literal(b"\0"),
            Framing::Line | Framing::Octet | Framing::None => {}
        }
        self.framing = framing;
        self
    }

    fn ends_with_lf(&self) -> bool {
        matches!(self.parts.last(), Some(Part::Literal(bytes)) if bytes.ends_with(b"\n"))
    }

    /// The template with the run's name filled in.
    pub(crate) fn bind(&self, run: &str) -> Self {
        self.fill(|part| matches!(part, Part::Run).then(|| run.as_bytes().to_vec()))
    }

    /// The template with `seq` filled in as the number of the message.
    pub(crate) fn number_messages(&self, seq: u64) -> Self {
        self.fill(|part| match part {
            Part::Seq(digits) => {
                let mut bytes = Vec::new();
                number(seq, *digits, &mut bytes);
                Some(bytes)
            }
            _ => None,
        })
    }

    /// The template with text in place of the parts for which `text` has some.
    fn fill(&self, text: impl Fn(&Part) -> Option<Vec<u8>>) -> Self {
        let mut filled = Self { parts: Vec::new(), framing: self.framing };
        for part in &self.parts {
            match (text(part), part) {
                (Some(bytes), _) => filled.literal(&bytes),
                (None, Part::Literal(bytes)) => filled.literal(bytes),
                (None, part) => filled.parts.push(part.clone()),
            }
        }
        filled
    }

    /// The parts of each message that the template makes, without the message ends.
    pub(crate) fn messages(&self) -> Vec<Vec<Part>> {
        let end = match self.framing {
            Framing::Line => Some(b'\n'),
            Framing::Nul => Some(0),
            Framing::Octet | Framing::None => None,
        };
        let mut messages = Vec::new();
        let mut message = Vec::new();
        for part in &self.parts {
            let Part::Literal(bytes) = part else {
                message.push(part.clone());
                continue;
            };
            let mut pieces = bytes.split(|&byte| Some(byte) == end).peekable();
            while let Some(piece) = pieces.next() {
                let is_ended = pieces.peek().is_some();
                let piece = match piece.strip_suffix(b"\r") {
                    Some(line) if is_ended && self.framing == Framing::Line => line,
                    _ => piece,
                };
                if !piece.is_empty() {
                    message.push(Part::Literal(piece.to_owned()));
                }
                if is_ended {
                    messages.push(std::mem::take(&mut message));
                }
            }
        }
        if end.is_none() || !message.is_empty() {
            messages.push(message);
        }
        messages
    }

    /// Appends message `seq` of connection `conn` to `out`.
    pub(crate) fn render(&self, conn: u64, seq: u64, out: &mut Vec<u8>) {
        let from = out.len();
        for part in &self.parts {
            match *part {
                Part::Literal(ref bytes) => out.extend_from_slice(bytes),
                Part::Run => debug_assert!(false, "bind comes before render"),
                Part::Conn(digits) => number(conn, digits, out),
                Part::Seq(digits) => number(seq, digits, out),
            }
        }
        if self.framing == Framing::Octet {
            Framing::Octet.finish_message(out, from);
        }
    }

    /// The length of the longest message in bytes; at least 1.
    pub(crate) fn longest(&self) -> usize {
        let length: usize = self.parts.iter().map(Part::longest).sum();
        length.max(1)
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn push(&mut self, placeholder: Placeholder<'_>) -> Result<(), TemplateError> {
        let Placeholder { name, number } = placeholder;
        let digits = || match number.map(str::parse).transpose() {
            Ok(digits) if digits.unwrap_or(0) <= MAX_DIGITS => Ok(digits.unwrap_or(0)),
            _ => Err(TemplateError::Digits(name.to_owned())),
        };
        let part = match (name, number) {
            ("run", None) => Part::Run,
            ("conn", _) => Part::Conn(digits()?),
            ("seq", _) => Part::Seq(digits()?),
            ("pad", Some(number)) => {
                let room = MAX_MESSAGE.saturating_sub(self.longest());
                let len = number.parse().ok().filter(|&len| len <= room);
                let len = len.ok_or(TemplateError::Pad)?;
                self.literal(&vec![b'x'; len]);
                return Ok(());
            }
            _ => return Err(TemplateError::Placeholder(name.to_owned())),
        };
        self.parts.push(part);
        Ok(())
    }

    /// Adds text. Parts are never empty.
    fn literal(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.parts.last_mut() {
            Some(Part::Literal(last)) => last.extend_from_slice(bytes),
            _ => self.parts.push(Part::Literal(bytes.to_owned())),
        }
    }
}

#[derive(Clone, Copy)]
struct Placeholder<'a> {
    name: &'a str,
    number: Option<&'a str>,
}

/// The placeholder `{name}` or `{name:N}` at the start of `text`, and its length. Any other brace
/// is literal, so that JSON needs no escapes.
fn placeholder(text: &str) -> Option<(Placeholder<'_>, usize)> {
    let inside = text.strip_prefix('{')?;
    let inside = &inside[..inside.find('}')?];
    let (name, number) = match inside.split_once(':') {
        Some((name, number)) => (name, Some(number)),
        None => (inside, None),
    };
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
    let is_number = number.is_none_or(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    (is_name && is_number).then_some((Placeholder { name, number }, inside.len() + 2))
}

/// The byte of the escape at the start of `text`, and the length of the escape.
fn escape(text: &str) -> Result<(u8, usize), TemplateError> {
    let bytes = text.as_bytes();
    let unknown = || TemplateError::Escape(text.chars().take(4).collect());
    match bytes.get(1) {
        Some(b'r') => Ok((b'\r', 2)),
        Some(b'n') => Ok((b'\n', 2)),
        Some(b't') => Ok((b'\t', 2)),
        Some(b'\\') => Ok((b'\\', 2)),
        Some(b'{') => Ok((b'{', 2)),
        Some(b'x') => {
            let digits = text.get(2..4).ok_or_else(unknown)?;
            let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex);
            byte.map(|byte| (byte, 4)).ok_or_else(unknown)
        }
        _ => Err(unknown()),
    }
}

fn number(n: u64, digits: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(n);
    for _ in text.len()..digits {
        out.push(b'0');
    }
    out.extend_from_slice(text.as_bytes());
}

/// The error in a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    Escape(String),
    Placeholder(String),
    Digits(String),
    Pad,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escape(text) => {
                write!(f, "unknown escape '{text}': expected \\r, \\n, \\t, \\\\, \\{{ or \\xNN")
            }
            Self::Placeholder(name) => write!(
                f,
                "unknown placeholder '{{{name}}}': expected {{run}}, {{conn}}, {{seq}} or {{pad:N}} \
                 (\\{{ is a brace)"
            ),
            Self::Digits(name) => write!(f, "{{{name}:N}} takes 0 to {MAX_DIGITS} digits"),
            Self::Pad => {
                write!(f, "{{pad:N}} takes 0 to {MAX_MESSAGE} bytes, for the whole message")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        let template = Template::parse(text).unwrap().framed(Framing::Line).bind("cafe");
        let mut out = Vec::new();
        template.render(7, 42, &mut out);
        out.escape_ascii().to_string()
    }

    #[test]
    fn placeholders_and_escapes_are_rendered() {
        for (text, expected) in [
            (DEFAULT_MESSAGE, r"load cafe 7 42;\n"),
            ("PING\\r\\n", r"PING\r\n"),
            (r"a\x00\xfF\\\t", r"a\x00\xff\\\t\n"),
            ("{seq:5}-{conn:3}-{seq:1}", r"00042-007-42\n"),
            ("{pad:4}{run}{pad:0}", r"xxxxcafe\n"),
            (r#"{"verbose":true} {} {A} { run}"#, r#"{\"verbose\":true} {} {A} { run}\n"#),
            (r"\{run}", r"{run}\n"),
            ("é{", r"\xc3\xa9{\n"),
            ("", r"\n"),
        ] {
            assert_eq!(rendered(text), expected, "{text}");
        }
    }

    #[test]
    fn a_message_is_framed_as_the_server_reads_it() {
        for (framing, expected) in [
            (Framing::Line, &b"a 42\n"[..]),
            (Framing::Nul, b"a 42\0"),
            (Framing::Octet, b"4 a 42"),
        ] {
            let template = Template::parse("a {seq}").unwrap().framed(framing);
            let mut out = b"before".to_vec();
            template.render(7, 42, &mut out);
            assert_eq!(&out[6..], expected);
            let parts = vec![Part::Literal(b"a ".to_vec()), Part::Seq(0)];
            assert_eq!(template.messages(), [parts]);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("a\\q", "unknown escape '\\q'"),
            ("a\\", "unknown escape '\\'"),
            ("\\x+1", "unknown escape '\\x+1'"),
            ("\\x1é", "unknown escape '\\x1é'"),
            ("{sequ}", "unknown placeholder '{sequ}'"),
            ("{run:3}", "unknown placeholder '{run}'"),
            ("{pad}", "unknown placeholder '{pad}'"),
            ("{seq:1001}", "{seq:N} takes 0 to 1000 digits"),
            ("{pad:99999999999999999999}", "{pad:N} takes 0 to 67108864 bytes"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn plain_text_takes_escapes_only() {
        assert_eq!(Template::unescape(r"+OK {run}\r").unwrap(), b"+OK {run}\r");
        assert_eq!(Template::unescape(r"a\\nb").unwrap(), b"a\\nb");
        Template::unescape(r"\y").unwrap_err();
    }
}
