//! Requests to a consumer, which reads a stream for one client, and its answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::json;

use crate::headers::Headers;

/// The message of a stream that is read first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin<'a> {
    /// The message with this sequence, or the next one that exists.
    Sequence(u64),
    /// The first message that was stored at this time (RFC 3339) or later.
    Time(&'a str),
}

/// The API subject that creates a consumer.
pub fn create_subject(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}")
}

/// The API subject that deletes a consumer.
pub fn delete_subject(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}")
}

/// The API subject that requests messages.
pub fn next_subject(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

/// A request to create a consumer that one node keeps in memory and that needs no acknowledgements. It is
/// deleted after `unused` without a request.
pub fn create(stream: &str, consumer: &str, begin: Begin<'_>, unused: Duration) -> Vec<u8> {
    let mut config = json!({
        "name": consumer,
        "ack_policy": "none",
        "replay_policy": "instant",
        "inactive_threshold": unused.as_nanos() as u64,
        "num_replicas": 1,
        "mem_storage": true,
    });
    let (policy, field, value) = match begin {
        Begin::Sequence(first) => ("by_start_sequence", "opt_start_seq", json!(first)),
        Begin::Time(time) => ("by_start_time", "opt_start_time", json!(time)),
    };
    config["deliver_policy"] = json!(policy);
    config[field] = value;
    let request = json!({ "stream_name": stream, "config": config, "action": "create" });
    request.to_string().into_bytes()
}

/// A request for up to `batch` messages of up to `max_bytes` bytes together; 0 means no limit of bytes. The
/// node sends them as they arrive, and a heartbeat whenever none arrived for `heartbeat`. The request ends
/// after `expires`.
pub fn next(batch: u32, max_bytes: usize, expires: Duration, heartbeat: Duration) -> Vec<u8> {
    let mut request = json!({
        "batch": batch,
        "expires": expires.as_nanos() as u64,
        "idle_heartbeat": heartbeat.as_nanos() as u64,
    });
    if max_bytes > 0 {
        request["max_bytes"] = json!(max_bytes);
    }
    request.to_string().into_bytes()
}

/// A consumer, as described when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ConsumerInfo {
    /// The position of the consumer.
    pub delivered: Sequences,
}

/// The position of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Sequences {
    /// The stream sequence after which it looks for messages.
    pub stream_seq: u64,
}

/// Metadata of a delivered message. Its text form is the subject of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The consumer that delivered it.
    pub consumer: &'a str,
    /// The sequence of the message in the stream.
    pub stream_sequence: u64,
    /// How many messages the consumer has delivered, this one included.
    pub consumer_sequence: u64,
    /// When it was stored.
    pub time: SystemTime,
    /// How many more messages the consumer has, as far as it knows.
    pub pending: u64,
}

impl<'a> Metadata<'a> {
    /// Parses `$JS.ACK.STREAM.CONSUMER.DELIVERED.SEQUENCE.SEQUENCE.TIME.PENDING`. Domain and account may come
    /// before the stream, and a random token at the end.
    pub fn parse(reply: &'a str) -> Option<Self> {
        let words: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let words = match words.len() {
            7 => &words[..],
            9.. => &words[2..9],
            _ => return None,
        };
        let number = |at: usize| words[at].parse::<u64>().ok();
        Some(Self {
            stream: words[0],
            consumer: words[1],
            stream_sequence: number(3)?,
            consumer_sequence: number(4)?,
            time: UNIX_EPOCH + Duration::from_nanos(number(5)?),
            pending: number(6)?,
        })
    }
}

/// A response to a request for messages that is not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is no new message. It gives the last delivered sequences.
    Idle {
        /// The sequence in the stream.
        stream_sequence: u64,
        /// The number of delivered messages.
        consumer_sequence: u64,
    },
    /// The request has ended; another one is needed.
    Over,
    /// The request has ended, since the next message is larger than the rest of its bytes.
    TooLarge,
    /// The consumer is unusable, for this reason.
    Unusable(String),
}

impl Status {
    /// Parses the status of a message, if it has one.
    pub fn read(headers: Headers<'_>) -> Option<Self> {
        let code = headers.status()?;
        let description = headers.description().unwrap_or_default();
        let number = |name| headers.get(name).and_then(|value| value.parse().ok());
        Some(match (code, description) {
            (100, _) => Self::Idle {
                stream_sequence: number("Nats-Last-Stream")?,
                consumer_sequence: number("Nats-Last-Consumer")?,
            },
            (404 | 408, _) | (409, "Batch Completed") => Self::Over,
            (409, "Message Size Exceeds MaxBytes") => Self::TooLarge,
            (503, "") => Self::Unusable("the consumer is not there".to_owned()),
            _ => Self::Unusable(format!("{description} ({code})")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_begins_where_it_is_told_to() {
        let unused = Duration::from_secs(30);
        let sequence = create("LOG", "c", Begin::Sequence(7), unused);
        let text = String::from_utf8(sequence).unwrap();
        let config = r#""config":{"ack_policy":"none","deliver_policy":"by_start_sequence","inactive_threshold":30000000000,"mem_storage":true,"name":"c","num_replicas":1,"opt_start_seq":7,"replay_policy":"instant"}"#;
        assert!(text.contains(config), "{text}");
        assert!(text.contains(r#""stream_name":"LOG""#), "{text}");
        let time = create("LOG", "c", Begin::Time("2026-11-25T03:35:12Z"), unused);
        let text = String::from_utf8(time).unwrap();
        assert!(text.contains(r#""opt_start_time":"2026-11-25T03:35:12Z""#), "{text}");
    }

    #[test]
    fn a_bound_of_no_bytes_is_none() {
        let asked = |max_bytes| {
            let (expires, heartbeat) = (Duration::from_secs(30), Duration::from_secs(1));
            let request = next(2, max_bytes, expires, heartbeat);
            String::from_utf8(request).unwrap()
        };
        assert_eq!(asked(0), r#"{"batch":2,"expires":30000000000,"idle_heartbeat":1000000000}"#);
        assert!(asked(5).ends_with(r#""max_bytes":5}"#));
    }

    #[test]
    fn every_form_of_metadata_is_read() {
        let expected = Metadata {
            stream: "LOG",
            consumer: "c",
            stream_sequence: 3,
            consumer_sequence: 2,
            time: UNIX_EPOCH + Duration::from_nanos(1_795_643_404_720_698_275),
            pending: 9,
        };
        for reply in [
            "$JS.ACK.LOG.c.1.3.2.1795643404720698275.9",
            "$JS.ACK._.ACCOUNT.LOG.c.1.3.2.1795643404720698275.9",
            "$JS.ACK.hub.ACCOUNT.LOG.c.1.3.2.1795643404720698275.9.random",
        ] {
            assert_eq!(Metadata::parse(reply), Some(expected), "{reply}");
        }
        for other in [
            "",
            "_INBOX.a.1",
            "$JS.ACK",
            "$JS.ACK.LOG.c.1.3.2.1795643404720698275",
            "$JS.ACK.a.LOG.c.1.3.2.1795643404720698275.9",
            "$JS.ACK.LOG.c.1.x.2.1795643404720698275.9",
            "$JS.ACK.LOG.c.1.3.-2.1795643404720698275.9",
        ] {
            assert_eq!(Metadata::parse(other), None, "{other}");
        }
    }

    #[test]
    fn every_status_means_something() {
        let read = |block: &str| Status::read(Headers(block.as_bytes()));
        let idle = Status::Idle { stream_sequence: 5, consumer_sequence: 3 };
        for (block, expected) in [
            (
                "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 3\r\nNats-Last-Stream: 5\r\n\r\n",
                idle,
            ),
            ("NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 7\r\n\r\n", Status::Over),
            ("NATS/1.0 409 Batch Completed\r\n\r\n", Status::Over),
            ("NATS/1.0 409 Message Size Exceeds MaxBytes\r\n\r\n", Status::TooLarge),
            (
                "NATS/1.0 409 Consumer Deleted\r\n\r\n",
                Status::Unusable("Consumer Deleted (409)".to_owned()),
            ),
            ("NATS/1.0 503\r\n\r\n", Status::Unusable("the consumer is not there".to_owned())),
        ] {
            assert_eq!(read(block), Some(expected), "{block}");
        }
        for none in ["", "NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0 100 \r\n\r\n"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
