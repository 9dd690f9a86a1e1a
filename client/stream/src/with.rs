//! What needs NATS.

use common::args::{Given, UsageError};

pub use nats::options::{Options as Servers, Rows};
pub use nats::pull::{Delivered, Pull, Start};

/// The value of `-stream`.
pub fn name(given: &Given) -> Result<String, UsageError> {
    let name = given.text()?;
    if nats::protocol::is_word(&name) {
        return Ok(name);
    }
    Err(given.unexpected("the name of a stream (letters, digits, - and _)"))
}
