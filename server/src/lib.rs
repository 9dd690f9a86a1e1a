//! A line log that acknowledges: a client sends a line over TCP, the server writes it to its log and
//! answers `ok`. **`ok` means the line is in the log.**
//!
//! The event loop is `Server::turn` in `server.rs`; ARCHITECTURE.md draws it. Its parts:
//!
//! - `connection`: one client. `framing` splits its bytes into messages, and `replies` holds the
//!   replies it is owed. Neither does I/O.
//! - `admission`: which clients are admitted. `channel` and `tls`: the layers between a socket and
//!   its messages.
//! - `batch`: the records and replies of a group commit. `common::record` formats the records, and
//!   `clock` their time.
//! - `backend`: the log as the loop uses it: a file, whose `journal` commits all or
//!   nothing, or a replicated stream.
//! - `terminal` shows records, and `diagnostics` shows warnings and errors. Neither delays a reply.
//! - `net`: sockets and new connections. `sock_diag`: the kernel's view of a
//!   connection.
//! - `options`: the configuration. `start`: the start.
//! - `stats`: counters; `figures` and `snapshot` are made from them. `warnings`: what clients do
//!   wrong, within a rate limit.

pub mod admission;
mod backend;
pub mod batch;
mod channel;
mod clock;
mod connection;
mod diagnostics;
mod distribution;
mod figures;
pub mod framing;
mod journal;
mod metrics;
mod networks;
pub mod options;
pub mod replies;
mod server;
mod snapshot;
mod sock_diag;
pub mod start;
mod stats;
mod systemd;
mod taken;
mod terminal;
#[cfg_attr(not(feature = "tls"), path = "tls/absent.rs")]
mod tls;
mod warnings;
