//! Sender of lines to servers that acknowledge them. It keeps each line until it is acknowledged.
//!
//! A [`Sender`] sends lines in order and reports what happened to each. If the connection breaks,
//! or the server cannot write a line, it tries the next address first. Then it sends the
//! unacknowledged lines again, in order. It uses one thread and one poll: the caller calls
//! [`Sender::wait`].
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use send::{Config, Event, Sender};
//!
//! # fn main() -> std::io::Result<()> {
//! let mut sender = Sender::new(Config::to(&[("localhost".to_owned(), 2005)]))?;
//! let ticket = sender.send(b"the disk is full");
//! while sender.pending() > 0 {
//!     sender.wait(Some(Duration::from_secs(1)))?;
//!     for event in sender.events() {
//!         match event {
//!             Event::Kept(kept) => assert_eq!(kept, ticket),
//!             other => eprintln!("{other:?}"),
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Sender`]: the connection, and the lines in flight
//! - `queue`: the unacknowledged lines, in order; no I/O
//! - `replies`: parser of the server's replies; no I/O
//! - [`state`]: crash-safe state file with the position of the last acknowledged line

mod queue;
mod replies;
mod sender;
pub mod state;

pub use sender::{Config, Event, Sender, Ticket};
