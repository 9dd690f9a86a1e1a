//! Sends lines to servers that acknowledge them, and keeps each until it is acknowledged.
//!
//! A [`Sender`] takes lines, sends them in order, and says what became of each. Where the connection
//! breaks, or the server cannot keep a line, it tries again, at the next address first, and sends what
//! was not acknowledged again, in order. One thread, one poll: whoever uses it calls [`Sender::wait`].
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
//! - [`Sender`]: the connection, and what is on the way
//! - `queue`: the lines that are not acknowledged, in order; no I/O
//! - `replies`: bytes from a server, turned into verdicts; no I/O
//! - `outage`: when to try again, and for how long
//! - [`follow`]: the lines of a file that grows, is renamed and cut
//! - [`state`]: how far a file was acknowledged, kept so that no crash loses it

pub mod follow;
mod outage;
mod queue;
mod replies;
mod sender;
pub mod state;

pub use sender::{Config, Event, Sender, Ticket};
