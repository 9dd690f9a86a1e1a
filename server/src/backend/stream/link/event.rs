//! Events of the link.

use nats::info::Info;

/// An event of the connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// The connection is usable.
    Up(Box<Info>),
    /// A usable connection was lost, and why.
    Lost(String),
    /// No node is usable yet, or again. The text says why the last one that was tried is not.
    Failed(String),
    /// Data was received. [`Link::next_op`](super::Link::next_op) returns it.
    Received,
    /// Bytes were sent.
    Sent,
}
