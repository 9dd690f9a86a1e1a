//! TLS for clients. One client may wait for its socket, another is told when it is ready: a [`Session`]
//! is lent the socket whenever there is something to do, and does not care.
//!
//! - [`options`]: what can be typed, the same in every program
//! - [`connector`]: which servers are trusted, and who this client is
//! - [`session`]: one connection
//! - [`stream`]: a socket with a session, or without
//! - `words`: what went wrong, for people

#[cfg_attr(not(feature = "rustls"), path = "without.rs")]
mod with;

pub mod options;
pub mod stream;

pub use options::{Options, SharedOptions};
pub use stream::Stream;
pub use with::{connector, session};

pub use connector::Connector;
pub use session::Session;
