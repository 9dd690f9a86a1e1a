//! What server and client need of NATS and its `JetStream`, by hand and without a runtime.
//!
//! - [`protocol`]: bytes in, operations out, and back; [`headers`]: what stands before a payload
//! - [`handshake`]: from a new connection to one that can be used; [`info`]: what a server says of itself
//! - [`jetstream`]: what is asked of a stream, and what it answers; [`consumer`]: the same of who reads it
//! - [`address`], [`credentials`], [`options`]: where the servers are, and who we are
//! - [`client`]: a connection that waits, for those who have a thread for it; [`pull`]: a stream, read over it
//!
//! All but these two do no I/O: the server's loop lends them its bytes.
//! The protocol is <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

pub mod address;
pub mod client;
pub mod consumer;
#[cfg_attr(not(feature = "tls"), path = "credentials_none.rs")]
pub mod credentials;
pub mod handshake;
pub mod headers;
pub mod info;
pub mod jetstream;
pub mod options;
pub mod protocol;
pub mod pull;
