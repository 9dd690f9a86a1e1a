//! Writing to a connection: the replies that are due.

use std::io;

use common::protocol::Reply;
use net::Socket;

use super::context::Context;
use super::life::LastLine;
use super::ready::Ready;
use super::records::sent_record;
use super::state::Connection;

impl<S: Socket> Connection<S> {
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

    /// Sends the replies that are due, as many as one write takes, counts them and stages their records.
    pub fn write(&mut self, context: &mut Context<'_>) {
        debug_assert!(self.life.sends(), "{:?} has nothing to send", self.life);
        debug_assert!(self.replies.is_empty() || !self.channel.is_broken());
        let Context { policy, buffers, stats, batch, time, .. } = &mut *context;
        let framing = policy.rules.framing;
        let bytes = self.replies.next(framing, &mut buffers.text);
        let socket = &mut self.socket;
        let n = match self.channel.write(socket, bytes, &mut buffers.scratch) {
            Ok(n) => n,
            Err(error) => return self.cannot_write(&error, context),
        };
        self.ready |= Ready::UNACKNOWLEDGED;
        // If the channel still holds output, wait for an event as well: otherwise the loop would spin.
        if n < bytes.len() || self.channel.has_output() {
            self.ready -= Ready::WRITABLE;
        }
        let record = &mut buffers.prefix;
        let (peer, client) = (&self.peer, self.channel.client_name());
        self.replies.advance(framing, n, |reply, count| {
            stats.count_sent(reply, count);
            record.clear();
            if policy.records_replies && reply.has_record() {
                sent_record(record, policy.format, time, peer, client, reply);
            }
            // JSON logs have no record for `ok`.
            if !record.is_empty() {
                batch.sent(record, count);
            }
        });
    }

    /// A write has failed. It has also consumed the socket's error, so no read will return it. After a FIN,
    /// Linux reports a reset as EPIPE, and reads return the end of the input. Without a FIN it reports
    /// ECONNRESET (`tcp_reset` in the kernel's `tcp_input.c`), and the input has no true end.
    fn cannot_write(&mut self, error: &io::Error, context: &mut Context<'_>) {
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => self.ready -= Ready::WRITABLE,
            io::ErrorKind::BrokenPipe => self.hang_up(LastLine::AsReadingTells),
            _ => {
                self.report(error, context);
                self.hang_up(LastLine::Dropped);
            }
        }
    }

    /// Reports an error of the socket.
    pub(super) fn report(&self, error: &io::Error, context: &mut Context<'_>) {
        let has_spoken = self.ready.contains(Ready::HAS_SPOKEN);
        context.on_socket_error(&self.peer, error, self.owed(), has_spoken);
    }
}
