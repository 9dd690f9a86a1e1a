//! Messages of a run, and their recognition in a log.

use common::record;
use serde::Deserialize;

use crate::message::ack_log::AckLog;
use crate::message::pattern::{Pattern, Text, escape};

/// What a run sent and which replies it got.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    /// The run's name.
    pub(crate) run: &'a str,
    pub(crate) message: Pattern,
    /// The patterns of the hello that each connection sent first. It is logged, but is not a
    /// message. Empty if it does not contain the run's name.
    pub(crate) hello: Vec<Pattern>,
    /// Indexed by connection number.
    pub(crate) ack_logs: &'a [AckLog],
}

impl Sent<'_> {
    /// The length of the longest message or hello, as recorded.
    pub(super) fn longest(&self) -> usize {
        let patterns = self.hello.iter().chain([&self.message]);
        patterns.map(Pattern::longest).max().unwrap_or(0)
    }

    /// Classifies a line of the log.
    pub(super) fn classify(&self, line: &[u8]) -> Text {
        if line.starts_with(b"{") {
            return self.identify_json(line);
        }
        received(line).map_or(Text::Foreign, |text| self.identify(text))
    }

    /// Classifies a record in JSON.
    fn identify_json(&self, line: &[u8]) -> Text {
        if record::has_control(line) {
            return Text::Foreign;
        }
        let Ok(json) = serde_json::from_slice::<Json>(line) else {
            // Truncated, for example by a server that was killed.
            let is_cut = line.starts_with(br#"{"time":""#) && !line.ends_with(b"}");
            return if is_cut { Text::Torn } else { Text::Foreign };
        };
        match json.message {
            Some(message) => self.identify(&escape(message.as_bytes())),
            None => Text::Foreign,
        }
    }

    /// Classifies the message of a record.
    fn identify(&self, text: &[u8]) -> Text {
        // A single backslash is not an escape. A server ends a torn record with one when it starts.
        let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 1 {
            return Text::Torn;
        }
        let made = self.ack_logs.len() as u64;
        let as_hello = self.hello.iter().map(|hello| hello.read_hello(text, made));
        match self.message.read(text) {
            Text::Message(conn, seq) => Text::Message(conn, seq),
            // A torn message may be either.
            other => as_hello.fold(other, |so_far, as_hello| match (so_far, as_hello) {
                (Text::Hello, _) | (_, Text::Hello) => Text::Hello,
                (Text::Torn, _) | (_, Text::Torn) => Text::Torn,
                _ => Text::Foreign,
            }),
        }
    }
}

/// The relevant part of a JSON record. A message that is not UTF-8 does not contain the run's name.
#[derive(Deserialize)]
struct Json {
    message: Option<String>,
}

/// The message in a record of the original format.
fn received(line: &[u8]) -> Option<&[u8]> {
    let parts = record::parse(line)?;
    let is_of_address = |b: &u8| b.is_ascii_hexdigit() || b".:[]%".contains(b);
    let is_peer = !parts.peer.is_empty() && parts.peer.iter().all(is_of_address);
    parts.message.filter(|_| is_peer)
}
