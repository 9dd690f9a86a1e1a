//! What an error of a stream proves about an attempt to publish.

use nats::jetstream::ApiError;

/// What an error proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The last message of the subject is not the expected one.
    Moved,
    /// This attempt will never be stored.
    Rejected,
    /// Nothing.
    Nothing,
}

impl Meaning {
    pub(super) fn of(error: &ApiError) -> Self {
        match error.err_code {
            // 10071: wrong last sequence. 10164: the same while another message is proposed. 10201: a known
            // message ID.
            10071 | 10164 | 10201 => Self::Moved,
            // Too large, another stream's subject, sealed, not allowed by the stream.
            10054 | 10060 | 10109 | 10174 => Self::Rejected,
            10077 if is_limit(&error.description) => Self::Rejected,
            _ if error.is_no_responders() => Self::Rejected,
            _ => Self::Nothing,
        }
    }
}

/// Whether the stream is full. Up to 2.12, a leader uses the same number, with another description, when its
/// disk has failed under a message that the other nodes have stored.
fn is_limit(description: &str) -> bool {
    description.starts_with("maximum ")
}
