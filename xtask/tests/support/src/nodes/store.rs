//! Where a node stores its streams, and when it syncs them.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::time::Duration;

/// When a node syncs stored messages to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncInterval {
    /// Before it acknowledges them.
    Always,
    /// At this interval, in whole milliseconds. A power failure loses the messages acknowledged since.
    Every(Duration),
}

/// Where a node stores its streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// In the folder of the cluster.
    #[default]
    Folder,
    /// In a folder of the caller.
    At(PathBuf),
    /// In a tmpfs of that many bytes, which fills up soon. Every start of the node mounts a new one: it
    /// has lost everything then. Where mounting is not allowed, the node exits at its start.
    Memory(u64),
}

impl Display for SyncInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Every(interval) => write!(f, "\"{}ms\"", interval.as_millis()),
        }
    }
}
