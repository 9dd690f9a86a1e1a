//! Receiving replies, and the end of a connection.

use std::net::Shutdown;
use std::sync::atomic::Ordering;

use mio::event::Event;

use super::Worker;
use crate::drive::connection::{Connection, Stage};
use crate::drive::replies::Reply;

/// How often one connection is read before the others have a turn.
const READS: u32 = 16;

impl Worker {
    pub(crate) fn dispatch(&mut self, index: usize, event: &Event) {
        if let Stage::Connecting(_) = self.connections[index].stage
            && !self.complete_connect(index)
        {
            return;
        }
        let connection = &mut self.connections[index];
        if connection.stage == Stage::Closed {
            return;
        }
        if event.is_writable() && connection.has_unsent() {
            match connection.flush() {
                Ok(()) => self.refill(index),
                Err(error) => return self.fail_to_send(index, &error),
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.receive(index, event.is_read_closed() || event.is_error());
        }
    }

    /// Reads replies. With `to_the_end`, a short read does not end the reading: the FIN may have
    /// come with the last bytes.
    pub(crate) fn receive(&mut self, index: usize, to_the_end: bool) {
        for _ in 0..READS {
            match self.connections[index].read(&mut self.input) {
                Ok(None) => return,
                Ok(Some(0)) => return self.lose(index, "closed by the server"),
                Ok(Some(n)) => {
                    self.digest(index, n);
                    self.refill(index);
                    if self.connections[index].stage == Stage::Closed {
                        return;
                    }
                    if n < self.input.len() && !to_the_end {
                        return;
                    }
                }
                Err(error) => return self.lose(index, &error.to_string()),
            }
        }
        let connection = &mut self.connections[index];
        if !connection.unread {
            connection.unread = true;
            self.unread.push(index);
        }
    }

    /// Counts the replies in the first `n` bytes of the input.
    fn digest(&mut self, index: usize, n: usize) {
        let now = self.plan.clock.now();
        let Connection { replies, pending, ack_log, heard_at, .. } = &mut self.connections[index];
        *heard_at = now;
        let counters = &mut self.counters;
        counters.received(n, now);
        let mut errors = false;
        replies.feed(&mut self.expected, &self.input[..n], |reply| match reply {
            Reply::Good(n) => counters.acknowledge(pending, ack_log, n, now),
            Reply::Error(line) => {
                counters.reject(pending, ack_log, line, now);
                errors = true;
            }
        });
        if errors && self.plan.load.stop_on_error {
            self.control.error_seen.store(true, Ordering::Relaxed);
            self.control.stop.store(true, Ordering::Relaxed);
        }
        if self.connections[index].stage == Stage::Greeting {
            self.check_greeting(index);
        }
    }

    /// Closes a connection, for this reason.
    pub(crate) fn lose(&mut self, index: usize, why: &str) {
        if !self.has_begun() {
            return self.fail_to_connect(why);
        }
        let connection = &mut self.connections[index];
        let was_made = match std::mem::replace(&mut connection.stage, Stage::Closed) {
            Stage::Closed => return,
            Stage::Connecting(_) => false,
            Stage::Greeting | Stage::Ready | Stage::Broken => true,
        };
        let socket = &mut connection.stream.socket;
        _ = socket.shutdown(Shutdown::Both);
        _ = self.poll.registry().deregister(socket);
        if was_made {
            let why = connection.replies.say_how_far(why);
            self.counters.lose(&mut connection.pending, &why);
            self.alive -= 1;
            self.disconnected_at = self.plan.clock.now();
        }
        self.retry(index);
    }
}
