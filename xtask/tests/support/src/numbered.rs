//! A load of numbered messages over pipelining connections, and the check of every message.

mod connection;
mod load;
mod verify;

pub use connection::{Account, Connection};
pub use load::Load;
pub use verify::{Verification, verify};
