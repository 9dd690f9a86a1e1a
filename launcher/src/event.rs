//! Events that the main thread waits for.

use std::net::SocketAddr;

/// An event from another thread to the main thread.
pub(crate) enum Event {
    /// A signal to the launcher. SIGCHLD means that a child has ended.
    Signal(i32),
    /// A child reported that it listens at this address.
    Listening { child: usize, address: SocketAddr },
    /// All output of a child was forwarded. Holds the last line on its stderr.
    Silent { child: usize, last_words: String },
    /// A text of the launcher itself was written.
    Said,
}
