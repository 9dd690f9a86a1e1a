//! The state of a connection: what it wants to do next, and how it ends.

use std::io;
use std::net::SocketAddr;

use compact_str::{CompactString, ToCompactString as _};
use mio::event::Event;
use mio::net::TcpStream;
use net::Socket;

use super::life::{LastLine, Life};
use super::ready::{QueueStates, Ready};
use crate::channel::Channel;
use crate::framing::Framer;
use crate::replies::Replies;

/// One client. The struct is small, because there may be many idle clients.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    pub(super) socket: S,
    /// What lies between the socket and the messages.
    pub(super) channel: Channel,
    /// The client's address as records show it, formatted once. A `CompactString` holds an IPv4 address
    /// within its 24 bytes. A `String` would own a heap block besides, so an idle client would cost more
    /// than the 72 bytes of this struct.
    pub peer: CompactString,
    pub(super) framer: Framer,
    pub(super) replies: Replies,
    /// The serial number by which batches identify the client that they owe replies to.
    pub serial: u32,
    /// When data last arrived or was sent, or lingering began, in the loop's milliseconds.
    pub moved_at_ms: u32,
    /// Its state in each queue of the loop.
    pub queue_states: QueueStates,
    /// Readiness of the socket, and flags of the client.
    pub ready: Ready,
    pub(super) life: Life,
}

impl<S: Socket> Connection<S> {
    /// A connection that has just been accepted. `now_ms` is in the loop's milliseconds.
    pub fn new(socket: S, channel: Channel, peer: SocketAddr, serial: u32, now_ms: u32) -> Self {
        Self {
            socket,
            channel,
            peer: peer.to_compact_string(),
            framer: Framer::default(),
            replies: Replies::default(),
            serial,
            moved_at_ms: now_ms,
            queue_states: QueueStates::default(),
            ready: Ready::WRITABLE,
            life: Life::Open,
        }
    }

    /// Records the readiness that an event reports. It neither reads nor writes.
    pub fn on_event(&mut self, event: &Event) {
        let to_its_end = event.is_read_closed() || event.is_error() || event.is_priority();
        if event.is_readable() || to_its_end {
            self.ready |= Ready::READABLE;
        }
        if to_its_end {
            self.ready |= Ready::READ_TO_END;
        }
        if event.is_writable() {
            self.ready |= Ready::WRITABLE;
        }
        if event.is_write_closed() {
            self.hang_up(LastLine::AsReadingTells);
        }
    }

    /// The state of the connection.
    pub fn life(&self) -> Life {
        self.life
    }

    /// There may be input, and the connection is in a state that reads it. Staged replies count like due
    /// ones: during a slow commit, the replies owed must stay bounded.
    pub fn wants_read(&self) -> bool {
        let has_input = self.ready.contains(Ready::READABLE) || self.framer.has_unread();
        has_input && self.life.reads() && self.replies.have_room()
    }

    /// There are replies or output of the channel, the socket takes more, and the connection is in a state
    /// that sends.
    pub fn wants_write(&self) -> bool {
        self.ready.contains(Ready::WRITABLE) && self.has_output() && self.life.sends()
    }

    /// There are replies to send, or output of the channel such as TLS records.
    fn has_output(&self) -> bool {
        !self.replies.is_empty() || self.channel.has_output()
    }

    /// The peer may not have acknowledged everything that was sent, or there is more to send.
    pub fn may_be_unacknowledged(&self) -> bool {
        self.ready.contains(Ready::UNACKNOWLEDGED) || self.has_output()
    }

    /// Every message that was read is answered, and the kernel has taken all replies.
    pub fn is_settled(&self) -> bool {
        self.replies.are_settled() && !self.channel.has_output()
    }

    /// The server is finished with this client: the sending side can be shut down.
    pub fn wants_end(&self) -> bool {
        self.is_settled()
            && match self.life {
                Life::Closing => true,
                Life::ReadClosed => self.channel.owes_close_notify(),
                // Anything that arrives from now on is refused, so leaving it unread loses no message.
                Life::Refusing => !self.ready.contains(Ready::READABLE) && !self.has_unread(),
                _ => false,
            }
    }

    /// Nothing is left but to close the socket.
    pub fn is_done(&self) -> bool {
        debug_assert!(self.life != Life::Closed || !self.has_output());
        self.life == Life::Closed
            || self.life == Life::ReadClosed
                && self.is_settled()
                && !self.channel.owes_close_notify()
    }

    /// The number of replies that are staged or due.
    pub fn owed(&self) -> usize {
        self.replies.staged() + self.replies.len()
    }

    /// Some of its messages are staged, or in a commit that is not finished.
    pub fn awaits_commit(&self) -> bool {
        self.replies.staged() > 0
    }

    /// It has sent something, but no complete message.
    pub fn is_stuck_in_first_line(&self) -> bool {
        self.life == Life::Open
            && !self.ready.contains(Ready::HAS_SPOKEN)
            && self.framer.is_within_message()
    }

    /// There is input that has not been searched for messages yet.
    pub fn has_unread(&self) -> bool {
        self.framer.has_unread()
    }

    /// The socket, for queries to the kernel.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The peer takes no more replies: they are dropped, but what it sent is still read.
    pub(super) fn hang_up(&mut self, last_line: LastLine) {
        self.ready |= Ready::READABLE | Ready::READ_TO_END;
        self.enter(self.life.after_hang_up(last_line));
    }

    /// The socket failed, or a timeout has passed: nothing more is read or written.
    pub fn give_up(&mut self) {
        self.enter(Life::Closed);
        self.ready -= Ready::READABLE;
        self.framer.discard();
    }

    /// Enters a state. If that state sends nothing, pending output is dropped.
    pub(super) fn enter(&mut self, life: Life) {
        self.life = life;
        if !life.sends() {
            self.forget_replies();
            self.channel.clear_output();
        }
    }

    /// Drops the replies that are due. The channel also counts those in transit, so it drops them, too.
    pub(super) fn forget_replies(&mut self) {
        self.replies.clear();
        self.channel.forget_replies();
    }

    /// Takes no more messages and closes once the replies are sent. An unfinished message is dropped.
    pub fn close(&mut self) {
        self.enter(self.life.after_close());
        self.framer.discard();
    }

    /// The outcome of the staged messages is unknown: messages before them are still answered, then the
    /// connection is closed without a reply to them. `serial` is a new number, so that submitted batches
    /// owe nothing to this client any more.
    pub fn close_unanswered(&mut self, serial: u32) {
        self.serial = serial;
        self.replies.forget_staged();
        self.close();
    }

    /// The server is stopping: the input is read until the kernel holds no more.
    pub fn expect_end(&mut self) {
        self.ready |= Ready::READABLE | Ready::READ_TO_END;
    }

    /// From now on messages are answered `error shutting-down`.
    pub fn refuse(&mut self) {
        self.enter(self.life.after_refusal());
    }

    /// The server is stopping, and the kernel holds no more input. Held first bytes are messages now. Later
    /// messages are refused, and the connection is closed once none arrives. Returns whether the held bytes
    /// are the client's first messages.
    pub fn drained(&mut self) -> bool {
        if self.life != Life::Open {
            return false;
        }
        if self.is_unclear() {
            self.take_for_messages();
            return true;
        }
        self.framer.discard();
        self.refuse();
        self.expect_end();
        false
    }

    /// Shuts down the sending side; from now on input is read and discarded. Returns `false` if the kernel
    /// does not take the TLS `close_notify` yet.
    pub fn linger(&mut self, now_ms: u32) -> bool {
        debug_assert!(self.wants_end());
        match self.channel.end(&mut self.socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready -= Ready::WRITABLE;
                return false;
            }
            Err(_) => self.give_up(),
            Ok(()) => {
                self.enter(Life::Lingering);
                self.framer.discard();
                self.expect_end();
                self.moved_at_ms = now_ms;
            }
        }
        true
    }

    /// Enters any state.
    #[cfg(test)]
    pub(crate) fn force(&mut self, life: Life) {
        self.enter(life);
    }

    /// Bytes of input held, and the number of replies that are due.
    #[cfg(test)]
    pub(crate) fn footprint(&self) -> (usize, usize) {
        let held_bytes = self.framer.held_bytes() + self.channel.held_bytes();
        (held_bytes, self.replies.len())
    }
}
