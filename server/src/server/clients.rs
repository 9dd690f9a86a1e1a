//! All clients: who is served, what is to be done for whom, and who has to leave.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use slab::Slab;

use super::queue::FairQueue;
use crate::batch::{ClientId, Run};
use crate::connection::{Connection, Life, Ready};
use crate::protocol::Reply;

/// Clients over the limit that are told so at the same time; the others wait in the backlog.
pub const REFUSALS: usize = 8;

/// How long input is awaited and forgotten after the sending side was shut down, in milliseconds.
const LINGER_MS: u32 = 1000;

/// How many connections are closed, or done with lingering, in one turn.
const CLOSE_BUDGET: usize = 128;

/// How many clients a walk looks at in one turn.
const WALK_BUDGET: u32 = 4096;

/// Every client, by key, in the queues that its state calls for.
#[derive(Debug)]
pub(super) struct Clients {
    slab: Slab<Connection>,
    to_read: FairQueue,
    to_write: FairQueue,
    to_reap: VecDeque<u32>,
    /// Connections whose sending side is shut down, and when that was, the earliest first.
    lingering: VecDeque<(u32, ClientId)>,
    /// How many may be served at once.
    most: usize,
    /// How many are there only to be told that there are too many.
    refused: usize,
    next_serial: u32,
    /// Keys that were ever given out are below this.
    end_of_keys: u32,
    /// The instant that is millisecond 0.
    epoch: Instant,
    now: Instant,
    /// `now` in the milliseconds that connections keep. They wrap after 49 days, so they are only
    /// ever subtracted, and stand for less than half of that.
    now_ms: u32,
}

/// Where a walk over all clients is, some of them in each turn.
#[derive(Debug, Default)]
pub(super) struct Walk {
    next: u32,
    end: u32,
}

impl Clients {
    pub(super) fn new(most: usize, now: Instant) -> Self {
        Self {
            slab: Slab::new(),
            to_read: FairQueue::new(|c| &mut c.to_read, Connection::wants_read),
            to_write: FairQueue::new(|c| &mut c.to_write, Connection::wants_write),
            to_reap: VecDeque::new(),
            lingering: VecDeque::new(),
            most,
            refused: 0,
            next_serial: 0,
            end_of_keys: 0,
            epoch: now,
            now,
            now_ms: 0,
        }
    }

    /// A turn begins.
    pub(super) fn set_time(&mut self, now: Instant) {
        self.now = now;
        self.now_ms = now.duration_since(self.epoch).as_millis() as u32;
    }

    /// The time of this turn, as connections keep it.
    pub(super) fn now_ms(&self) -> u32 {
        self.now_ms
    }

    /// Nobody is there, not even to be refused.
    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Connections, those that are refused or lingering included.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Clients that are served.
    pub(super) fn served(&self) -> usize {
        self.slab.len() - self.refused
    }

    /// There is a place for one more, if only to be refused.
    pub(super) fn have_place(&self) -> bool {
        self.slab.len() < self.most.saturating_add(REFUSALS)
    }

    /// The key that the next client gets.
    pub(super) fn next_key(&self) -> usize {
        self.slab.vacant_key()
    }

    /// Takes a client in; whether it is served, and not only told that there are too many. With
    /// `stopping` it is read to the end of what the kernel holds.
    pub(super) fn admit(&mut self, socket: TcpStream, peer: SocketAddr, stopping: bool) -> bool {
        debug_assert!(self.have_place());
        let serial = self.new_serial();
        let mut connection = Connection::new(socket, peer, serial, self.now_ms);
        if stopping {
            connection.expect_end();
        }
        let is_served = self.served() < self.most;
        if !is_served {
            self.refused += 1;
            connection.ready |= Ready::REFUSED;
            connection.owe_unasked(Reply::TooManyClients(self.most));
            connection.close();
        }
        let key = self.slab.insert(connection) as u32;
        self.end_of_keys = self.end_of_keys.max(key + 1);
        self.schedule(key);
        is_served
    }

    fn new_serial(&mut self) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        self.next_serial
    }

    /// Lends the client with this key, if there is one, then does what its state calls for.
    pub(super) fn with(&mut self, key: u32, f: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.slab.get_mut(key as usize) {
            f(connection);
            self.schedule(key);
        }
    }

    /// Puts a connection into the queues that its state calls for; to be called whenever that may
    /// have changed.
    fn schedule(&mut self, key: u32) {
        let connection = &mut self.slab[key as usize];
        if connection.wants_end() {
            connection.linger(self.now_ms);
            let serial = connection.serial;
            let id = ClientId { key, serial };
            self.lingering.push_back((self.now_ms, id));
        }
        if connection.is_done() {
            if !connection.ready.contains(Ready::QUEUED_TO_REAP) {
                connection.ready |= Ready::QUEUED_TO_REAP;
                self.to_reap.push_back(key);
            }
            return;
        }
        self.to_read.enter(key, connection);
        self.to_write.enter(key, connection);
    }

    /// Something can be read or written without waiting for an event.
    pub(super) fn have_input_or_output(&self) -> bool {
        !(self.to_read.is_empty() && self.to_write.is_empty())
    }

    /// Somebody is to be removed.
    pub(super) fn are_leaving(&self) -> bool {
        !self.to_reap.is_empty()
    }

    /// How many entries the queue of those to read has: so many calls of
    /// [`read_next`](Clients::read_next) serve everybody once.
    pub(super) fn to_read(&self) -> usize {
        self.to_read.len()
    }

    /// The same for those to write.
    pub(super) fn to_write(&self) -> usize {
        self.to_write.len()
    }

    /// Has `read` serve the next client that wants to be read; `None` if there is none.
    pub(super) fn read_next<T>(
        &mut self,
        read: impl FnOnce(u32, &mut Connection) -> T,
    ) -> Option<T> {
        let key = self.to_read.next(&mut self.slab)?;
        let connection = &mut self.slab[key as usize];
        let result = read(key, connection);
        self.to_read.put_back(key, connection);
        self.touch(key);
        Some(result)
    }

    /// Has `write` serve the next client that wants to be written to; `None` if there is none.
    pub(super) fn write_next<T>(&mut self, write: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let key = self.to_write.next(&mut self.slab)?;
        let connection = &mut self.slab[key as usize];
        let result = write(connection);
        self.to_write.put_back(key, connection);
        self.touch(key);
        Some(result)
    }

    /// Something came from this client or went to it.
    fn touch(&mut self, key: u32) {
        let connection = &mut self.slab[key as usize];
        if connection.life() != Life::Lingering {
            connection.moved_at_ms = self.now_ms;
        }
        self.schedule(key);
    }

    /// Makes the replies of a run due, if its client is still there.
    pub(super) fn settle(&mut self, run: &Run, reply: Reply) {
        if let Some(connection) = self.find(run.client) {
            connection.settle(reply, run.count);
            self.schedule(run.client.key);
        }
    }

    /// Closes the client of a run, if it is still there, without a word about what is staged.
    pub(super) fn close_unanswered(&mut self, run: &Run) {
        let serial = self.new_serial();
        if let Some(connection) = self.find(run.client) {
            connection.close_unanswered(serial);
            self.schedule(run.client.key);
        }
    }

    fn find(&mut self, client: ClientId) -> Option<&mut Connection> {
        let connection = self.slab.get_mut(client.key as usize)?;
        (connection.serial == client.serial).then_some(connection)
    }

    /// Gives up on connections that have lingered long enough, within a budget.
    pub(super) fn end_lingering(&mut self) {
        for _ in 0..CLOSE_BUDGET {
            let Some(&(since_ms, client)) = self.lingering.front() else {
                return;
            };
            if self.now_ms.wrapping_sub(since_ms) < LINGER_MS {
                return;
            }
            self.lingering.pop_front();
            if let Some(connection) = self.find(client) {
                connection.give_up();
                self.schedule(client.key);
            }
        }
    }

    /// When the first of the lingering connections is to be closed whatever its client does.
    pub(super) fn next_linger_end(&self) -> Option<Instant> {
        let (since_ms, _) = self.lingering.front()?;
        let elapsed_ms = self.now_ms.wrapping_sub(*since_ms);
        Some(self.now + Duration::from_millis(LINGER_MS.saturating_sub(elapsed_ms).into()))
    }

    /// Removes connections that are done with, within a budget, and lends each to `gone`.
    pub(super) fn reap(&mut self, mut gone: impl FnMut(&Connection)) {
        for _ in 0..CLOSE_BUDGET {
            let Some(key) = self.to_reap.pop_front() else {
                return;
            };
            let connection = self.slab.remove(key as usize);
            debug_assert!(connection.is_done() && connection.ready.contains(Ready::QUEUED_TO_REAP));
            self.refused -= usize::from(connection.ready.contains(Ready::REFUSED));
            gone(&connection);
        }
    }

    /// A walk over everybody who is there now.
    pub(super) fn walk(&self) -> Walk {
        let (next, end) = (0, self.end_of_keys);
        Walk { next, end }
    }

    /// Goes on with a walk, within a budget: `visit` says whether it has changed something.
    pub(super) fn go_on(
        &mut self,
        walk: &mut Walk,
        mut visit: impl FnMut(u32, &mut Connection) -> bool,
    ) {
        let (mut looks, mut changes) = (0, 0);
        while !walk.is_over() && looks < WALK_BUDGET && changes < CLOSE_BUDGET {
            let key = walk.next;
            walk.next += 1;
            looks += 1;
            if let Some(connection) = self.slab.get_mut(key as usize)
                && visit(key, connection)
            {
                changes += 1;
                self.schedule(key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn holds_to_read(&self, key: u32) -> bool {
        self.to_read.holds(key, self.slab[key as usize].to_read)
    }

    #[cfg(test)]
    pub(super) fn holds_to_write(&self, key: u32) -> bool {
        self.to_write.holds(key, self.slab[key as usize].to_write)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        self.slab.iter().map(|(key, client)| (key as u32, client))
    }
}

impl Walk {
    pub(super) fn is_over(&self) -> bool {
        self.next >= self.end
    }
}
