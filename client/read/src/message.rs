//! Parser of records in both formats.

use common::record;
use data_encoding::BASE64;
use serde::Deserialize;

/// A message in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// As in the record: `YYYY-MM-DD hh:mm:ss` in the server's time, or RFC 3339.
    pub(crate) time: String,
    pub(crate) peer: String,
    /// The name in the client's certificate.
    pub(crate) client: Option<String>,
    /// The exact bytes. [`Message::untag`] removes the sender's tag.
    pub(crate) text: Vec<u8>,
    /// The sender's name and the number of the line.
    pub(crate) tag: Option<(String, u64)>,
}

/// Error: the line is not a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Foreign;

/// A record in JSON.
#[derive(Deserialize)]
struct Json<'a> {
    time: String,
    peer: String,
    client: Option<String>,
    message: Option<String>,
    /// Base64 of a message that is not UTF-8.
    bytes: Option<String>,
    #[serde(borrow)]
    error: Option<std::borrow::Cow<'a, str>>,
}

impl Message {
    /// `None` if the record is of a reply. Without `with_head` the time and the peer may be empty.
    pub(crate) fn parse(line: &[u8], with_head: bool) -> Result<Option<Self>, Foreign> {
        if line.first() == Some(&b'{') {
            // JSON itself forbids only some control characters in strings.
            if record::has_control(line) {
                return Err(Foreign);
            }
            return Self::parse_json(line);
        }
        let parts = record::parse(line).ok_or(Foreign)?;
        let Some(message) = parts.message else {
            return Ok(None);
        };
        let text = if memchr::memchr(b'\\', message).is_none() {
            message.to_vec()
        } else {
            record::unescape(message).ok_or(Foreign)?
        };
        let owned = |bytes: &[u8]| {
            if with_head { String::from_utf8_lossy(bytes).into_owned() } else { String::new() }
        };
        Ok(Some(Self {
            time: owned(parts.time),
            peer: owned(parts.peer),
            client: None,
            tag: None,
            text,
        }))
    }

    fn parse_json(line: &[u8]) -> Result<Option<Self>, Foreign> {
        let json: Json<'_> = serde_json::from_slice(line).map_err(|_| Foreign)?;
        let text = match (json.message, json.bytes, json.error) {
            (Some(text), None, None) => text.into_bytes(),
            (None, Some(bytes), None) => BASE64.decode(bytes.as_bytes()).map_err(|_| Foreign)?,
            (None, None, Some(_)) => return Ok(None),
            _ => return Err(Foreign),
        };
        Ok(Some(Self { time: json.time, peer: json.peer, client: json.client, tag: None, text }))
    }

    /// Removes the tag `@NAME:NUMBER `, if there is one.
    pub(crate) fn untag(&mut self) {
        if let Some((name, number, len)) = tag(&self.text) {
            self.tag = Some((name.to_owned(), number));
            self.text.drain(..len);
        }
    }

    /// The sender's name, whether or not the tag was removed.
    pub(crate) fn sender(&self) -> Option<&str> {
        let tagged = self.tag.as_ref().map(|(name, _)| name.as_str());
        tagged.or_else(|| tag(&self.text).map(|(name, ..)| name))
    }
}

/// The name and the number in the tag at the start of `text`, and the length of the tag.
fn tag(text: &[u8]) -> Option<(&str, u64, usize)> {
    let rest = text.strip_prefix(b"@")?;
    let end = memchr::memchr(b' ', &rest[..rest.len().min(100)])?;
    let (name, number) = std::str::from_utf8(&rest[..end]).ok()?.split_once(':')?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_name) {
        return None;
    }
    let is_number = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse().ok().filter(|_| is_number)?;
    Some((name, number, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> Result<Option<Message>, Foreign> {
        Message::parse(line.as_bytes(), true)
    }

    #[test]
    fn both_formats_give_the_exact_bytes() {
        let original = r"INFO	| 2019-02-24 15:10:14 --[::1]:4 recieved: a\x00\\ é\u{202e}";
        let found = message(original).unwrap().unwrap();
        assert_eq!(found.text, "a\0\\ é\u{202e}".as_bytes());
        assert_eq!((found.time.as_str(), found.peer.as_str()), ("2019-02-24 15:10:14", "[::1]:4"));
        let json = r#"{"time":"2026-11-25T03:35:12.123456+01:00","peer":"1.2.3.4:5","message":"a\u0000\\"}"#;
        assert_eq!(message(json).unwrap().unwrap().text, b"a\0\\");
        let bytes = r#"{"time":"x","peer":"p","client":"c","bytes":"/wA="}"#;
        let found = message(bytes).unwrap().unwrap();
        assert_eq!((found.text, found.client), (vec![0xff, 0], Some("c".to_owned())));
        let error = r#"{"time":"x","peer":"p","error":"too-long"}"#;
        assert_eq!(message(error), Ok(None));
        assert_eq!(message("INFO\t| 2019-02-24 15:10:14 --[::1]:4 send: ok"), Ok(None));
        for foreign in [
            "",
            "x",
            "{}",
            r#"{"time":"x","peer":"p"}"#,
            r"INFO	| 2019-02-24 15:10:14 --a recieved: \q",
            "INFO\t| 2019-02-24 15:10:14 --a recieved: a\0b",
            "{\"time\":\"x\",\"peer\":\"p\",\"message\":\"a\x7fb\"}",
            "{\"time\":\"x\",\t\"peer\":\"p\",\"message\":\"ab\"}",
        ] {
            assert_eq!(message(foreign), Err(Foreign), "{foreign}");
        }
    }

    #[test]
    fn tags_are_told_from_text() {
        assert_eq!(tag(b"@shop-7:12 text"), Some(("shop-7", 12, 11)));
        assert_eq!(tag(b"@a:1 "), Some(("a", 1, 5)));
        for text in [
            "@a:1",
            "@a:01 x",
            "@a:0 x",
            "@:1 x",
            "@a b:1 x",
            "a:1 x",
            "@a:-1 x",
            "@a: x",
            "@a:99999999999999999999 x",
        ] {
            assert_eq!(tag(text.as_bytes()), None, "{text}");
        }
    }
}
