//! Tests of the load generator's binary, against servers with known delays and faults.

#![allow(clippy::unwrap_used, reason = "a test ends where its means fail")]

mod figures;
mod misbehaviour;
mod open_loop;
mod reports;
mod streams;
mod support;
mod verification;
