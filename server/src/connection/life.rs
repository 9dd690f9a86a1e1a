//! Where a connection is in its life. ARCHITECTURE.md draws what leads from one state to the next.

/// The states of a connection. What may be read, written and staged follows from the state alone;
/// the readiness of the socket is beside it, in [`Ready`](super::Ready).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Messages are taken, logged and answered.
    Open,
    /// The server is stopping: messages are answered `error shutting-down`.
    Refusing,
    /// The client has ended its input; it still gets its replies.
    ReadClosed,
    /// Replies cannot reach the client any more. What it had sent is still read and logged, up to
    /// the end, which decides about a line without a line end.
    WriteClosed(LastLine),
    /// The server has decided to end it: nothing more is read, replies still go out.
    Closing,
    /// The sending side is shut down. What still comes is read and forgotten for a while, so that it
    /// does not make the kernel reset the connection and destroy the last reply.
    Lingering,
    /// Nothing is left to do but to close the socket.
    Closed,
}

/// What becomes of a line without a line end when the input of a client that takes no replies is
/// over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLine {
    /// The reading tells: an end of the input makes it a message, an error drops it.
    AsReadingTells,
    /// The connection was reset, which drops it. The kernel tells that once. It told it to a write,
    /// and a read that follows would take the reset for an end of the input.
    Dropped,
}

impl Life {
    /// Input is read, be it to forget it.
    pub const fn reads(self) -> bool {
        matches!(
            self,
            Self::Open | Self::Refusing | Self::WriteClosed(_) | Self::Lingering
        )
    }

    /// Messages are cut from the input.
    pub const fn takes_messages(self) -> bool {
        matches!(self, Self::Open | Self::Refusing | Self::WriteClosed(_))
    }

    /// Replies are sent, and those that become due are kept.
    pub const fn sends(self) -> bool {
        matches!(
            self,
            Self::Open | Self::Refusing | Self::ReadClosed | Self::Closing
        )
    }

    /// Only the watch over idle clients and vanished machines ends it if its client does nothing more.
    /// The others have an end of their own.
    pub const fn has_timeout(self) -> bool {
        match self {
            Self::Open
            | Self::Refusing
            | Self::ReadClosed
            | Self::WriteClosed(_)
            | Self::Closing => true,
            // After a second, and at once.
            Self::Lingering | Self::Closed => false,
        }
    }

    /// The client's input is over: an end that is an end, not an error.
    #[must_use]
    pub const fn after_end_of_input(self) -> Self {
        match self {
            Self::Open | Self::Refusing => Self::ReadClosed,
            Self::ReadClosed | Self::Closing => self,
            Self::WriteClosed(_) | Self::Lingering | Self::Closed => Self::Closed,
        }
    }

    /// Replies cannot reach the client any more.
    #[must_use]
    pub const fn after_hang_up(self, last_line: LastLine) -> Self {
        match self {
            Self::Open => Self::WriteClosed(last_line),
            Self::WriteClosed(_) | Self::Lingering => self,
            Self::Refusing | Self::ReadClosed | Self::Closing | Self::Closed => Self::Closed,
        }
    }

    /// The server is stopping and has read enough.
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

    /// The server ends the connection as soon as the replies are out.
    #[must_use]
    pub const fn after_close(self) -> Self {
        match self {
            Self::Open | Self::Refusing => Self::Closing,
            Self::WriteClosed(_) => Self::Closed,
            Self::ReadClosed | Self::Closing | Self::Lingering | Self::Closed => self,
        }
    }
}
