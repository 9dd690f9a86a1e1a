//! The instrument, run as its users run it, against servers with known delays and misbehaviour.

#![allow(clippy::unwrap_used, reason = "a test ends where its means fail")]

mod figures;
mod misbehaviour;
mod open_loop;
mod reports;
mod support;
mod verification;
