//! Messages of a stream.

use std::time::Instant;

use nats::client::{Client, Received};
use nats::headers::Headers;
use nats::jetstream::StreamState;
use serde::Deserialize;
use serde_json::json;

use super::api::{ANSWER, call};
use super::stream::Stream;
use crate::wait::persist;

/// The number of messages in one pull request. A node closes the connection of a client for which it
/// buffers 64 MiB, and a message may have 1 MiB.
const AT_ONCE: u32 = 32;

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its sequence number in the stream, from 1.
    pub sequence: u64,
    /// The subject to which it was published.
    pub subject: String,
    /// The headers as they were published; empty if there were none.
    pub headers: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
}

impl Message {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        Headers(&self.headers).get(name)
    }

    fn of(received: Received) -> Result<Self, String> {
        // $JS.ACK.STREAM.CONSUMER.DELIVERED.SEQUENCE.…
        let reply = received.reply.unwrap_or_default();
        let sequence = reply.split('.').nth(5).and_then(|it| it.parse().ok());
        Ok(Self {
            sequence: sequence.ok_or_else(|| format!("no place in a stream: '{reply}'"))?,
            subject: received.subject,
            headers: received.headers,
            payload: received.payload,
        })
    }
}

impl Stream<'_> {
    /// All messages that are in the stream now, in order.
    pub fn messages(&self) -> Result<Vec<Message>, String> {
        let state = self.info()?.state;
        let mut messages = Vec::new();
        while !is_all(&messages, state) {
            // Every progress restarts the timeout.
            persist(|| self.read_some(&mut messages, state))?;
        }
        Ok(messages)
    }

    /// Reads on through a new consumer, until everything is read or an error occurs. It is an error only if
    /// nothing was read: a new consumer may deliver nothing, lag behind, or get lost.
    fn read_some(&self, messages: &mut Vec<Message>, state: StreamState) -> Result<(), String> {
        let before = messages.len();
        let read = self.read_on(messages, state);
        if messages.len() > before { Ok(()) } else { read }
    }

    fn read_on(&self, messages: &mut Vec<Message>, state: StreamState) -> Result<(), String> {
        let mut client = self.cluster().client()?;
        let next = messages.last().map_or(1, |last| last.sequence + 1);
        let consumer = self.consume(&mut client, next)?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", self.name());
        let pull = json!({"batch": AT_ONCE, "expires": ANSWER.as_nanos()}).to_string();
        while !is_all(messages, state) {
            client.ask(&subject, b"", pull.as_bytes());
            for _ in 0..AT_ONCE {
                let received = client.next(Instant::now() + 2 * ANSWER);
                let received = received.map_err(|error| error.to_string())?;
                let received = received.ok_or_else(|| format!("{subject} is not answered"))?;
                if let Some(status) = received.headers().status() {
                    return Err(format!("{subject} ends with status {status}"));
                }
                messages.push(Message::of(received)?);
                if is_all(messages, state) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Creates an ephemeral consumer that starts at sequence `from`; returns its name.
    fn consume(&self, client: &mut Client, from: u64) -> Result<String, String> {
        let subject = format!("$JS.API.CONSUMER.CREATE.{}", self.name());
        let config = json!({
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": from,
            "ack_policy": "none",
            "mem_storage": true,
        });
        let body = json!({"stream_name": self.name(), "config": config});
        let consumer: Consumer =
            call(client, &subject, &body)?.map_err(|error| format!("{subject}: {error}"))?;
        Ok(consumer.name)
    }
}

fn is_all(messages: &[Message], state: StreamState) -> bool {
    let last = messages.last().map_or(0, |last| last.sequence);
    messages.len() as u64 >= state.messages || last >= state.last_seq
}
