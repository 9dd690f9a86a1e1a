//! Flags of a connection: the readiness of its socket, and its states in the loop's queues.

bitflags::bitflags! {
    /// The readiness of a socket, and flags of its client.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ready: u8 {
        /// The socket may hold input. An event sets it, and a read that finds no more clears it. The poll
        /// reports readiness only once, so it is kept here.
        const READABLE = 1;
        /// No event will report the end of the input, so reading goes on until `WouldBlock` or the end.
        /// Data and FIN can share one event. So can urgent data, at which a read stops short, and the data
        /// after it.
        const READ_TO_END = 1 << 1;
        /// The last write was taken completely.
        const WRITABLE = 1 << 2;
        /// The kernel may hold replies that the peer has not acknowledged.
        const UNACKNOWLEDGED = 1 << 3;
        /// The peer seemed to be dead at the last check.
        const SUSPECT = 1 << 4;
        /// A complete message has arrived, or first bytes were taken as messages.
        const HAS_SPOKEN = 1 << 5;
        /// A client over the limit, which is connected only to be refused.
        const REFUSED = 1 << 6;
        /// The connection is in the queue of those to be removed.
        const QUEUED_TO_REAP = 1 << 7;
    }
}

/// A queue of the loop. The number is the position of its two bits in [`QueueStates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Clients with messages to read.
    Read = 0,
    /// Clients whose handshake or PROXY header is to be read.
    Handshake = 2,
    /// Clients with replies to send.
    Write = 4,
}

/// The state of a connection in each queue, in one byte, since there may be many idle connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueStates(u8);

impl QueueStates {
    /// The state in this queue.
    pub fn get(self, queue: Queue) -> QueueState {
        match self.0 >> queue as u8 & 3 {
            0 => QueueState::Out,
            1 => QueueState::New,
            _ => QueueState::Old,
        }
    }

    /// Sets the state in this queue.
    pub fn set(&mut self, queue: Queue, place: QueueState) {
        self.0 = self.0 & !(3 << queue as u8) | (place as u8) << queue as u8;
    }
}

/// The list of a [fair queue](crate::server) that a connection is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueState {
    /// Neither list.
    #[default]
    Out,
    /// The list of newly ready connections, which are served first.
    New,
    /// The list of connections that were served and wait for their next share.
    Old,
}
