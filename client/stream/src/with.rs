//! The parts that need NATS.

use common::args::{ArgValue, UsageError};

pub use nats::options::{Options as Nodes, SharedOptions};
pub use nats::pull::{Delivered, Pull, Start};

/// Parses the value of `-stream`.
///
/// # Errors
///
/// The value is not a valid stream name.
pub fn name(arg: &ArgValue) -> Result<String, UsageError> {
    let name = arg.text()?;
    if nats::protocol::is_word(&name) {
        return Ok(name);
    }
    Err(arg.unexpected("the name of a stream (letters, digits, - and _)"))
}
