//! One client: its socket, what it has begun to send, and what it is owed.
//!
//! The connection does the reading and writing and knows how far it is in its [`Life`]; when it may
//! do so is the loop's business ([`crate::server`]). It is generic over its socket, so that tests
//! can give it short reads, short writes and resets.

mod life;
mod opening;
mod ready;
mod records;
#[cfg(test)]
mod tests;
mod workspace;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::ops::ControlFlow;

use common::protocol::Reply;
use common::record::Format;
use compact_str::{CompactString, ToCompactString as _};
use mio::event::Event;
use mio::net::TcpStream;

use crate::batch::{Batch, ClientId};
use crate::channel::{Channel, Next};
use crate::framing::{Frame, Framer};
use crate::replies::Replies;
pub use life::{LastLine, Life};
pub use ready::{Queue, QueueState, QueueStates, Ready};
use records::{begin_record, sent_record};
use workspace::Share;
pub use workspace::{Workspace, replies_left};

/// How much one client makes the batch grow by in one turn, in bytes; one message that begins within it
/// may pass it. Another read begins only while input and growth together are within it.
///
/// It decides how soon everybody has his turn who speaks all the time, and so how long somebody waits
/// at worst who says little, but has said something a moment ago.
pub const READ_BUDGET: usize = 64 << 10;

/// What a connection needs of its socket.
pub trait Socket: Read + Write {
    /// Tells the peer that nothing more will be sent.
    fn end(&mut self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// One client. Small, because there may be many that say nothing.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    socket: S,
    /// What lies between the socket and the messages.
    channel: Channel,
    /// The client's address as records show it, written once. An IPv4 address takes no heap.
    pub peer: CompactString,
    framer: Framer,
    replies: Replies,
    /// Who it is to the batches that owe it something.
    pub serial: u32,
    /// When something last came or went, or the lingering began, in the loop's milliseconds.
    pub moved_at_ms: u32,
    /// Its place in the queues of the loop.
    pub queue_states: QueueStates,
    /// What is known of its socket.
    pub ready: Ready,
    life: Life,
}

/// How many replies a write has sent whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// `ok`s.
    pub oks: u32,
    /// Error replies.
    pub errors: u32,
}

impl<S: Socket> Connection<S> {
    /// A client that has just been accepted. `now_ms` is in the loop's milliseconds.
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

    /// Takes note of an event. Nothing is read or written here.
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

    /// Where it is in its life.
    pub fn life(&self) -> Life {
        self.life
    }

    /// There may be input, and the client is in a state to have it read. What is staged counts
    /// like what is due: a slow commit must not let a client be owed without end.
    pub fn wants_read(&self) -> bool {
        let has_input = self.ready.contains(Ready::READABLE) || self.framer.has_unread();
        has_input && self.life.reads() && self.replies.have_room()
    }

    /// There are replies, or something of the channel's own, the socket takes some, and the client is in a
    /// state to have it sent.
    pub fn wants_write(&self) -> bool {
        self.ready.contains(Ready::WRITABLE) && self.has_output() && self.life.sends()
    }

    /// There are replies to be sent, or something of the channel's own.
    fn has_output(&self) -> bool {
        !self.replies.is_empty() || self.channel.has_output()
    }

    /// The client's machine may not have acknowledged all that was sent, or is to be.
    pub fn may_be_unacknowledged(&self) -> bool {
        self.ready.contains(Ready::UNACKNOWLEDGED) || self.has_output()
    }

    /// Every message that was read is answered, and the answers are on their way.
    pub fn is_settled(&self) -> bool {
        self.replies.are_settled() && !self.channel.has_output()
    }

    /// The server is done with this client: it is time to shut down the sending side.
    pub fn wants_end(&self) -> bool {
        self.is_settled()
            && match self.life {
                Life::Closing => true,
                Life::ReadClosed => self.channel.owes_farewell(),
                // Whatever comes from now on is refused, so nothing is lost if it is not read.
                Life::Refusing => !self.ready.contains(Ready::READABLE) && !self.has_unread(),
                _ => false,
            }
    }

    /// Nothing is left to do but to close the socket.
    pub fn is_done(&self) -> bool {
        debug_assert!(self.life != Life::Closed || !self.has_output());
        self.life == Life::Closed
            || self.life == Life::ReadClosed && self.is_settled() && !self.channel.owes_farewell()
    }

    /// Replies that are staged or due.
    pub fn owed(&self) -> usize {
        self.replies.staged() + self.replies.len()
    }

    /// A commit that is under way decides about some of its messages.
    pub fn awaits_commit(&self) -> bool {
        self.replies.staged() > 0
    }

    /// It has sent something, but never a whole message.
    pub fn is_stuck_in_first_line(&self) -> bool {
        self.life == Life::Open
            && !self.ready.contains(Ready::HAS_SPOKEN)
            && self.framer.is_within_message()
    }

    /// Input is there in which nobody has looked for messages yet.
    pub fn has_unread(&self) -> bool {
        self.framer.has_unread()
    }

    /// The socket, to ask what the kernel knows of it.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Reads what there is, within [`READ_BUDGET`] and as long as the batch stays below
    /// `batch_bytes`, and stages it. Returns the bytes of input and what the batch grew by.
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
            // TLS may have sent something of its own.
            self.ready |= Ready::UNACKNOWLEDGED;
        }
        let spent_bytes = share.taken_bytes + share.batch.size() - size_before;
        if was_opening {
            self.count_handshake(work);
        }
        spent_bytes
    }

    /// The socket may hold more, and nothing that was read before waits to be looked at.
    fn may_read_on(&self) -> bool {
        self.ready.contains(Ready::READABLE)
            && self.life.reads()
            && !self.framer.has_unread()
            && self.replies.have_room()
    }

    /// One read of the socket. Breaks off when there is no more to be had.
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
                // Cut off: what had begun is no message, as after a reset.
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

    /// Input, or its end, may be there although the socket was empty, and no event will say so.
    fn has_more_than_events_tell(&self) -> bool {
        self.ready.contains(Ready::READ_TO_END) || self.channel.has_unread()
    }

    /// Takes what was read for messages, unless it is the first, and shows that it is something else.
    fn take(&mut self, share: &mut Share<'_>, bytes: usize) {
        if !self.is_new() {
            self.stage(share, Input::Read(bytes));
        } else if let Some(bytes) = self.open(share.work, bytes) {
            share.work.admission.counts.served += u64::from(self.life != Life::Refusing);
            self.stage(share, Input::Read(bytes));
        }
    }

    /// The end of the input has come.
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

    /// A batch was committed, or refused: a run of the replies it owed is due.
    pub fn complete(&mut self, reply: Reply, count: u16) {
        if self.takes_replies() {
            self.replies.complete(reply, count);
        } else {
            self.replies.unstage(count);
        }
    }

    /// Owes a reply that no batch has staged.
    pub fn owe_unasked(&mut self, reply: Reply) {
        if self.takes_replies() {
            self.replies.push(reply, 1);
        }
    }

    /// Replies can still reach the client.
    fn takes_replies(&self) -> bool {
        self.life.sends() && !self.channel.is_broken()
    }

    /// Sends replies that are due, as many as one write takes, and stages their records.
    pub fn write(&mut self, work: &mut Workspace, time: &str, batch: &mut Batch) -> Sent {
        debug_assert!(self.life.sends(), "{:?} has nothing to send", self.life);
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
        // What the channel still holds waits for an event, too: without one, the loop would spin.
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
            // Of what is a matter of course, JSON has no record.
            if !record.is_empty() {
                batch.sent(record, count);
            }
        });
        sent
    }

    /// A write has failed, and with that has taken the socket's error, which no read will see any
    /// more. After a FIN, Linux tells of a reset as EPIPE, and the input has its true end; without
    /// one as ECONNRESET (`tcp_reset` in the kernel's `tcp_input.c`), and there is no end to come.
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

    /// The peer takes no more replies: what it is owed is forgotten, what it sent is still read.
    fn hang_up(&mut self, last_line: LastLine) {
        self.ready |= Ready::READABLE | Ready::READ_TO_END;
        self.enter(self.life.after_hang_up(last_line));
    }

    /// The socket failed, or its time is up: nothing more is read or written.
    pub fn give_up(&mut self) {
        self.enter(Life::Closed);
        self.ready -= Ready::READABLE;
        self.framer.discard();
    }

    /// Goes over to the next state. In one that sends nothing, nothing is left to be sent.
    fn enter(&mut self, life: Life) {
        self.life = life;
        if !life.sends() {
            self.forget_replies();
            self.channel.clear_output();
        }
    }

    /// The replies that are due are not sent. The channel counts those on their way: it forgets them, too.
    fn forget_replies(&mut self) {
        self.replies.clear();
        self.channel.forget_replies();
    }

    /// Takes no more messages, and ends once the replies are out: an unfinished message is dropped.
    pub fn close(&mut self) {
        self.enter(self.life.after_close());
        self.framer.discard();
    }

    /// Nobody knows what becomes of the messages that are staged: those before them are still
    /// answered, then it ends without a word about them. `serial` is a new one, so that batches
    /// that are under way owe nothing to this client any more.
    pub fn close_unanswered(&mut self, serial: u32) {
        self.serial = serial;
        self.replies.forget_staged();
        self.close();
    }

    /// The server is stopping: reads to the end of what the kernel holds.
    pub fn expect_end(&mut self) {
        self.ready |= Ready::READABLE | Ready::READ_TO_END;
    }

    /// Messages are answered `error shutting-down` from now on.
    pub fn refuse(&mut self) {
        self.enter(self.life.after_refusal());
    }

    /// The kernel holds no more input while the server is stopping. First bytes that were held are messages. What
    /// comes now is refused; once nothing does, the connection is closed. Returns whether its first
    /// message begins with this.
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

    /// Shuts the sending side down; from now on input is read and forgotten. Returns whether that is
    /// done: the kernel may not take the last word yet.
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

    /// Puts it into a state.
    #[cfg(test)]
    pub(crate) fn force(&mut self, life: Life) {
        self.enter(life);
    }

    /// Bytes held of its input, and replies that are due.
    #[cfg(test)]
    pub(crate) fn footprint(&self) -> (usize, usize) {
        let held_bytes = self.framer.held_bytes() + self.channel.held_bytes();
        (held_bytes, self.replies.len())
    }
}

/// Where messages are looked for.
#[derive(Clone, Copy)]
enum Input {
    /// In so many bytes that were just read.
    Read(usize),
    /// In what was read before and not looked at.
    Unread,
    /// In what the end of the input leaves.
    End,
}

/// The reply to what is no message that can be kept.
#[cold]
fn refusal(frame: &Frame<'_>, refusing: bool, max_message: usize) -> Reply {
    match frame {
        _ if refusing => Reply::ShuttingDown,
        Frame::Message(_) | Frame::TooLong => Reply::TooLong(max_message),
        Frame::BadLength => Reply::Length(max_message),
    }
}
