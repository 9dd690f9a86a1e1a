//! A client connection: its socket, its unfinished input, and the replies it is owed.
//!
//! The connection reads and writes, and its [`Life`] is its state. The loop ([`crate::server`]) decides
//! when it may read and write. It is generic over its socket, so that tests can inject short reads, short
//! writes and resets.

mod life;
mod opening;
mod ready;
mod records;
#[cfg(test)]
mod tests;
mod workspace;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use common::protocol::Reply;
use common::record::Format;
use compact_str::{CompactString, ToCompactString as _};
use mio::event::Event;
use mio::net::TcpStream;
use net::Socket;

use crate::batch::{Batch, ClientId};
use crate::channel::Channel;
use crate::framing::{Frame, Framer};
use crate::replies::Replies;
use crate::taken::Next;
pub use life::{LastLine, Life};
pub use ready::{Queue, QueueState, QueueStates, Ready};
use records::{begin_record, sent_record};
use workspace::Share;
pub use workspace::{Workspace, replies_left};

/// How much one client may add to the batch in one turn, in bytes. One message that begins within the
/// budget may exceed it. Another read begins only while input plus growth are within it.
///
/// It determines how soon each busy client is served again, and so the longest wait of a light client that
/// has just been served.
pub const READ_BUDGET: usize = 64 << 10;

/// One client. The struct is small, because there may be many idle clients.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    socket: S,
    /// What lies between the socket and the messages.
    channel: Channel,
    /// The client's address as records show it, formatted once. An IPv4 address needs no heap.
    pub peer: CompactString,
    framer: Framer,
    replies: Replies,
    /// The serial number by which batches identify the client that they owe replies to.
    pub serial: u32,
    /// When data last arrived or was sent, or lingering began, in the loop's milliseconds.
    pub moved_at_ms: u32,
    /// Its state in each queue of the loop.
    pub queue_states: QueueStates,
    /// Readiness of the socket, and flags of the client.
    pub ready: Ready,
    life: Life,
}

/// How many replies a write has sent completely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// `ok`s.
    pub oks: u32,
    /// Error replies.
    pub errors: u32,
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
                Life::ReadClosed => self.channel.owes_farewell(),
                // Anything that arrives from now on is refused, so leaving it unread loses no message.
                Life::Refusing => !self.ready.contains(Ready::READABLE) && !self.has_unread(),
                _ => false,
            }
    }

    /// Nothing is left but to close the socket.
    pub fn is_done(&self) -> bool {
        debug_assert!(self.life != Life::Closed || !self.has_output());
        self.life == Life::Closed
            || self.life == Life::ReadClosed && self.is_settled() && !self.channel.owes_farewell()
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

    /// Reads the available input and stages its messages, within [`READ_BUDGET`] and while the batch stays
    /// below `batch_bytes`. Returns the bytes of input plus the growth of the batch.
    pub fn read(
        &mut self,
        key: u32,
        work: &mut Workspace,
        time: &str,
        batch: &mut Batch,
        batch_bytes: usize,
    ) -> usize {
        debug_assert!(self.wants_read());
        let size_before = batch.size();
        let was_opening = self.is_opening();
        let serial = self.serial;
        work.prefix.clear();
        let mut share = Share {
            client: ClientId { key, serial },
            work,
            time,
            batch,
            batch_bytes: batch_bytes.min(size_before + READ_BUDGET),
            taken_bytes: 0,
        };
        if self.framer.has_unread() {
            self.stage(&mut share, Input::Unread);
        }
        while self.may_read_on() && share.allows_reading() {
            if self.read_once(&mut share).is_break() {
                break;
            }
        }
        debug_assert!(self.framer.held_bytes() <= share.work.most_held_bytes());
        if self.channel.is_tls() {
            // TLS may have sent records of its own.
            self.ready |= Ready::UNACKNOWLEDGED;
            if self.channel.is_broken() {
                self.forget_replies();
            }
        }
        let spent_bytes = share.taken_bytes + share.batch.size() - size_before;
        if was_opening {
            self.count_handshake(work);
        }
        spent_bytes
    }

    /// The socket may hold more, and no earlier input waits to be searched for messages.
    fn may_read_on(&self) -> bool {
        self.ready.contains(Ready::READABLE)
            && self.life.reads()
            && !self.framer.has_unread()
            && self.replies.have_room()
    }

    /// Reads the socket once. Breaks if there is no more to read.
    fn read_once(&mut self, share: &mut Share<'_>) -> ControlFlow<()> {
        let (input, scratch) = (&mut share.work.input, &mut share.work.scratch);
        let read_bytes = share.work.read_bytes;
        let socket = &mut self.socket;
        match self.channel.read(socket, input, read_bytes, scratch) {
            Ok(taken) => {
                share.taken_bytes += taken.wire_bytes;
                if taken.bytes > 0 {
                    self.take(share, taken.bytes);
                }
                match taken.next {
                    Next::End => self.take_end(share),
                    Next::Drained if !self.has_more_than_events_tell() => {
                        self.ready -= Ready::READABLE;
                    }
                    Next::More | Next::Drained => return ControlFlow::Continue(()),
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => return ControlFlow::Continue(()),
                io::ErrorKind::WouldBlock => {
                    self.ready -= Ready::READABLE | Ready::READ_TO_END;
                }
                // The input was cut off: as after a reset, an unfinished message is dropped.
                io::ErrorKind::UnexpectedEof => {
                    self.channel.finish_opening();
                    self.framer.discard();
                    self.take_end(share);
                }
                io::ErrorKind::InvalidData => self.break_off(&error, share.work),
                _ => {
                    let has_spoken = self.ready.contains(Ready::HAS_SPOKEN);
                    let owed = self.owed();
                    share.work.report(&self.peer, &error, owed, has_spoken);
                    self.give_up();
                }
            },
        }
        ControlFlow::Break(())
    }

    /// There may be input, or its end, although the socket was empty, and no event will report it.
    fn has_more_than_events_tell(&self) -> bool {
        self.ready.contains(Ready::READ_TO_END) || self.channel.has_unread()
    }

    /// Stages what was read. The first bytes are checked first, since they may be no messages.
    fn take(&mut self, share: &mut Share<'_>, bytes: usize) {
        if !self.is_new() {
            self.stage(share, Input::Read(bytes));
        } else if let Some(bytes) = self.open(share.work, bytes) {
            share.work.admission.counts.served += u64::from(self.life != Life::Refusing);
            self.stage(share, Input::Read(bytes));
        }
    }

    /// Handles the end of the input.
    fn take_end(&mut self, share: &mut Share<'_>) {
        self.ready -= Ready::READABLE;
        if self.life == Life::WriteClosed(LastLine::Dropped) {
            self.framer.discard();
        }
        self.stage(share, Input::End);
        self.enter(self.life.after_end_of_input());
    }

    /// Stages the messages that end in this input, until the share is used up.
    fn stage(&mut self, share: &mut Share<'_>, from: Input) {
        if !self.life.takes_messages() {
            return;
        }
        let (client, batch, batch_bytes) = (share.client, &mut *share.batch, share.batch_bytes);
        let Workspace {
            rules,
            format,
            sends_replies,
            input,
            prefix,
            ..
        } = &mut *share.work;
        let sends_replies = *sends_replies;
        let format = *format;
        if prefix.is_empty() {
            let client = self.channel.client_name();
            begin_record(prefix, format, share.time, &self.peer, client);
        }
        let (refusing, max_message) = (self.life == Life::Refusing, rules.max_message);
        // Without replies a client cannot learn that a message was refused.
        let keeps = !refusing || !sends_replies;
        let (most, most_runs) = self.replies.room();
        let (mut staged, mut runs) = (0, 0);
        let (mut heard, mut suppressed, mut lost_count) = (false, 0, false);
        let unread;
        let mut frames = match from {
            Input::Read(n) => self.framer.frames(*rules, &input[..n]),
            Input::Unread => {
                unread = self.framer.take_unread();
                self.framer.frames(*rules, &unread)
            }
            Input::End => self.framer.last_frame(*rules),
        };
        while let Some(frame) = frames.next() {
            match frame {
                Frame::Message(message) if keeps => {
                    match format {
                        Format::Original => batch.record(prefix, message),
                        Format::Json => batch.record_json(prefix, message),
                    }
                    if sends_replies {
                        staged += 1;
                        runs += u16::from(batch.owe(client, Reply::Ok));
                    } else {
                        heard = true;
                    }
                }
                frame => {
                    lost_count = frame == Frame::BadLength;
                    let reply = refusal(&frame, refusing, max_message);
                    if sends_replies {
                        staged += 1;
                        runs += u16::from(batch.owe(client, reply));
                    } else {
                        suppressed += 1;
                    }
                }
            }
            if lost_count || batch.size() >= batch_bytes || staged >= most || runs >= most_runs {
                break;
            }
        }
        drop(frames);
        if staged > 0 {
            self.replies.stage(staged, runs);
        }
        if heard || staged > 0 || suppressed > 0 {
            self.ready |= Ready::HAS_SPOKEN;
        }
        if suppressed > 0 {
            share.work.count_suppressed(&self.peer, suppressed);
        }
        if lost_count {
            self.close();
        }
    }

    /// A batch is finished: one of its runs of replies becomes due.
    pub fn complete(&mut self, reply: Reply, count: u16) {
        if self.takes_replies() {
            self.replies.complete(reply, count);
        } else {
            self.replies.unstage(count);
        }
    }

    /// Owes a reply that belongs to no message.
    pub fn owe_unasked(&mut self, reply: Reply) {
        if self.takes_replies() {
            self.replies.push(reply, 1);
        }
    }

    /// Replies can still reach the client.
    fn takes_replies(&self) -> bool {
        self.life.sends() && !self.channel.is_broken()
    }

    /// Sends the replies that are due, as many as one write takes, and stages their records.
    pub fn write(&mut self, work: &mut Workspace, time: &str, batch: &mut Batch) -> Sent {
        debug_assert!(self.life.sends(), "{:?} has nothing to send", self.life);
        debug_assert!(self.replies.is_empty() || !self.channel.is_broken());
        let mut sent = Sent::default();
        let (framing, format) = (work.rules.framing, work.format);
        let records_replies = work.records_replies;
        let bytes = self.replies.next(framing, &mut work.text);
        let (channel, scratch) = (&mut self.channel, &mut work.scratch);
        let n = match channel.write(&mut self.socket, bytes, scratch) {
            Ok(n) => n,
            Err(error) => {
                self.cannot_write(&error, work);
                return sent;
            }
        };
        self.ready |= Ready::UNACKNOWLEDGED;
        // If the channel still holds output, wait for an event as well: otherwise the loop would spin.
        if n < bytes.len() || self.channel.has_output() {
            self.ready -= Ready::WRITABLE;
        }
        let (record, errors) = (&mut work.prefix, &mut work.errors);
        let (peer, client) = (&self.peer, self.channel.client_name());
        self.replies.advance(framing, n, |reply, count| {
            if reply == Reply::Ok {
                sent.oks += count;
            } else {
                sent.errors += count;
                workspace::count(errors, reply.code(), count);
            }
            record.clear();
            if records_replies && reply.has_record() {
                sent_record(record, format, time, peer, client, reply);
            }
            // JSON logs have no record for `ok`.
            if !record.is_empty() {
                batch.sent(record, count);
            }
        });
        sent
    }

    /// A write has failed. It has also consumed the socket's error, so no read will return it. After a FIN,
    /// Linux reports a reset as EPIPE, and reads return the end of the input. Without a FIN it reports
    /// ECONNRESET (`tcp_reset` in the kernel's `tcp_input.c`), and the input has no true end.
    fn cannot_write(&mut self, error: &io::Error, work: &mut Workspace) {
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => self.ready -= Ready::WRITABLE,
            io::ErrorKind::BrokenPipe => self.hang_up(LastLine::AsReadingTells),
            _ => {
                let has_spoken = self.ready.contains(Ready::HAS_SPOKEN);
                work.report(&self.peer, error, self.owed(), has_spoken);
                self.hang_up(LastLine::Dropped);
            }
        }
    }

    /// The peer takes no more replies: they are dropped, but what it sent is still read.
    fn hang_up(&mut self, last_line: LastLine) {
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
    fn enter(&mut self, life: Life) {
        self.life = life;
        if !life.sends() {
            self.forget_replies();
            self.channel.clear_output();
        }
    }

    /// Drops the replies that are due. The channel also counts those in transit, so it drops them, too.
    fn forget_replies(&mut self) {
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

/// The input that is searched for messages.
#[derive(Clone, Copy)]
enum Input {
    /// This many bytes that were just read.
    Read(usize),
    /// Earlier input that was not searched yet.
    Unread,
    /// What is left at the end of the input.
    End,
}

/// The error reply to a frame that is not kept.
#[cold]
fn refusal(frame: &Frame<'_>, refusing: bool, max_message: usize) -> Reply {
    match frame {
        _ if refusing => Reply::ShuttingDown,
        Frame::Message(_) | Frame::TooLong => Reply::TooLong(max_message),
        Frame::BadLength => Reply::Length(max_message),
    }
}
