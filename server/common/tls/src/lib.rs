//! TLS for clients with blocking and with non-blocking sockets. The caller lends a [`Session`] its
//! socket for each operation.
//!
//! - [`options`]: command-line options, the same in every program
//! - [`connector`]: the trusted CAs, and this client's certificate
//! - [`session`]: one connection
//! - [`stream`]: a socket with or without a session
//! - `words`: error messages

#[cfg_attr(not(feature = "rustls"), path = "absent.rs")]
mod with;

pub mod options;
pub mod stream;

pub use options::{Options, SharedOptions};
pub use stream::Stream;
pub use with::{connector, session};

pub use connector::Connector;
pub use session::Session;
