//! What the programs of the workspace agree on, so that none has to know another.
//!
//! - [`protocol`]: the contract on the wire, and the defaults that both ends know
//! - [`record`]: the contract of the log, and bytes as safe text
//! - [`summary`]: the client's closing line, which the launcher reads back
//! - [`rotated files`]: what the rotated files of a rotated log are called
//! - [`process`]: how the launcher's children end with it; what a process may open
//! - [`args`]: how options are spelt
//! - [`connect`]: from a host's name to a connection, in bounded time
//! - [`html`]: text in pages
//! - [`output`]: files that are written after the work
//! - `pem`: certificates and keys in files, with the feature `tls`
//! - [`units`]: numbers for people

pub mod args;
pub mod connect;
pub mod html;
pub mod output;
#[cfg(feature = "tls")]
pub mod pem;
pub mod process;
pub mod protocol;
pub mod record;
pub mod rotated_files;
pub mod summary;
pub mod units;
