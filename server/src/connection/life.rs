//! The states of a connection. docs/invariants.md draws the transitions.

/// The state of a connection. It alone determines what may be read, sent and staged; the readiness of the
/// socket is kept in [`Ready`](super::Ready).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Messages are taken, logged and answered.
    Open,
    /// The server is stopping: messages are answered `error shutting-down`.
    Refusing,
    /// The client has ended its input. It still gets its replies.
    ReadClosed,
    /// Replies can no longer reach the client. What it had sent is still read and logged, up to the end of
    /// the input. That end decides about a last line without a line end.
    WriteClosed(LastLine),
    /// The server is closing the connection: nothing more is read, but replies are still sent.
    Closing,
    /// The sending side is shut down. For a while, input is read and discarded, so that it does not make
    /// the kernel reset the connection and destroy the last reply.
    Lingering,
    /// Nothing is left but to close the socket.
    Closed,
}

/// What becomes of a last line without a line end if the client takes no replies any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLine {
    /// The read decides: an end of file makes it a message, an error drops it.
    AsReadingTells,
    /// The connection was reset, so the line is dropped. The kernel reports a reset once, and a write has
    /// received it. A read that follows would mistake the reset for an end of file.
    Dropped,
}

impl Life {
    /// Input is read, even if only to discard it.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Open | Self::Refusing | Self::WriteClosed(_) | Self::Lingering)
    }

    /// The input is searched for messages.
    pub const fn takes_messages(self) -> bool {
        matches!(self, Self::Open | Self::Refusing | Self::WriteClosed(_))
    }

    /// Replies are sent, and those that become due are kept.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Open | Self::Refusing | Self::ReadClosed | Self::Closing)
    }

    /// Only the timeouts for idle clients and dead peers end this state if the client does nothing. The
    /// other states end on their own.
    pub const fn has_timeout(self) -> bool {
        match self {
            Self::Open
            | Self::Refusing
            | Self::ReadClosed
            | Self::WriteClosed(_)
            | Self::Closing => true,
            // `Lingering` ends after a second, `Closed` at once.
            Self::Lingering | Self::Closed => false,
        }
    }

    /// The state after the end of the input, unless the socket failed.
    #[must_use]
    pub const fn after_end_of_input(self) -> Self {
        match self {
            Self::Open | Self::Refusing => Self::ReadClosed,
            Self::ReadClosed | Self::Closing => self,
            Self::WriteClosed(_) | Self::Lingering | Self::Closed => Self::Closed,
        }
    }

    /// The state once replies can no longer reach the client.
    #[must_use]
    pub const fn after_hang_up(self, last_line: LastLine) -> Self {
        match self {
            Self::Open => Self::WriteClosed(last_line),
            Self::WriteClosed(_) | Self::Lingering => self,
            Self::Refusing | Self::ReadClosed | Self::Closing | Self::Closed => Self::Closed,
        }
    }

    /// The state once the server is stopping and has read enough.
    #[must_use]
    pub const fn after_refusal(self) -> Self {
        match self {
            Self::Open => Self::Refusing,
            Self::WriteClosed(_) => Self::Closed,
            Self::Refusing | Self::ReadClosed | Self::Closing | Self::Lingering | Self::Closed => {
                self
            }
        }
    }

    /// The state once the server closes the connection after sending the replies.
    #[must_use]
    pub const fn after_close(self) -> Self {
        match self {
            Self::Open | Self::Refusing => Self::Closing,
            Self::WriteClosed(_) => Self::Closed,
            Self::ReadClosed | Self::Closing | Self::Lingering | Self::Closed => self,
        }
    }
}
