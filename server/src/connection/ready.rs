//! What is known of a connection's socket, and where it is in the loop's queues.

bitflags::bitflags! {
    /// What is known of a socket, and what is to be remembered of its client.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ready: u8 {
        /// The socket may hold input. Set by an event, cleared when a read finds no more:
        /// readiness is reported once, so it is kept here.
        const READABLE = 1;
        /// No event will come for the end of the input, so only `WouldBlock` or the end itself
        /// ends the reading: data and FIN can share one event. So can urgent data, at which a
        /// read falls short, and what follows it.
        const READ_TO_END = 1 << 1;
        /// The kernel took all it was given the last time.
        const WRITABLE = 1 << 2;
        /// The kernel may hold replies that the client's machine has not acknowledged.
        const UNACKNOWLEDGED = 1 << 3;
        /// The client's machine seemed to be gone at the last look.
        const SUSPECT = 1 << 4;
        /// A whole message has come.
        const HAS_SPOKEN = 1 << 5;
        /// A client over the limit, which only came to be told so.
        const REFUSED = 1 << 6;
        /// In the queue of those to be removed.
        const QUEUED_TO_REAP = 1 << 7;
    }
}

/// A queue of the loop. The number is where [`QueueStates`] has its two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Clients with messages to read.
    Read = 0,
    /// Clients whose handshake or PROXY header is to be read.
    Handshake = 2,
    /// Clients to write to.
    Write = 4,
}

/// The place of a connection in each queue, in one byte: there may be many idle connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueStates(u8);

impl QueueStates {
    /// The place in this queue.
    pub fn get(self, queue: Queue) -> QueueState {
        match self.0 >> queue as u8 & 3 {
            0 => QueueState::Out,
            1 => QueueState::New,
            _ => QueueState::Old,
        }
    }

    /// Sets the place in this queue.
    pub fn set(&mut self, queue: Queue, place: QueueState) {
        self.0 = self.0 & !(3 << queue as u8) | (place as u8) << queue as u8;
    }
}

/// Which list of a [fair queue](crate::server) a connection is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueState {
    /// Neither.
    #[default]
    Out,
    /// That of the newly ready, which are served first.
    New,
    /// That of those which have been served and wait for their next share.
    Old,
}
