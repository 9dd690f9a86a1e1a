//! What needs the library.

pub mod connector;
pub mod session;
mod words;
