//! Requests about a stream and their answers: the JSON of the `JetStream` API
//! (<https://docs.nats.io/reference/reference-protocols/nats_api_reference>).

use std::fmt;

use data_encoding::BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::headers::Headers;
use crate::protocol::Message;

/// Names of headers that a stream evaluates.
pub mod header {
    /// The message ID. The stream stores an ID once within its duplicate window.
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
    /// The name of the expected stream.
    pub const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
    /// The sequence of the last message on the same subject; 0 if there is none.
    pub const EXPECTED_LAST_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
}

/// The API subject for configuration and state of a stream.
pub fn info_subject(stream: &str) -> String {
    format!("$JS.API.STREAM.INFO.{stream}")
}

/// The API subject for a stored message. The stream's leader answers.
pub fn message_subject(stream: &str) -> String {
    format!("$JS.API.STREAM.MSG.GET.{stream}")
}

/// A request for the last message of a subject.
pub fn last_message_of(subject: &str) -> Vec<u8> {
    serde_json::json!({ "last_by_subj": subject }).to_string().into_bytes()
}

/// An error of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ApiError {
    /// The code, as in HTTP.
    pub code: u16,
    /// The exact error number, or 0.
    pub err_code: u16,
    /// The description.
    pub description: String,
}

impl ApiError {
    /// There is no such stream.
    pub const STREAM_NOT_FOUND: u16 = 10059;
    /// There is no such message.
    pub const NO_MESSAGE_FOUND: u16 = 10037;

    /// No node can take it at present.
    const NO_SUITABLE_PEERS: u16 = 10005;
    /// The account has no access to `JetStream`.
    const NOT_FOR_ACCOUNT: u16 = 10039;

    /// There was no responder: status 503 without a description.
    pub fn no_responders() -> Self {
        Self { code: 503, err_code: 0, description: "no responders".to_owned() }
    }

    /// The error for a message that is too large for the stream.
    pub fn too_large() -> Self {
        Self {
            code: 400,
            err_code: 10054,
            description: "message size exceeds maximum allowed".to_owned(),
        }
    }

    /// The exact error number if there is one, or else the code as in HTTP.
    pub fn number(&self) -> u16 {
        match self.err_code {
            0 => self.code,
            exact => exact,
        }
    }

    /// Whether the error is temporary: the request may succeed later, with another leader or node.
    pub fn is_passing(&self) -> bool {
        match self.err_code {
            Self::NO_SUITABLE_PEERS => true,
            Self::NOT_FOR_ACCOUNT => false,
            _ => self.code >= 500,
        }
    }

    /// Whether there was no responder. A leader that rejects a request and gives a description was there,
    /// although it may give no error number.
    pub fn is_no_responders(&self) -> bool {
        *self == Self::no_responders()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.description, self.number())
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The result.
    Yes(T),
    /// An error.
    No(ApiError),
    /// A response that could not be parsed.
    Nonsense(String),
}

impl<T: DeserializeOwned> Answer<T> {
    /// Parses an answer.
    pub fn read(message: &Message<'_>) -> Self {
        Self::parse(message.headers, message.payload)
    }

    /// Parses an answer from its parts.
    pub fn parse(headers: Headers<'_>, payload: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Refused {
            error: Option<ApiError>,
        }
        if let Some(code @ 300..) = headers.status() {
            let description = headers.description().unwrap_or_default().to_owned();
            return Self::No(match (code, payload.is_empty() && description.is_empty()) {
                (503, true) => ApiError::no_responders(),
                _ => ApiError { code, err_code: 0, description },
            });
        }
        match serde_json::from_slice(payload) {
            Ok(Refused { error: Some(error) }) => return Self::No(error),
            Ok(Refused { error: None }) => {}
            Err(error) => return Self::Nonsense(error.to_string()),
        }
        serde_json::from_slice(payload)
            .map_or_else(|error| Self::Nonsense(error.to_string()), Self::Yes)
    }
}

/// The acknowledgement of a stored message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PubAck {
    /// The stream that stores it.
    pub stream: String,
    /// Its sequence in the stream.
    pub seq: u64,
    /// Whether it was stored before.
    #[serde(default)]
    pub duplicate: bool,
}

/// A stream, as the API describes it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StreamInfo {
    /// The configuration.
    pub config: StreamConfig,
    /// The state.
    pub state: StreamState,
    /// The creation time. A stream that is deleted and created again has another one.
    #[serde(default)]
    pub created: String,
    /// The nodes of the stream. `None` on a node without a cluster.
    #[serde(default)]
    pub cluster: Option<StreamCluster>,
}

impl StreamInfo {
    /// Whether there is a leader that knows all stored messages. A node that was just started and knows no
    /// leader may report its state from before it was killed (seen with 2.12.8).
    pub fn has_leader(&self) -> bool {
        let leader = self.cluster.as_ref().map(|cluster| &cluster.leader);
        leader.is_none_or(|leader| leader.as_ref().is_some_and(|name| !name.is_empty()))
    }
}

/// The configuration of a stream, as far as it matters here. A limit of -1 or 0 means no limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamConfig {
    /// Its name.
    pub name: String,
    /// The subjects whose messages it stores, perhaps with wildcards.
    pub subjects: Vec<String>,
    /// `file` or `memory`.
    pub storage: String,
    /// `limits`, `interest` or `workqueue`.
    pub retention: String,
    /// What is dropped when the stream is full: the `old` or the `new` messages.
    pub discard: String,
    /// The number of replicas.
    pub num_replicas: usize,
    /// The maximum number of messages.
    pub max_msgs: i64,
    /// The maximum number of messages per subject.
    pub max_msgs_per_subject: i64,
    /// The maximum size in bytes.
    pub max_bytes: i64,
    /// The maximum age of a message in nanoseconds.
    pub max_age: i64,
    /// The maximum size of a message in bytes.
    pub max_msg_size: i64,
    /// The duplicate window in nanoseconds.
    pub duplicate_window: u64,
    /// Whether the stream sends no acknowledgements.
    pub no_ack: bool,
    /// Whether the stream accepts no messages.
    pub sealed: bool,
    /// The stream that it mirrors. A mirror accepts no messages from clients.
    pub mirror: Option<serde_json::Value>,
}

/// The state of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StreamState {
    /// The number of messages.
    pub messages: u64,
    /// The size in bytes.
    pub bytes: u64,
    /// The sequence of the first message.
    pub first_seq: u64,
    /// The sequence of the last message that was ever stored.
    pub last_seq: u64,
}

/// The nodes of a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamCluster {
    /// The name of the leader, if there is one.
    pub leader: Option<String>,
}

/// A stored message, as the API returns it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StoredMessage {
    /// The message.
    pub message: Stored,
}

/// The sequence, subject and headers of a stored message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// The sequence.
    pub seq: u64,
    /// The subject.
    pub subject: String,
    /// The headers, in base64.
    #[serde(default)]
    hdrs: String,
}

impl Stored {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        let block = BASE64.decode(self.hdrs.as_bytes()).ok()?;
        Headers(&block).get(name).map(str::to_owned)
    }

    /// Creates a message as a stream would return it.
    pub fn new(seq: u64, subject: &str, headers: &[u8]) -> Self {
        let (subject, hdrs) = (subject.to_owned(), BASE64.encode(headers));
        Self { seq, subject, hdrs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<T: DeserializeOwned>(headers: &str, payload: &str) -> Answer<T> {
        Answer::parse(Headers(headers.as_bytes()), payload.as_bytes())
    }

    #[test]
    fn a_message_is_acknowledged_or_not() {
        let yes = answer("", r#"{"stream":"LOG","seq":7,"domain":"x"}"#);
        let expected = PubAck { stream: "LOG".to_owned(), seq: 7, duplicate: false };
        assert_eq!(yes, Answer::Yes(expected));
        let full = r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"LOG","seq":0}"#;
        let Answer::No(error) = answer::<PubAck>("", full) else { panic!("an error is none") };
        assert_eq!(error.to_string(), "maximum bytes exceeded (10077)");
        assert!(!error.is_no_responders());
        let unanswered = answer::<PubAck>("NATS/1.0 503\r\n\r\n", "");
        assert_eq!(unanswered, Answer::No(ApiError::no_responders()));
        let deposed =
            r#"{"error":{"code":503,"description":"raft: not leader"},"stream":"LOG","seq":0}"#;
        let worded = [answer::<PubAck>("", deposed), answer("NATS/1.0 503 Shutdown\r\n\r\n", "")];
        for answer in worded {
            let Answer::No(error) = answer else { panic!("an error is none") };
            assert!(!error.is_no_responders(), "{error}");
        }
        for nonsense in ["", "{}", "[]", "+OK", r#"{"stream":"LOG"}"#] {
            let read = answer::<PubAck>("", nonsense);
            assert!(matches!(read, Answer::Nonsense(_)), "{nonsense}: {read:?}");
        }
    }

    #[test]
    fn a_stored_message_has_headers() {
        let json = r#"{"type":"x","message":{"subject":"LOG.a","seq":3,
            "hdrs":"TkFUUy8xLjANCk5hdHMtTXNnLUlkOiBhLjEuMg0KDQo=","data":"eA==","time":"t"}}"#;
        let Answer::Yes(StoredMessage { message }) = answer("", json) else { panic!("not read") };
        assert_eq!((message.seq, message.subject.as_str()), (3, "LOG.a"));
        assert_eq!(message.header(header::MESSAGE_ID).as_deref(), Some("a.1.2"));
        let mut block = Vec::new();
        crate::headers::write(&mut block, &[(header::MESSAGE_ID, "a.1.2")]);
        assert_eq!(message, Stored::new(3, "LOG.a", &block));
        assert_eq!(Stored::new(1, "x", b"").header("y"), None);
    }

    #[test]
    fn a_node_without_a_leader_is_detected() {
        for (cluster, expected) in [
            ("", true),
            (r#","cluster":{"leader":"n1"}"#, true),
            (r#","cluster":{}"#, false),
            (r#","cluster":{"leader":""}"#, false),
        ] {
            let json = format!(r#"{{"config":{{}},"state":{{}}{cluster}}}"#);
            let Answer::Yes(info) = answer::<StreamInfo>("", &json) else { panic!("not read") };
            assert_eq!(info.has_leader(), expected, "{json}");
        }
    }

    #[test]
    fn a_stream_is_described() {
        let json = r#"{"config":{"name":"LOG","subjects":["LOG.>"],"retention":"limits","max_msgs":-1,
            "max_bytes":-1,"discard":"new","storage":"file","num_replicas":3,"no_ack":false},
            "state":{"messages":2,"bytes":9,"first_seq":1,"last_seq":2},"created":"2026-11-25T21:50:04Z","cluster":{"leader":"n1"}}"#;
        let Answer::Yes(StreamInfo { config, state, created, cluster }) = answer("", json) else {
            panic!("not read")
        };
        assert_eq!((config.num_replicas, config.storage.as_str()), (3, "file"));
        assert_eq!((state.last_seq, created.as_str()), (2, "2026-11-25T21:50:04Z"));
        assert_eq!(cluster.unwrap().leader.as_deref(), Some("n1"));
    }
}
