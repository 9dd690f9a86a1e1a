//! A stream of NATS as a log: what can be typed about it, and its messages in order.
//!
//! Nodes that log to a stream publish batches to it: a message is some records, a line each. All messages
//! laid end to end are the log.
//!
//! - [`Options`] and [`SharedOptions`]: what can be typed, the same in every program
//! - [`Pull`]: the messages

mod options;
#[cfg_attr(not(feature = "nats"), path = "without.rs")]
mod with;

pub use options::Options;
pub use with::{Delivered, Nodes, Pull, SharedOptions, Start, name};
