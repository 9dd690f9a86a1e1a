//! Follower of growing files.
//!
//! - [`Follow`]: the lines of a file that may be renamed, replaced or truncated
//! - [`FilePosition`]: a position in such a file, for a state file
//! - [`Watch`]: wake-ups when a file changes

mod follower;
mod position;
mod watch;

pub use follower::{Follow, Line};
pub use position::{FilePosition, Head};
pub use watch::Watch;
