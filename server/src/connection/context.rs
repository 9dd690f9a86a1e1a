//! The context of a connection: what the loop lends it for one read or write.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::buffers::Buffers;
use super::policy::Policy;
use crate::batch::Batch;
use crate::stats::Stats;
use crate::warnings::Warnings;

/// What a connection borrows from the loop while it is read or written.
pub struct Context<'a> {
    /// The rules for all connections.
    pub policy: &'a Policy,
    /// Memory for input and output.
    pub buffers: &'a mut Buffers,
    /// Counts what happens.
    pub stats: &'a mut Stats,
    /// Reports what happens.
    pub warnings: &'a mut Warnings,
    /// The batch that records and replies are staged in.
    pub batch: &'a mut Batch,
    /// The time of this turn.
    pub now: Instant,
    /// The same time in the loop's milliseconds.
    pub now_ms: u32,
    /// The same time as records show it.
    pub time: &'a str,
}

impl Context<'_> {
    /// Whether a client at this address is admitted. One that is not is counted and reported.
    pub(super) fn admits(&mut self, client: SocketAddr) -> bool {
        let is_allowed = self.policy.admission.allows(client.ip());
        if !is_allowed {
            self.stats.clients.not_allowed += 1;
            self.warnings.not_allowed(client, self.now);
        }
        is_allowed
    }

    /// Reports why a client is turned away before its first message.
    pub(super) fn turn_away(&mut self, peer: &str, why: impl Display) {
        self.warnings.turned_away(peer, why, self.now);
    }

    /// Reports a socket error of a client that is `owed` this many replies. A client that `has_spoken` and
    /// resets the connection has not read its replies.
    pub(super) fn on_socket_error(
        &mut self,
        peer: &str,
        error: &io::Error,
        owed: usize,
        has_spoken: bool,
    ) {
        let is_reset = error.kind() == io::ErrorKind::ConnectionReset;
        if is_reset && self.policy.sends_replies && has_spoken {
            self.warnings.unread.count();
        }
        self.warnings.socket_failed(peer, error, owed, self.now);
    }

    /// Counts messages of `peer` that are not kept and get no error reply.
    pub(super) fn count_suppressed(&mut self, peer: &str, messages: u64) {
        self.stats.errors.suppressed += messages;
        let limit = self.policy.rules.max_message;
        self.warnings.not_kept(peer, messages, limit, self.now);
    }
}
