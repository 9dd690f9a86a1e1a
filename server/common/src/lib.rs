//! Contracts and helpers shared by all programs of the workspace.
//!
//! - [`protocol`]: the wire protocol, and the defaults of both ends
//! - [`record`]: the log's records, and escaping of bytes
//! - [`summary`]: the client's last line, which the launcher parses
//! - [`rotated_files`]: the names of rotated files
//! - [`process`]: child processes of the launcher, signals and descriptors
//! - [`rate_limit`]: the rate of diagnostics that others can cause
//! - [`args`]: the syntax of options
//! - [`backoff`]: pauses between attempts
//! - [`program`]: the names of the programs
//! - [`connect`]: from a host name to a connection, in bounded time
//! - [`html`]: escaping of text in HTML
//! - [`output`]: files that are written after the work, and standard streams
//! - `pem`: certificate and key files, with the feature `tls`
//! - [`units`]: numbers in readable form

pub mod args;
pub mod backoff;
pub mod connect;
pub mod html;
pub mod output;
#[cfg(feature = "tls")]
pub mod pem;
pub mod process;
pub mod program;
pub mod protocol;
pub mod rate_limit;
pub mod record;
pub mod rotated_files;
pub mod summary;
pub mod units;
