//! The connections that something is to be done with, each queue named by what that is.
//!
//! A connection knows which queues it is in, so it is never in one twice, and a key that has become
//! stale, or belongs to another client by now, does nothing.

use std::collections::VecDeque;
use std::marker::PhantomData;

use slab::Slab;

use crate::batch::ClientId;
use crate::connection::{Connection, Life, Queue, QueueState, Ready};

#[derive(Debug)]
pub(super) struct Queues {
    pub(super) to_read: FairQueue<Reading>,
    /// Their reads cost far more, so they have a queue and a budget of their own.
    pub(super) handshakes: FairQueue<Handshakes>,
    pub(super) to_write: FairQueue<Writing>,
    pub(super) to_reap: VecDeque<u32>,
    /// Connections whose sending side is shut down, and when that was, the earliest first.
    pub(super) lingering: VecDeque<(u32, ClientId)>,
    /// Connections whose first bytes may be several things, and since when, the earliest first.
    pub(super) unclear: VecDeque<(u32, ClientId)>,
    /// Connections that began with a handshake or a PROXY header due, and when that was, the earliest
    /// first. Those that have it leave when their time is over.
    pub(super) openings: VecDeque<(u32, ClientId)>,
    /// The time of this turn in milliseconds, as connections keep it. It wraps after 49 days, so
    /// times are only ever subtracted, and stand for less than half of that.
    pub(super) now_ms: u32,
}

impl Queues {
    pub(super) fn new() -> Self {
        Self {
            to_read: FairQueue::default(),
            handshakes: FairQueue::default(),
            to_write: FairQueue::default(),
            to_reap: VecDeque::new(),
            lingering: VecDeque::new(),
            unclear: VecDeque::new(),
            openings: VecDeque::new(),
            now_ms: 0,
        }
    }

    /// Puts a connection into the queues that its state calls for; to be called whenever that may
    /// have changed.
    pub(super) fn schedule(&mut self, key: u32, connection: &mut Connection) {
        self.end(key, connection);
        self.wait(key, connection);
        self.enter_to_read(key, connection);
        self.to_write.enter(key, connection);
    }

    /// Puts a connection that wants to be read into the queue for what it has to send now.
    fn enter_to_read(&mut self, key: u32, connection: &mut Connection) {
        if connection.is_opening() {
            self.handshakes.enter(key, connection);
        } else {
            self.to_read.enter(key, connection);
        }
    }

    /// A connection has been read and is back in its queue: only what that may have changed is looked at.
    pub(super) fn was_read(&mut self, key: u32, connection: &mut Connection) {
        self.touch(connection);
        self.end(key, connection);
        self.wait(key, connection);
        // What comes while its end is waited for is read, too.
        self.enter_to_read(key, connection);
        // There may be something to say at once: why it is turned away, or the rest of a handshake.
        self.to_write.enter(key, connection);
    }

    /// A connection has been written to, likewise. It may be read again if it was owed too much.
    pub(super) fn was_written(&mut self, key: u32, connection: &mut Connection) {
        self.touch(connection);
        self.to_write.put_back(key, connection);
        self.end(key, connection);
        self.enter_to_read(key, connection);
    }

    /// Something came from this client or went to it.
    fn touch(&self, connection: &mut Connection) {
        if connection.life() != Life::Lingering {
            connection.moved_at_ms = self.now_ms;
        }
    }

    /// Gives first bytes that have become unclear their deadline.
    fn wait(&mut self, key: u32, connection: &mut Connection) {
        if let Some(since_ms) = connection.begins_to_wait() {
            let serial = connection.serial;
            debug_assert!(is_in_order(&self.unclear, since_ms));
            self.unclear.push_back((since_ms, ClientId { key, serial }));
        }
    }

    /// Goes on with the end of a connection, if it has one in sight.
    fn end(&mut self, key: u32, connection: &mut Connection) {
        if connection.life() == Life::Open {
            return;
        }
        if connection.wants_end() && connection.linger(self.now_ms) {
            let serial = connection.serial;
            self.lingering
                .push_back((self.now_ms, ClientId { key, serial }));
        }
        if connection.is_done() && !connection.ready.contains(Ready::QUEUED_TO_REAP) {
            connection.ready |= Ready::QUEUED_TO_REAP;
            self.to_reap.push_back(key);
        }
    }
}

/// Whether this is no earlier than what is in a queue.
fn is_in_order(queue: &VecDeque<(u32, ClientId)>, since_ms: u32) -> bool {
    let last = queue.back().map_or(since_ms, |(last_ms, _)| *last_ms);
    since_ms.wrapping_sub(last).cast_signed() >= 0
}

/// What a [`FairQueue`] is for.
pub(super) trait Purpose: Sized {
    /// Under which name a connection remembers its place in that queue.
    const QUEUE: Queue;
    /// Whether a connection wants what the queue is for.
    fn wants(connection: &Connection) -> bool;
    /// That queue.
    fn queue(queues: &mut Queues) -> &mut FairQueue<Self>;
}

#[derive(Debug)]
pub(super) struct Reading;

impl Purpose for Reading {
    const QUEUE: Queue = Queue::Read;

    fn wants(connection: &Connection) -> bool {
        connection.wants_read() && !connection.is_opening()
    }

    fn queue(queues: &mut Queues) -> &mut FairQueue<Self> {
        &mut queues.to_read
    }
}

#[derive(Debug)]
pub(super) struct Handshakes;

impl Purpose for Handshakes {
    const QUEUE: Queue = Queue::Handshake;

    fn wants(connection: &Connection) -> bool {
        connection.wants_read() && connection.is_opening()
    }

    fn queue(queues: &mut Queues) -> &mut FairQueue<Self> {
        &mut queues.handshakes
    }
}

#[derive(Debug)]
pub(super) struct Writing;

impl Purpose for Writing {
    const QUEUE: Queue = Queue::Write;

    fn wants(connection: &Connection) -> bool {
        connection.wants_write()
    }

    fn queue(queues: &mut Queues) -> &mut FairQueue<Self> {
        &mut queues.to_write
    }
}

/// A queue in which light clients pass heavy ones, and neither starves, by the rule of `fq_codel`
/// (RFC 8290, section 4.2, without its `CoDel`): whoever is newly ready is served first, for one
/// share, and then waits in the old list for the next one like everybody else. Whoever is served
/// while others wait goes through the old list even if nothing is left to do, so that one who comes
/// again and again cannot always pass.
#[derive(Debug)]
pub(super) struct FairQueue<P> {
    new: VecDeque<u32>,
    old: VecDeque<u32>,
    purpose: PhantomData<P>,
}

impl<P> Default for FairQueue<P> {
    fn default() -> Self {
        Self {
            new: VecDeque::new(),
            old: VecDeque::new(),
            purpose: PhantomData,
        }
    }
}

impl<P: Purpose> FairQueue<P> {
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }

    /// How many entries there are, stale ones included: so many calls of [`next`](FairQueue::next)
    /// serve everybody once.
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.old.len()
    }

    /// Lets a connection in that wants something and is not in yet.
    fn enter(&mut self, key: u32, connection: &mut Connection) {
        if connection.queue_states.get(P::QUEUE) == QueueState::Out && P::wants(connection) {
            connection.queue_states.set(P::QUEUE, QueueState::New);
            self.new.push_back(key);
        }
    }

    /// Takes out the next connection that still wants something. When it has been served, it is to
    /// be put back.
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
            if connection.queue_states.get(P::QUEUE) != from {
                continue;
            }
            if P::wants(connection) {
                return Some((key, &mut connections[key as usize]));
            }
            connection.queue_states.set(P::QUEUE, QueueState::Out);
        }
    }

    /// Puts a connection back that has had its share.
    pub(super) fn put_back(&mut self, key: u32, connection: &mut Connection) {
        let place = connection.queue_states.get(P::QUEUE);
        debug_assert!(place != QueueState::Out, "it was taken out of a list");
        let others_wait = place == QueueState::New && !self.old.is_empty();
        if others_wait || P::wants(connection) {
            connection.queue_states.set(P::QUEUE, QueueState::Old);
            self.old.push_back(key);
        } else {
            connection.queue_states.set(P::QUEUE, QueueState::Out);
        }
    }

    /// Whether a connection is in the list that its place says.
    #[cfg(test)]
    pub(super) fn holds(&self, key: u32, connection: &Connection) -> bool {
        match connection.queue_states.get(P::QUEUE) {
            QueueState::Out => false,
            QueueState::New => self.new.contains(&key),
            QueueState::Old => self.old.contains(&key),
        }
    }
}
