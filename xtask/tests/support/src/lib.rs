//! The harness of all tests and of the fault injection. It starts the programs of this workspace and the
//! nodes of NATS that they use, talks to them, and checks what they wrote.
//!
//! Nothing here guesses a port, or sleeps where it could wait for a condition. Every wait has a deadline that
//! is far longer than a busy machine needs. What fails panics, as in a test, except in [`nodes`].
//!
//! From the bottom up; a module imports only modules above it:
//!
//! - [`wait`]: the one way to wait
//! - [`programs`], [`commands`]: where the programs are; run one to its end
//! - [`children`]: processes that never outlive this one
//! - [`ports`]: ports that stay free
//! - [`records`], [`process`]: records of a log; figures of a process
//! - [`ca`]: a test CA; the program `test-ca` writes its certificates
//! - [`client`], [`server`]: a client of the wire protocol; a running server
//! - [`secure`]: the same over TLS
//! - [`numbered`]: a load of numbered messages, and the check of every one
//! - [`scenarios`], [`follow`]: faults of a server under load; a sender that follows a file
//! - [`background`]: clients that disturb a server
//! - [`balancer`]: runs `HAProxy`
//! - [`nodes`]: nodes of NATS, and their streams
//! - [`operator`]: credentials for nodes
//! - [`stream_log`]: servers whose log is a stream
//! - [`publisher`]: a publisher to that stream

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    clippy::print_stderr,
    clippy::unwrap_used
)]

pub mod background;
pub mod balancer;
pub mod ca;
pub mod children;
pub mod client;
pub mod commands;
pub mod follow;
pub mod nodes;
pub mod numbered;
pub mod operator;
pub mod ports;
pub mod process;
pub mod programs;
pub mod publisher;
pub mod records;
pub mod scenarios;
pub mod secure;
pub mod server;
pub mod stream_log;
pub mod wait;
