//! The clients of the loop: the connections in a slab, the queues they are in, and their deadlines.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::protocol::Reply;
use mio::net::TcpStream;
use slab::Slab;

use super::queues::Queues;
use crate::admission::{OPENING_MS, UNCLEAR_MS};
use crate::batch::{ClientId, Run};
use crate::channel::Channel;
use crate::connection::{Connection, Queue, Ready};
use crate::options::{Config, ReplyMode};

/// The most clients over the limit that are refused at the same time. Further ones wait in the backlog.
pub const REFUSALS: usize = 8;

/// How long input is read and discarded after the sending side was shut down, in milliseconds.
const LINGER_MS: u32 = 1000;

/// The longest time until a [deadline](Clients::next_deadline) of a connection.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(if LINGER_MS > UNCLEAR_MS {
    LINGER_MS as u64
} else {
    UNCLEAR_MS as u64
});

/// The most connections closed in one turn, and the most lingering ones whose time ends in one turn.
const CLOSE_BUDGET: usize = 128;

/// The most clients that a sweep visits in one turn.
const SWEEP_BUDGET: u32 = 4096;

/// Every client by its key, in the queues that its state requires.
#[derive(Debug)]
pub(super) struct Clients {
    slab: Slab<Connection>,
    queues: Queues,
    /// The most clients served at once.
    most: usize,
    /// A refused client gets an error reply.
    sends_replies: bool,
    /// The number of connections that only wait for their refusal to be sent.
    refused: usize,
    /// While openings are to be checked: the time at which they are judged, in the loop's milliseconds.
    end_openings_at_ms: Option<u32>,
    /// When openings were last checked, in the loop's milliseconds.
    checked_openings_at_ms: u32,
    next_serial: u32,
    /// All keys given out so far are below this.
    end_of_keys: u32,
    /// The instant of millisecond 0.
    epoch: Instant,
    now: Instant,
}

/// The progress of a sweep over all clients. Each turn visits some of them.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    next: u32,
    end: u32,
}

impl Clients {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            slab: Slab::new(),
            queues: Queues::new(),
            most: config.max_clients.unwrap_or(usize::MAX),
            // Before a TLS handshake, no reply can be sent.
            sends_replies: config.reply_mode == ReplyMode::All && config.tls_cert.is_none(),
            refused: 0,
            end_openings_at_ms: None,
            checked_openings_at_ms: 0,
            next_serial: 0,
            end_of_keys: 0,
            epoch: now,
            now,
        }
    }

    /// Sets the time of the turn.
    pub(super) fn set_time(&mut self, now: Instant) {
        self.now = now;
        self.queues.now_ms = now.duration_since(self.epoch).as_millis() as u32;
    }

    /// The time of this turn in the loop's milliseconds.
    pub(super) fn now_ms(&self) -> u32 {
        self.queues.now_ms
    }

    /// There are no connections, refused ones included.
    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// The number of connections, refused and lingering ones included.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The number of clients that are served.
    pub(super) fn served(&self) -> usize {
        self.slab.len() - self.refused
    }

    /// The most clients that may be served.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// There is a place for one more connection, even if only to refuse it.
    pub(super) fn have_place(&self) -> bool {
        self.slab.len() < self.most.saturating_add(REFUSALS)
    }

    /// The key that the next client gets.
    pub(super) fn next_key(&self) -> usize {
        self.slab.vacant_key()
    }

    /// Adds a client. Returns whether it is served; otherwise it only gets the reply that there are too
    /// many. With `stopping` it is read until the kernel holds no more of its input.
    pub(super) fn admit(
        &mut self,
        socket: TcpStream,
        channel: Channel,
        peer: SocketAddr,
        stopping: bool,
    ) -> bool {
        debug_assert!(self.have_place());
        let serial = self.new_serial();
        let mut connection = Connection::new(socket, channel, peer, serial, self.queues.now_ms);
        if stopping {
            connection.expect_end();
        }
        let is_served = self.served() < self.most;
        if !is_served {
            self.refused += 1;
            connection.ready |= Ready::REFUSED;
            if self.sends_replies {
                connection.owe_unasked(Reply::TooManyClients(self.most));
            }
            connection.close();
        }
        let is_opening = connection.is_opening();
        let key = self.slab.insert(connection) as u32;
        if is_opening {
            let client = ClientId { key, serial };
            self.queues.openings.push_back((self.queues.now_ms, client));
        }
        self.end_of_keys = self.end_of_keys.max(key + 1);
        self.queues.schedule(key, &mut self.slab[key as usize]);
        is_served
    }

    fn new_serial(&mut self) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        self.next_serial
    }

    /// Calls `f` with the client that has this key, if there is one, then updates its queues.
    pub(super) fn with(&mut self, key: u32, f: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.slab.get_mut(key as usize) {
            f(connection);
            self.queues.schedule(key, connection);
        }
    }

    /// Something can be read or written without waiting for an event.
    pub(super) fn have_input_or_output(&self) -> bool {
        !(self.queues.to_read.is_empty()
            && self.queues.handshakes.is_empty()
            && self.queues.to_write.is_empty())
    }

    /// Connections are to be removed.
    pub(super) fn are_leaving(&self) -> bool {
        !self.queues.to_reap.is_empty() || self.end_openings_at_ms.is_some()
    }

    /// The length of the read queue: this many calls of [`read_next`](Clients::read_next) serve every
    /// client once.
    pub(super) fn to_read(&self) -> usize {
        self.queues.to_read.len()
    }

    /// The length of the queue of clients whose handshake or PROXY header is to be read.
    pub(super) fn handshakes(&self) -> usize {
        self.queues.handshakes.len()
    }

    /// The length of the write queue.
    pub(super) fn to_write(&self) -> usize {
        self.queues.to_write.len()
    }

    /// Calls `read` with the next client to be read in this queue; `None` if there is none.
    pub(super) fn read_next<T>(
        &mut self,
        queue: Queue,
        read: impl FnOnce(u32, &mut Connection) -> T,
    ) -> Option<T> {
        let (key, connection) = self.queues.of(queue).next(&mut self.slab)?;
        let result = read(key, connection);
        self.queues.of(queue).put_back(key, connection);
        self.queues.was_read(key, connection);
        Some(result)
    }

    /// Calls `write` with the next client that has replies to send; `None` if there is none.
    pub(super) fn write_next<T>(&mut self, write: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let (key, connection) = self.queues.to_write.next(&mut self.slab)?;
        let result = write(connection);
        self.queues.was_written(key, connection);
        Some(result)
    }

    /// Makes the replies of a run due, if its client is still connected.
    pub(super) fn complete(&mut self, run: &Run, reply: Reply) {
        self.with_client(run.client, |connection| {
            connection.complete(reply, run.count);
        });
    }

    /// Closes the client of a run, if it is still connected, and sends no reply for staged messages.
    pub(super) fn close_unanswered(&mut self, run: &Run) {
        let serial = self.new_serial();
        self.with_client(run.client, |connection| connection.close_unanswered(serial));
    }

    /// Like [`with`](Clients::with), but does nothing if another client has the key by now.
    fn with_client(&mut self, client: ClientId, f: impl FnOnce(&mut Connection)) {
        let ClientId { key, serial } = client;
        if let Some(connection) = self.slab.get_mut(key as usize)
            && connection.serial == serial
        {
            f(connection);
            self.queues.schedule(key, connection);
        }
    }

    /// Closes connections that have lingered long enough, within a budget.
    pub(super) fn end_lingering(&mut self) {
        for _ in 0..CLOSE_BUDGET {
            let Some(&(since_ms, client)) = self.queues.lingering.front() else {
                return;
            };
            if self.queues.now_ms.wrapping_sub(since_ms) < LINGER_MS {
                return;
            }
            self.queues.lingering.pop_front();
            self.with_client(client, Connection::give_up);
        }
    }

    /// Makes the next calls of [`end_openings`](Clients::end_openings) look for connections past their
    /// deadline.
    ///
    /// They are judged by the time of the previous check, since all input that had arrived by then has been
    /// read. So after a pause of the process or a slow turn, a client has another second.
    pub(super) fn check_openings(&mut self) {
        let before_ms = std::mem::replace(&mut self.checked_openings_at_ms, self.queues.now_ms);
        self.end_openings_at_ms = Some(before_ms);
    }

    /// Calls `end` with the connections whose handshake or PROXY header did not arrive in time, within a
    /// budget. Connections with unread input stay for the next check, since the server has not read it yet.
    pub(super) fn end_openings(&mut self, mut end: impl FnMut(&mut Connection)) {
        let Some(now_ms) = self.end_openings_at_ms else {
            return;
        };
        let (mut ended, mut unread) = (0, Vec::new());
        while ended < CLOSE_BUDGET {
            let Some(&(since_ms, client)) = self.queues.openings.front() else {
                break;
            };
            // It may have connected after the time of the check.
            if now_ms.wrapping_sub(since_ms).cast_signed() < OPENING_MS.cast_signed() {
                break;
            }
            self.queues.openings.pop_front();
            self.with_client(client, |connection| {
                if !connection.is_opening() || !connection.life().reads() {
                    return;
                }
                debug_assert!(matches!(connection.awaits(), Some((_, ms)) if ms == since_ms));
                if connection.wants_read() {
                    unread.push((since_ms, client));
                } else {
                    end(connection);
                    ended += 1;
                }
            });
        }
        if ended < CLOSE_BUDGET {
            self.end_openings_at_ms = None;
        }
        for opening in unread.into_iter().rev() {
            self.queues.openings.push_front(opening);
        }
    }

    /// Accepts ambiguous first bytes as messages once they were held long enough, within a budget. Returns
    /// how many clients were served for the first time by that.
    pub(super) fn classify_unclear(&mut self) -> u64 {
        let mut served = 0;
        let now_ms = self.queues.now_ms;
        for _ in 0..CLOSE_BUDGET {
            let Some(&(since_ms, client)) = self.queues.unclear.front() else {
                return served;
            };
            if now_ms.wrapping_sub(since_ms) < UNCLEAR_MS {
                return served;
            }
            self.queues.unclear.pop_front();
            self.with_client(client, |connection| {
                served += u64::from(connection.end_hold(now_ms));
            });
        }
        served
    }

    /// The next deadline of a connection that does not depend on its client: the end of holding ambiguous
    /// first bytes, or the end of lingering.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let queues = [(&self.queues.unclear, UNCLEAR_MS), (&self.queues.lingering, LINGER_MS)];
        let left_ms = queues.into_iter().filter_map(|(queue, most_ms)| {
            let (since_ms, _) = queue.front()?;
            let elapsed_ms = self.queues.now_ms.wrapping_sub(*since_ms);
            Some(most_ms.saturating_sub(elapsed_ms))
        });
        Some(self.now + Duration::from_millis(left_ms.min()?.into()))
    }

    /// Removes finished connections, within a budget, and calls `gone` with each.
    pub(super) fn reap(&mut self, mut gone: impl FnMut(&Connection)) {
        for _ in 0..CLOSE_BUDGET {
            let Some(key) = self.queues.to_reap.pop_front() else {
                return;
            };
            let connection = self.slab.remove(key as usize);
            debug_assert!(connection.is_done() && connection.ready.contains(Ready::QUEUED_TO_REAP));
            self.refused -= usize::from(connection.ready.contains(Ready::REFUSED));
            gone(&connection);
        }
    }

    /// A sweep over all clients that are connected now.
    pub(super) fn sweep(&self) -> Sweep {
        let (next, end) = (0, self.end_of_keys);
        Sweep { next, end }
    }

    /// Continues a sweep, within a budget. `visit` returns whether it changed the connection.
    pub(super) fn advance(
        &mut self,
        sweep: &mut Sweep,
        mut visit: impl FnMut(u32, &mut Connection) -> bool,
    ) {
        let (mut visits, mut changes) = (0, 0);
        while !sweep.is_over() && visits < SWEEP_BUDGET && changes < CLOSE_BUDGET {
            let key = sweep.next;
            sweep.next += 1;
            visits += 1;
            if let Some(connection) = self.slab.get_mut(key as usize)
                && visit(key, connection)
            {
                changes += 1;
                self.queues.schedule(key, connection);
            }
        }
    }

    /// Lets `time` pass.
    #[cfg(all(test, feature = "tls"))]
    pub(super) fn pass_time(&mut self, time: Duration) {
        self.epoch -= time;
    }

    #[cfg(test)]
    pub(super) fn holds_unclear(&self, key: u32) -> bool {
        let serial = self.slab[key as usize].serial;
        self.queues.unclear.iter().any(|(_, client)| (client.key, client.serial) == (key, serial))
    }

    #[cfg(test)]
    pub(super) fn holds(&self, key: u32, queue: Queue) -> bool {
        let connection = &self.slab[key as usize];
        match queue {
            Queue::Read => self.queues.to_read.holds(key, connection),
            Queue::Handshake => self.queues.handshakes.holds(key, connection),
            Queue::Write => self.queues.to_write.holds(key, connection),
        }
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        self.slab.iter().map(|(key, client)| (key as u32, client))
    }
}

impl Sweep {
    pub(super) fn is_over(&self) -> bool {
        self.next >= self.end
    }
}
