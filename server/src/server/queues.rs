//! The connections that something is to be done with, each queue named by what that is.
//!
//! A connection knows by its flags which queues it is in, so it is never in one twice, and a key
//! that has become stale, or belongs to another client by now, does nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use slab::Slab;

use super::LINGER;
use crate::connection::{Connection, Flags};

#[derive(Debug)]
pub(super) struct Queues {
    pub(super) to_read: VecDeque<usize>,
    pub(super) to_write: VecDeque<usize>,
    to_reap: Vec<usize>,
    /// Connections whose sending side is shut down, and when that was, the earliest first.
    lingering: VecDeque<(u32, usize)>,
    /// The instant that is millisecond 0.
    epoch: Instant,
    now: Instant,
    /// `now` in the milliseconds that connections keep. They wrap after 49 days, so they are only
    /// ever subtracted, and stand for less than half of that.
    millis: u32,
}

impl Queues {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            to_read: VecDeque::new(),
            to_write: VecDeque::new(),
            to_reap: Vec::new(),
            lingering: VecDeque::new(),
            epoch: now,
            now,
            millis: 0,
        }
    }

    /// A turn begins.
    pub(super) fn set_time(&mut self, now: Instant) {
        self.now = now;
        self.millis = now.duration_since(self.epoch).as_millis() as u32;
    }

    /// The time of this turn, as connections keep it.
    pub(super) fn millis(&self) -> u32 {
        self.millis
    }

    /// Something came from this client or went to it.
    pub(super) fn touch(&mut self, key: usize, connection: &mut Connection) {
        if !connection.flags.contains(Flags::LINGERING) {
            connection.since = self.millis;
        }
        self.schedule(key, connection);
    }

    /// Puts a connection into the queues that its state calls for; to be called whenever that may
    /// have changed.
    pub(super) fn schedule(&mut self, key: usize, connection: &mut Connection) {
        if connection.is_ending() {
            if connection.wants_end() {
                connection.linger(self.millis);
                self.lingering.push_back((self.millis, key));
            }
            if connection.is_done() {
                if enter(&mut connection.flags, Flags::QUEUED_TO_REAP) {
                    self.to_reap.push(key);
                }
                return;
            }
        }
        if connection.wants_read() && enter(&mut connection.flags, Flags::QUEUED_TO_READ) {
            self.to_read.push_back(key);
        }
        if connection.wants_write() && enter(&mut connection.flags, Flags::QUEUED_TO_WRITE) {
            self.to_write.push_back(key);
        }
    }

    /// Something can be done without waiting for an event.
    pub(super) fn has_work(&self) -> bool {
        !(self.to_read.is_empty() && self.to_write.is_empty())
    }

    pub(super) fn next_to_read<'a>(
        &mut self,
        connections: &'a mut Slab<Connection>,
    ) -> Option<(usize, &'a mut Connection)> {
        let wants = Connection::wants_read;
        next(&mut self.to_read, connections, Flags::QUEUED_TO_READ, wants)
    }

    pub(super) fn next_to_write<'a>(
        &mut self,
        connections: &'a mut Slab<Connection>,
    ) -> Option<(usize, &'a mut Connection)> {
        let wants = Connection::wants_write;
        next(
            &mut self.to_write,
            connections,
            Flags::QUEUED_TO_WRITE,
            wants,
        )
    }

    pub(super) fn next_to_reap(&mut self, connections: &Slab<Connection>) -> Option<usize> {
        let queued = |key: &usize| {
            let connection = connections.get(*key);
            connection.is_some_and(|c| c.flags.contains(Flags::QUEUED_TO_REAP))
        };
        std::iter::from_fn(|| self.to_reap.pop()).find(queued)
    }

    /// When the first of the lingering connections is to be closed whatever its client does.
    pub(super) fn next_linger_end(&self) -> Option<Instant> {
        let (since, _) = self.lingering.front()?;
        let elapsed = self.millis.wrapping_sub(*since);
        Some(self.now + Duration::from_millis(LINGER.saturating_sub(elapsed).into()))
    }

    /// Gives up on the connections that have lingered long enough.
    pub(super) fn end_lingering(&mut self, connections: &mut Slab<Connection>) {
        while let Some(&(since, key)) = self.lingering.front() {
            if self.millis.wrapping_sub(since) < LINGER {
                return;
            }
            self.lingering.pop_front();
            let Some(connection) = connections.get_mut(key) else {
                continue;
            };
            // Another client may have got the key; if it has lingered as long, it is due as well.
            if connection.flags.contains(Flags::LINGERING) && connection.since == since {
                connection.give_up();
                self.schedule(key, connection);
            }
        }
    }

    /// Closes the connections on which nothing has come or gone for `timeout`. Where input waits to
    /// be read, something has come: it was the server that did not get to it, perhaps for a pause.
    pub(super) fn close_idle(&mut self, connections: &mut Slab<Connection>, timeout: Duration) {
        let timeout = timeout.as_millis() as u32;
        for (key, connection) in connections.iter_mut() {
            let idle = self.millis.wrapping_sub(connection.since) >= timeout;
            let spared = Flags::CLOSING | Flags::QUEUED_TO_READ;
            if idle && !connection.flags.intersects(spared) {
                connection.time_out();
                self.schedule(key, connection);
            }
        }
    }
}

/// Sets a membership flag; whether it was not set before.
fn enter(flags: &mut Flags, queue: Flags) -> bool {
    let entered = !flags.contains(queue);
    *flags |= queue;
    entered
}

/// Takes the first connection out of the queue that is still in it and still `wants` what it is
/// for.
fn next<'a>(
    queue: &mut VecDeque<usize>,
    connections: &'a mut Slab<Connection>,
    flag: Flags,
    wants: fn(&Connection) -> bool,
) -> Option<(usize, &'a mut Connection)> {
    while let Some(key) = queue.pop_front() {
        let wanted = connections.get_mut(key).is_some_and(|connection| {
            let queued = connection.flags.contains(flag);
            connection.flags -= flag;
            queued && wants(connection)
        });
        if wanted {
            return Some((key, &mut connections[key]));
        }
    }
    None
}
