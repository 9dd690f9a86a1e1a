//! The queues of connections that the loop has work for, one queue for each kind of work.
//!
//! A connection knows which queues it is in, so it is in none of them twice. A stale key, or one that
//! belongs to another client by now, has no effect.

use std::collections::VecDeque;

use slab::Slab;

use crate::batch::ClientId;
use crate::connection::{Connection, Life, Queue, QueueState, Ready};

#[derive(Debug)]
pub(super) struct Queues {
    pub(super) to_read: FairQueue,
    /// A queue with a budget of its own, since reads of handshakes cost far more than others.
    pub(super) handshakes: FairQueue,
    pub(super) to_write: FairQueue,
    pub(super) to_reap: VecDeque<u32>,
    /// Connections whose sending side is shut down, and when that happened, the earliest first.
    pub(super) lingering: VecDeque<(u32, ClientId)>,
    /// Connections with ambiguous first bytes, and since when these are held, the earliest first.
    pub(super) unclear: VecDeque<(u32, ClientId)>,
    /// Connections that began with a pending handshake or PROXY header, and when they began, the earliest
    /// first. Entries of completed ones are removed when their time is over.
    pub(super) openings: VecDeque<(u32, ClientId)>,
    /// The time of this turn in milliseconds, as connections keep it. It wraps after 49 days, so times are
    /// only subtracted, and no difference may reach half of that.
    pub(super) now_ms: u32,
}

impl Queues {
    pub(super) fn new() -> Self {
        Self {
            to_read: FairQueue::new(Queue::Read),
            handshakes: FairQueue::new(Queue::Handshake),
            to_write: FairQueue::new(Queue::Write),
            to_reap: VecDeque::new(),
            lingering: VecDeque::new(),
            unclear: VecDeque::new(),
            openings: VecDeque::new(),
            now_ms: 0,
        }
    }

    /// The queue for this work.
    pub(super) fn of(&mut self, queue: Queue) -> &mut FairQueue {
        match queue {
            Queue::Read => &mut self.to_read,
            Queue::Handshake => &mut self.handshakes,
            Queue::Write => &mut self.to_write,
        }
    }

    /// Puts a connection into the queues that its state requires. It must be called whenever that state may
    /// have changed.
    pub(super) fn schedule(&mut self, key: u32, connection: &mut Connection) {
        self.end(key, connection);
        self.hold(key, connection);
        self.enter_to_read(key, connection);
        self.to_write.enter(key, connection);
    }

    /// Puts a connection that has input into the queue of handshakes or into the read queue.
    fn enter_to_read(&mut self, key: u32, connection: &mut Connection) {
        if connection.is_opening() {
            self.handshakes.enter(key, connection);
        } else {
            self.to_read.enter(key, connection);
        }
    }

    /// Updates the queues of a connection that was read and put back. It checks only what a read can
    /// change.
    pub(super) fn was_read(&mut self, key: u32, connection: &mut Connection) {
        self.touch(connection);
        self.end(key, connection);
        self.hold(key, connection);
        // A lingering connection is read, too.
        self.enter_to_read(key, connection);
        // There may be something to send at once: a refusal, or the rest of a handshake.
        self.to_write.enter(key, connection);
    }

    /// Updates the queues of a connection that was written to. It may be read again if it was owed too many
    /// replies.
    pub(super) fn was_written(&mut self, key: u32, connection: &mut Connection) {
        self.touch(connection);
        self.to_write.put_back(key, connection);
        self.end(key, connection);
        self.enter_to_read(key, connection);
    }

    /// Records that data came from this client or was sent to it.
    fn touch(&self, connection: &mut Connection) {
        if connection.life() != Life::Lingering {
            connection.moved_at_ms = self.now_ms;
        }
    }

    /// Sets the deadline of first bytes that have just become ambiguous.
    fn hold(&mut self, key: u32, connection: &mut Connection) {
        if let Some(since_ms) = connection.take_hold_start() {
            let serial = connection.serial;
            debug_assert!(is_in_order(&self.unclear, since_ms));
            self.unclear.push_back((since_ms, ClientId { key, serial }));
        }
    }

    /// Advances the end of a connection that is being closed.
    fn end(&mut self, key: u32, connection: &mut Connection) {
        if connection.life() == Life::Open {
            return;
        }
        if connection.wants_end() && connection.linger(self.now_ms) {
            let serial = connection.serial;
            self.lingering.push_back((self.now_ms, ClientId { key, serial }));
        }
        if connection.is_done() && !connection.ready.contains(Ready::QUEUED_TO_REAP) {
            connection.ready |= Ready::QUEUED_TO_REAP;
            self.to_reap.push_back(key);
        }
    }
}

/// Whether this time is no earlier than those in a queue.
fn is_in_order(queue: &VecDeque<(u32, ClientId)>, since_ms: u32) -> bool {
    let last = queue.back().map_or(since_ms, |(last_ms, _)| *last_ms);
    since_ms.wrapping_sub(last).cast_signed() >= 0
}

/// Whether a connection has the work that this queue is for.
fn wants(queue: Queue, connection: &Connection) -> bool {
    match queue {
        Queue::Read => connection.wants_read() && !connection.is_opening(),
        Queue::Handshake => connection.wants_read() && connection.is_opening(),
        Queue::Write => connection.wants_write(),
    }
}

/// A queue in which light clients pass heavy ones and neither starves, by the rule of `fq_codel` (RFC 8290,
/// section 4.2, without its `CoDel`).
///
/// A newly ready client is served first, for one share. Then it waits in the old list for its next share
/// like all others. A client served while others wait goes through the old list even if it has nothing left
/// to do. So a client that becomes ready again and again cannot always pass.
#[derive(Debug)]
pub(super) struct FairQueue {
    /// A connection keeps its state in this queue under this name.
    queue: Queue,
    new: VecDeque<u32>,
    old: VecDeque<u32>,
}

impl FairQueue {
    fn new(queue: Queue) -> Self {
        Self { queue, new: VecDeque::new(), old: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }

    /// The number of entries, stale ones included: this many calls of [`next`](FairQueue::next) serve every
    /// client once.
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.old.len()
    }

    /// Adds a connection that has work and is not in the queue yet.
    fn enter(&mut self, key: u32, connection: &mut Connection) {
        if connection.queue_states.get(self.queue) == QueueState::Out
            && wants(self.queue, connection)
        {
            connection.queue_states.set(self.queue, QueueState::New);
            self.new.push_back(key);
        }
    }

    /// Removes and returns the next connection that still has work. It must be put back once it has been
    /// served.
    pub(super) fn next<'a>(
        &mut self,
        connections: &'a mut Slab<Connection>,
    ) -> Option<(u32, &'a mut Connection)> {
        loop {
            let (key, from) = match self.new.pop_front() {
                Some(key) => (key, QueueState::New),
                None => (self.old.pop_front()?, QueueState::Old),
            };
            let Some(connection) = connections.get_mut(key as usize) else {
                continue;
            };
            if connection.queue_states.get(self.queue) != from {
                continue;
            }
            if wants(self.queue, connection) {
                return Some((key, &mut connections[key as usize]));
            }
            connection.queue_states.set(self.queue, QueueState::Out);
        }
    }

    /// Puts back a connection that had its share.
    pub(super) fn put_back(&mut self, key: u32, connection: &mut Connection) {
        let place = connection.queue_states.get(self.queue);
        debug_assert!(place != QueueState::Out, "it was taken out of a list");
        let others_wait = place == QueueState::New && !self.old.is_empty();
        if others_wait || wants(self.queue, connection) {
            connection.queue_states.set(self.queue, QueueState::Old);
            self.old.push_back(key);
        } else {
            connection.queue_states.set(self.queue, QueueState::Out);
        }
    }

    /// Whether a connection is in the list that its state names.
    #[cfg(test)]
    pub(super) fn holds(&self, key: u32, connection: &Connection) -> bool {
        match connection.queue_states.get(self.queue) {
            QueueState::Out => false,
            QueueState::New => self.new.contains(&key),
            QueueState::Old => self.old.contains(&key),
        }
    }
}
