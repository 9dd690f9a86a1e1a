//! Sockets of an event loop.
//!
//! - [`listen`], [`adopt`]: listening sockets, with the options that accepted sockets inherit
//! - [`Listeners`]: accepts connections from several of them, and goes on after errors
//! - [`Socket`]: what a loop requires of an accepted socket

mod listen;
mod listeners;
mod socket;

pub use listen::{Options, adopt, canonical, listen};
pub use listeners::{Listeners, PAUSE};
pub use socket::Socket;
