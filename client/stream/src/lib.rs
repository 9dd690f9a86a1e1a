//! NATS stream that is used as a log: its options, and its messages in order.
//!
//! Servers that log to a stream publish batches to it. A message holds records, one a line. The log
//! is the concatenation of all messages.
//!
//! - [`Options`] and [`SharedOptions`]: command-line options, the same in every program
//! - [`Pull`]: the messages

mod options;
#[cfg_attr(not(feature = "nats"), path = "without.rs")]
mod with;

pub use options::Options;
pub use with::{Delivered, Nodes, Pull, SharedOptions, Start, name};
