//! Reading a connection: from its socket into the batch.

use net::Socket;
use std::io;
use std::ops::ControlFlow;

use super::context::Context;
use super::life::{LastLine, Life};
use super::ready::Ready;
use super::records::begin_record;
use super::staging::{Staged, Staging};
use super::state::Connection;
use crate::batch::ClientId;
use crate::taken::Next;

/// How much one client may add to the batch in one turn, in bytes. One message that begins within the
/// budget may exceed it. Another read begins only while input plus growth are within it.
///
/// It determines how soon each busy client is served again, and so the longest wait of a light client that
/// has just been served.
pub const READ_BUDGET: usize = 64 << 10;

/// The share of a turn that one client has, and how much of it is used.
struct Share<'a, 'b> {
    context: &'a mut Context<'b>,
    client: ClientId,
    /// The share is used up when the batch reaches this size.
    batch_bytes: usize,
    /// Bytes of input read so far.
    taken_bytes: usize,
}

impl Share<'_, '_> {
    /// Whether the share allows another read.
    fn allows_reading(&self) -> bool {
        self.taken_bytes + self.context.batch.size() < self.batch_bytes
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

impl<S: Socket> Connection<S> {
    /// Reads the available input and stages its messages, within [`READ_BUDGET`] and while the batch stays
    /// below `batch_bytes`. Returns the bytes of input plus the growth of the batch.
    pub fn read(&mut self, key: u32, context: &mut Context<'_>, batch_bytes: usize) -> usize {
        debug_assert!(self.wants_read());
        let size_before = context.batch.size();
        let was_opening = self.is_opening();
        let serial = self.serial;
        context.buffers.prefix.clear();
        let mut share = Share {
            context,
            client: ClientId { key, serial },
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
        let spent_bytes = share.taken_bytes + share.context.batch.size() - size_before;
        let most_held = context.buffers.most_held_bytes(context.policy.rules);
        debug_assert!(self.framer.held_bytes() <= most_held);
        if self.channel.is_tls() {
            // TLS may have sent records of its own.
            self.ready |= Ready::UNACKNOWLEDGED;
            if self.channel.is_broken() {
                self.forget_replies();
            }
        }
        if was_opening {
            self.count_handshake(context.stats);
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
    fn read_once(&mut self, share: &mut Share<'_, '_>) -> ControlFlow<()> {
        let buffers = &mut *share.context.buffers;
        let (input, scratch) = (&mut buffers.input, &mut buffers.scratch);
        let socket = &mut self.socket;
        match self.channel.read(socket, input, buffers.read_bytes, scratch) {
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
                io::ErrorKind::InvalidData => self.break_off(&error, share.context),
                _ => {
                    self.report(&error, share.context);
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
    fn take(&mut self, share: &mut Share<'_, '_>, bytes: usize) {
        if !self.is_new() {
            self.stage(share, Input::Read(bytes));
        } else if let Some(bytes) = self.open(share.context, bytes) {
            share.context.stats.clients.served += u64::from(self.life != Life::Refusing);
            self.stage(share, Input::Read(bytes));
        }
    }

    /// Handles the end of the input.
    fn take_end(&mut self, share: &mut Share<'_, '_>) {
        self.ready -= Ready::READABLE;
        if self.life == Life::WriteClosed(LastLine::Dropped) {
            self.framer.discard();
        }
        self.stage(share, Input::End);
        self.enter(self.life.after_end_of_input());
    }

    /// Stages the messages that end in this input, until the share is used up.
    fn stage(&mut self, share: &mut Share<'_, '_>, from: Input) {
        if !self.life.takes_messages() {
            return;
        }
        self.begin_record(share.context);
        let staged = self.stage_frames(share, from);
        self.on_staged(&staged, share.context);
    }

    /// Builds the text before each message, once for each turn of this client.
    fn begin_record(&self, context: &mut Context<'_>) {
        let prefix = &mut context.buffers.prefix;
        if prefix.is_empty() {
            let (format, client) = (context.policy.format, self.channel.client_name());
            begin_record(prefix, format, context.time, &self.peer, client);
        }
    }

    /// Splits the input into frames and stages these.
    fn stage_frames(&mut self, share: &mut Share<'_, '_>, from: Input) -> Staged {
        let Context { policy, buffers, batch, .. } = &mut *share.context;
        let rules = policy.rules;
        let unread;
        let frames = match from {
            Input::Read(n) => self.framer.frames(rules, &buffers.input[..n]),
            Input::Unread => {
                unread = self.framer.take_unread();
                self.framer.frames(rules, &unread)
            }
            Input::End => self.framer.last_frame(rules),
        };
        let staging = Staging {
            client: share.client,
            policy,
            is_refusing: self.life == Life::Refusing,
            prefix: &buffers.prefix,
            batch,
            batch_bytes: share.batch_bytes,
            room: self.replies.room(),
        };
        staging.stage(frames)
    }

    /// Updates the connection after its frames were staged.
    fn on_staged(&mut self, staged: &Staged, context: &mut Context<'_>) {
        if staged.replies > 0 {
            self.replies.stage(staged.replies, staged.runs);
        }
        if staged.has_frames {
            self.ready |= Ready::HAS_SPOKEN;
        }
        if staged.suppressed > 0 {
            context.count_suppressed(&self.peer, staged.suppressed);
        }
        if staged.has_lost_count {
            self.close();
        }
    }
}
