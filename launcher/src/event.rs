//! What the main thread waits for.

use std::net::SocketAddr;

/// Something that the main thread is told by another one.
pub(crate) enum Event {
    /// A signal to the launcher; SIGCHLD means that some child has ended.
    Signal(i32),
    /// A child said so.
    Listening { child: usize, address: SocketAddr },
    /// All that a child said has been shown; the last line on its stderr.
    Silent { child: usize, last_words: String },
    /// A text of the launcher's own is written.
    Said,
}
