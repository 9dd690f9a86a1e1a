//! What needs NATS.

use common::args::{ArgValue, UsageError};

pub use nats::options::{Options as Nodes, SharedOptions};
pub use nats::pull::{Delivered, Pull, Start};

/// The value of `-stream`.
pub fn name(arg: &ArgValue) -> Result<String, UsageError> {
    let name = arg.text()?;
    if nats::protocol::is_word(&name) {
        return Ok(name);
    }
    Err(arg.unexpected("the name of a stream (letters, digits, - and _)"))
}
