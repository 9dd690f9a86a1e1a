//! Events and actions of the publisher.

use nats::jetstream::{Answer, ApiError, PubAck, StoredMessage};

use crate::backend::stream::identity::BatchId;

/// An input of the state machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A batch was submitted.
    Submitted,
    /// A connection is ready.
    Connected,
    /// The connection has ended.
    Disconnected,
    /// Bytes of the current attempt were sent.
    Progress,
    /// An answer to an attempt at a batch, perhaps an earlier batch.
    Answered {
        /// The batch's number.
        number: u64,
        /// The number of the attempt.
        attempt: u32,
        /// The answer.
        answer: Answer<PubAck>,
    },
    /// The last message of the subject, in answer to a query.
    Queried {
        /// The number of the query.
        query: u64,
        /// The answer.
        answer: Answer<StoredMessage>,
    },
    /// The node has answered a PING.
    Pong,
    /// A deadline may have been reached.
    Tick,
}

/// What the caller has to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Publish the current [attempt](super::Publisher::attempt) at the batch.
    Publish,
    /// Query the last message of the subject, with the number [query](super::Publisher::query).
    Query,
    /// Send the node a PING.
    Ping,
    /// Leave the node: it does not answer.
    Reconnect,
    /// The batch is finished.
    Finish(BatchOutcome),
}

/// The outcome of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchOutcome {
    /// It is stored in the stream.
    Stored,
    /// It is not stored and never will be.
    Rejected(ApiError),
    /// It may or may not be stored.
    Unknown,
    /// Another server uses this identity. The batch may or may not be stored, and this server must exit.
    Fenced(BatchId),
}
