//! The load generator, run as its users run it, against servers with known delays and misbehaviour.

#![allow(clippy::unwrap_used, reason = "a test ends where its means fail")]

mod figures;
mod misbehaviour;
#[path = "../support/nodes.rs"]
mod nodes;
mod open_loop;
mod reports;
mod streams;
mod support;
mod verification;
