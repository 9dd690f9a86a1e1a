//! A line log that acknowledges: a client sends a line over TCP, the server writes it to its log
//! and answers `ok`. **`ok` means the line is in the log.**
//!
//! The loop is [`server::Server::turn`]; ARCHITECTURE.md draws it. What it is made of:
//!
//! - [`connection`]: one client. [`framing`] cuts its bytes into messages, [`replies`] are what it is
//!   owed; neither does any I/O.
//! - [`admission`]: who may come in; [`channel`] and [`tls`]: what lies between a socket and its messages.
//! - [`batch`]: what a turn stages; [`common::record`] is the shape of it, [`clock`] the time in it.
//! - [`backend`]: where records are kept, as the loop sees it: in a [file](backend::file), whose
//!   [`journal`] commits all or nothing, or in a replicated [stream](backend::stream).
//! - [`terminal`] shows records, [`diagnostics`] what goes wrong; neither delays anybody.
//! - [`net`] and [`listeners`]: sockets, and who comes; [`sock_diag`]: what the kernel knows of them.
//! - [`options`], [`figures`]: what it is told to do, and what it has done.

pub mod admission;
pub mod backend;
pub mod batch;
pub mod channel;
pub mod clock;
pub mod connection;
pub mod diagnostics;
pub mod distribution;
pub mod figures;
pub mod framing;
pub mod journal;
pub mod listeners;
#[cfg_attr(not(feature = "metrics"), path = "metrics_none.rs")]
pub mod metrics;
pub mod net;
pub mod options;
pub mod replies;
pub mod server;
pub mod snapshot;
pub mod sock_diag;
pub mod systemd;
pub mod terminal;
#[cfg_attr(not(feature = "tls"), path = "tls_none.rs")]
pub mod tls;
