//! Output formats of a message.

use std::io::{self, BufWriter, Write};

use data_encoding::BASE64;
use serde::Serialize;

use crate::message::Message;

/// Size of the output buffer, in bytes.
const BUFFER: usize = 256 << 10;

/// What to print of each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Show {
    pub(crate) form: Form,
    pub(crate) time: bool,
    pub(crate) peer: bool,
}

/// How messages are delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each ends with LF.
    #[default]
    Lines,
    /// Each ends with NUL.
    Nul,
    /// Each is a line of JSON.
    Json,
}

pub(crate) struct Output<W: Write> {
    out: BufWriter<W>,
    show: Show,
}

#[derive(Serialize)]
struct Json<'a> {
    time: &'a str,
    peer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(out: W, show: Show) -> Self {
        let out = BufWriter::with_capacity(BUFFER, out);
        Self { out, show }
    }

    pub(crate) fn show(&mut self, message: &Message) -> io::Result<()> {
        if self.show.form == Form::Json {
            return self.show_json(message);
        }
        if self.show.time {
            self.out.write_all(message.time.as_bytes())?;
            self.out.write_all(b" ")?;
        }
        if self.show.peer {
            self.out.write_all(message.peer.as_bytes())?;
            self.out.write_all(b" ")?;
        }
        self.out.write_all(&message.text)?;
        let end: &[u8] = if self.show.form == Form::Nul { b"\0" } else { b"\n" };
        self.out.write_all(end)
    }

    fn show_json(&mut self, message: &Message) -> io::Result<()> {
        let text = std::str::from_utf8(&message.text).ok();
        let json = Json {
            time: &message.time,
            peer: &message.peer,
            client: message.client.as_deref(),
            id: message.tag.as_ref().map(|(name, _)| name.as_str()),
            seq: message.tag.as_ref().map(|(_, number)| *number),
            message: text,
            bytes: text.is_none().then(|| BASE64.encode(&message.text)),
        };
        serde_json::to_writer(&mut self.out, &json)?;
        self.out.write_all(b"\n")
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
