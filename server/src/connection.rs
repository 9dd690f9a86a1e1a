//! One client: its socket, what it has begun to send, and what it is owed.
//!
//! The connection does the reading and writing and knows how far it is in its life; when it may do
//! so is the loop's business ([`crate::server`]). It is generic over its socket, so that tests can
//! give it short reads, short writes and resets.

#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use common::protocol::Reply;
use common::record::{self, Level};
use compact_str::{CompactString, ToCompactString as _};
use mio::event::Event;
use mio::net::TcpStream;

use crate::batch::Batch;
use crate::framing::{Frame, Framer, Rules};
use crate::replies::Replies;

/// How much one client may have read and staged in one turn, in bytes of input and of log.
const READ_BUDGET: usize = 256 << 10;

/// A client that is owed this many replies is not read from until it has taken some.
const MAX_OWED: usize = 16 << 10;

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

bitflags::bitflags! {
    /// Where a connection is in its life, and which of the loop's queues it is in.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u16 {
        /// The socket may hold input. Set by an event, cleared when a read finds no more:
        /// readiness is reported once, so it is kept here.
        const READABLE = 1;
        /// No event will come for the end of the input, so only `WouldBlock` or the end itself
        /// ends the reading: data and FIN can share one event. So can urgent data, at which a
        /// read falls short, and what follows it.
        const READ_TO_END = 1 << 1;
        /// The kernel took all it was given the last time.
        const WRITABLE = 1 << 2;
        /// The peer has ended its input.
        const INPUT_ENDED = 1 << 3;
        /// Replies cannot reach the peer any more.
        const HUNG_UP = 1 << 4;
        /// The socket failed: nothing more can be read either.
        const FAILED = 1 << 5;
        /// Messages are answered `error shutting-down` from now on.
        const REFUSING = 1 << 6;
        /// The server has decided to close: no more messages are taken, and once the replies are
        /// out, the sending side is shut down.
        const CLOSING = 1 << 7;
        /// The sending side is shut down; what still comes is read and forgotten for a while, so
        /// that it does not make the kernel reset the connection and destroy the last reply.
        const LINGERING = 1 << 8;
        /// A client over the limit, which only came to be told so.
        const REFUSED = 1 << 9;
        /// In the loop's queue of connections to read.
        const QUEUED_TO_READ = 1 << 10;
        /// In the loop's queue of connections to write.
        const QUEUED_TO_WRITE = 1 << 11;
        /// In the loop's queue of connections to remove.
        const QUEUED_TO_REAP = 1 << 12;
    }
}

/// One client. Small, because there may be many that say nothing.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    socket: S,
    /// The client's address as records show it, written once. An IPv4 address takes no heap.
    pub peer: CompactString,
    framer: Framer,
    replies: Replies,
    /// Replies that batches not yet committed owe this client.
    staged: u32,
    /// When something last came or went, or the lingering began, in the loop's milliseconds.
    pub since: u32,
    /// Where it is in its life.
    pub flags: Flags,
}

/// How many replies a write has sent whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// `ok`s.
    pub oks: u32,
    /// Error replies.
    pub errors: u32,
}

/// What a connection is lent for reading and writing.
#[derive(Debug)]
pub struct Workspace {
    /// What makes a message.
    pub rules: Rules,
    /// Where input lands first; in the unframed dialect as long as the longest message.
    input: Vec<u8>,
    /// Where the part of a record is built that is the same for many.
    prefix: Vec<u8>,
    /// Where replies are put together.
    text: String,
}

impl Workspace {
    /// How much is read at once.
    const INPUT: usize = 64 << 10;

    /// Buffers for messages by these rules.
    pub fn new(rules: Rules) -> Self {
        let input = match rules.framing {
            common::protocol::Framing::Line => Self::INPUT,
            common::protocol::Framing::None => rules.max_message,
        };
        Self {
            rules,
            input: vec![0; input],
            prefix: Vec::new(),
            text: String::new(),
        }
    }
}

impl<S: Socket> Connection<S> {
    /// A client that has just been accepted. `now` is in the loop's milliseconds.
    pub fn new(socket: S, peer: SocketAddr, now: u32) -> Self {
        Self {
            socket,
            peer: peer.to_compact_string(),
            framer: Framer::default(),
            replies: Replies::default(),
            staged: 0,
            since: now,
            flags: Flags::WRITABLE,
        }
    }

    /// Takes note of an event. Nothing is read or written here.
    pub fn note(&mut self, event: &Event) {
        let to_its_end = event.is_read_closed() || event.is_error() || event.is_priority();
        if event.is_readable() || to_its_end {
            self.flags |= Flags::READABLE;
        }
        if to_its_end {
            self.flags |= Flags::READ_TO_END;
        }
        if event.is_writable() {
            self.flags |= Flags::WRITABLE;
        }
        if event.is_write_closed() {
            self.hang_up();
        }
    }

    /// The peer takes no more replies: what it is owed is forgotten, what it sent is still read.
    fn hang_up(&mut self) {
        self.flags |= Flags::HUNG_UP | Flags::READABLE | Flags::READ_TO_END;
        self.replies.clear();
    }

    /// It is on its way out, or will be once something is settled.
    pub fn is_ending(&self) -> bool {
        let ending = Flags::INPUT_ENDED | Flags::FAILED | Flags::REFUSING | Flags::CLOSING;
        self.flags.intersects(ending)
    }

    /// There may be input, and the client is in a state to have it read.
    pub fn wants_read(&self) -> bool {
        let ended = Flags::INPUT_ENDED | Flags::FAILED;
        let to_its_end = Flags::LINGERING | Flags::HUNG_UP;
        let waits = self.flags.contains(Flags::CLOSING) && !self.flags.intersects(to_its_end);
        self.flags.contains(Flags::READABLE)
            && !self.flags.intersects(ended)
            && !waits
            && self.replies.len() < MAX_OWED
    }

    /// There are replies, and the socket takes some.
    pub fn wants_write(&self) -> bool {
        self.flags.contains(Flags::WRITABLE) && !self.replies.is_empty()
    }

    /// Every message that was read is answered, and the answers are on their way.
    pub fn is_settled(&self) -> bool {
        self.staged == 0 && self.replies.is_empty()
    }

    /// Nothing is left to do but to close the socket.
    pub fn is_done(&self) -> bool {
        let gone = self.flags.contains(Flags::FAILED);
        gone && self.staged == 0 || self.flags.contains(Flags::INPUT_ENDED) && self.is_settled()
    }

    /// Reads what there is, within a budget, and stages it. Returns the bytes of input and of log
    /// that this came to.
    pub fn read(
        &mut self,
        key: usize,
        work: &mut Workspace,
        time: &str,
        batch: &mut Batch,
    ) -> usize {
        let staged = batch.records().len();
        let mut taken = 0;
        work.prefix.clear();
        loop {
            let spent = taken + batch.records().len() - staged;
            if spent >= READ_BUDGET {
                return spent;
            }
            match self.socket.read(&mut work.input) {
                Ok(0) => {
                    self.flags |= Flags::INPUT_ENDED;
                    self.flags -= Flags::READABLE;
                    self.stage(key, None, work, time, batch);
                    return spent;
                }
                Ok(n) => {
                    taken += n;
                    self.stage(key, Some(n), work, time, batch);
                    if n < work.input.len() && !self.flags.contains(Flags::READ_TO_END) {
                        self.flags -= Flags::READABLE;
                        return taken + batch.records().len() - staged;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flags -= Flags::READABLE | Flags::READ_TO_END;
                    return spent;
                }
                Err(error) => {
                    log::debug!("{}: {error}", self.peer);
                    self.give_up();
                    return spent;
                }
            }
        }
    }

    /// Stages the messages that end in the first `n` bytes of the input, or with the input itself.
    fn stage(
        &mut self,
        key: usize,
        n: Option<usize>,
        work: &mut Workspace,
        time: &str,
        batch: &mut Batch,
    ) {
        if self.flags.contains(Flags::CLOSING) {
            return;
        }
        let (rules, refusing) = (work.rules, self.flags.contains(Flags::REFUSING));
        if work.prefix.is_empty() {
            let level = Level::Info;
            record::begin(&mut work.prefix, level, time, &self.peer, record::RECEIVED);
        }
        let mut each = |frame: Frame<'_>| {
            self.staged += 1;
            match frame {
                _ if refusing => batch.owe(key, Reply::ShuttingDown),
                Frame::Message(message) => batch.receive(key, &work.prefix, message),
                Frame::TooLong => batch.owe(key, Reply::TooLong(rules.max_message)),
            }
        };
        match n {
            Some(n) => self.framer.feed(rules, &work.input[..n], each),
            None => self.framer.finish(rules, &mut each),
        }
    }

    /// The socket failed, or its time is up: nothing more is read or written.
    pub fn give_up(&mut self) {
        self.flags |= Flags::FAILED | Flags::HUNG_UP;
        self.flags -= Flags::READABLE;
        self.replies.clear();
        self.framer.discard();
    }

    /// A batch was committed, or refused: the replies it owed are due.
    pub fn owe(&mut self, reply: Reply, count: u32) {
        self.staged -= count;
        self.owe_unasked(reply, count);
    }

    /// Owes a reply that no batch has staged.
    pub fn owe_unasked(&mut self, reply: Reply, count: u32) {
        if !self.flags.contains(Flags::HUNG_UP) {
            self.replies.push(reply, count);
        }
    }

    /// Sends replies that are due, as many as one write takes, and stages their records.
    pub fn write(&mut self, work: &mut Workspace, time: &str, batch: &mut Batch) -> Sent {
        let mut sent = Sent::default();
        let framing = work.rules.framing;
        let bytes = self.replies.next(framing, &mut work.text);
        let n = match self.socket.write(bytes) {
            Ok(n) => n,
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => self.flags -= Flags::WRITABLE,
                    _ => self.hang_up(),
                }
                return sent;
            }
        };
        if n < bytes.len() {
            self.flags -= Flags::WRITABLE;
        }
        let (record, peer) = (&mut work.prefix, &self.peer);
        self.replies.advance(framing, n, |reply, count| {
            match reply {
                Reply::Ok => sent.oks += count,
                _ => sent.errors += count,
            }
            record.clear();
            sent_record(record, time, peer, reply);
            batch.sent(record, count);
        });
        sent
    }

    /// Takes no more messages: an unfinished one is dropped.
    pub fn close(&mut self) {
        self.flags |= Flags::CLOSING;
        self.framer.discard();
    }

    /// Nothing has moved for too long: what the client was owed, it does not want.
    pub fn time_out(&mut self) {
        self.replies.clear();
        self.close();
    }

    /// The server is stopping: reads to the end of what the kernel holds.
    pub fn expect_end(&mut self) {
        self.flags |= Flags::READABLE | Flags::READ_TO_END;
    }

    /// Messages are answered `error shutting-down` from now on.
    pub fn refuse(&mut self) {
        self.flags |= Flags::REFUSING;
        self.framer.discard();
    }

    /// The kernel holds no more input while the server is stopping. What comes now is refused; once
    /// nothing does, the connection is closed.
    pub fn drained(&mut self) {
        if !self.flags.contains(Flags::REFUSING) {
            self.refuse();
            self.expect_end();
        }
    }

    /// The server is done with this client: it is time to shut down the sending side.
    pub fn wants_end(&self) -> bool {
        let refused = self.flags.contains(Flags::REFUSING) && !self.flags.contains(Flags::READABLE);
        let decided = self.flags.contains(Flags::CLOSING) || refused;
        decided && self.is_settled() && !self.flags.intersects(Flags::LINGERING | Flags::HUNG_UP)
    }

    /// Bytes held of an unfinished message, and replies owed.
    #[cfg(test)]
    pub(crate) fn footprint(&self) -> (usize, usize) {
        (self.framer.held(), self.replies.len())
    }

    /// Shuts the sending side down; from now on input is read and forgotten.
    pub fn linger(&mut self, now: u32) {
        self.flags |= Flags::CLOSING | Flags::LINGERING;
        self.expect_end();
        self.since = now;
        if self.socket.end().is_err() {
            self.give_up();
        }
    }
}

fn sent_record(out: &mut Vec<u8>, time: &str, peer: &str, reply: Reply) {
    let level = match reply {
        Reply::Ok => Level::Info,
        _ => Level::Warning,
    };
    record::begin(out, level, time, peer, record::SENT);
    match reply {
        Reply::Ok => out.extend_from_slice(common::protocol::OK.as_bytes()),
        // Writing to a Vec cannot fail.
        reply => _ = write!(out, "{reply}"),
    }
    out.push(b'\n');
}
