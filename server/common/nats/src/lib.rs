//! A NATS and `JetStream` client for the server and the clients, without an async runtime.
//!
//! - [`protocol`]: encoding and decoding of operations; [`headers`]: the headers of a message
//! - [`handshake`]: from a new connection to a usable one; [`info`]: the INFO of a node; [`version`]
//! - [`jetstream`]: requests about a stream, and their answers; [`consumer`]: the same for consumers
//! - [`address`], [`credentials`], [`options`]: the nodes, and the client's identity
//! - [`client`]: a blocking client; [`pull`]: a stream read through it; [`stream_options`]: the stream that
//!   is read
//!
//! All modules but these do no I/O: the server's event loop passes them its bytes. The protocol is
//! <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

pub mod address;
pub mod client;
pub mod consumer;
#[cfg_attr(not(feature = "tls"), path = "credentials/absent.rs")]
pub mod credentials;
pub mod handshake;
pub mod headers;
pub mod info;
pub mod jetstream;
pub mod options;
pub mod protocol;
pub mod pull;
pub mod stream_options;
pub mod version;
