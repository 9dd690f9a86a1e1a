//! A client connection: its socket, its unfinished input, and the replies it is owed.
//!
//! The connection reads and writes, and its [`Life`] is its state. The loop ([`crate::server`]) decides
//! when it may read and write. It is generic over its socket, so that tests can inject short reads, short
//! writes and resets.
//!
//! [`Connection`] is in `state`; `opening`, `reading` and `writing` are the rest of its methods.

mod buffers;
mod context;
mod life;
mod opening;
mod policy;
mod reading;
mod ready;
mod records;
mod staging;
mod state;
#[cfg(test)]
mod tests;
mod writing;

pub use buffers::Buffers;
pub use context::Context;
#[cfg(test)]
pub use life::LastLine;
pub use life::Life;
pub use policy::Policy;
pub use ready::{Queue, QueueState, Ready};
pub use state::Connection;
