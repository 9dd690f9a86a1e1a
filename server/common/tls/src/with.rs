//! Modules that need the TLS library.

pub mod connector;
pub mod session;
mod words;
