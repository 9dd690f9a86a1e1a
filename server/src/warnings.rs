//! Warnings that clients can cause. Each kind is shown at most once a second.

use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::rate_limit::RateLimit;
use common::units::plural;

/// The rate limits of the warnings, one for each kind.
#[derive(Debug, Default)]
pub struct Warnings {
    not_allowed: RateLimit,
    over_limit: RateLimit,
    not_registered: RateLimit,
    turned_away: RateLimit,
    dead_peers: RateLimit,
    not_kept: RateLimit,
    /// Clients that closed without reading their replies.
    pub unread: Unread,
}

impl Warnings {
    /// A client was closed because its address is not within `-allow`.
    pub fn not_allowed(&mut self, client: SocketAddr, now: Instant) {
        let why = "closed, its address is not in -allow";
        warn(&mut self.not_allowed, now, format_args!("{client}: {why}"));
    }

    /// A client was refused because `most` are connected.
    pub fn over_limit(&mut self, client: SocketAddr, most: usize, now: Instant) {
        let why = format_args!("{client}: refused, {most} are connected (-max-clients)");
        warn(&mut self.over_limit, now, why);
    }

    /// A client was closed because the poll does not watch it.
    pub fn not_registered(&mut self, client: SocketAddr, error: &io::Error, now: Instant) {
        let why = format_args!("{client}: closed, cannot register with the poll: {error}");
        warn(&mut self.not_registered, now, why);
    }

    /// A client was turned away before its first message.
    pub fn turned_away(&mut self, peer: &str, why: impl Display, now: Instant) {
        warn(&mut self.turned_away, now, format_args!("{peer}: {why}"));
    }

    /// The socket of a client failed that is `owed` this many replies. A client may disconnect without
    /// notice, but a dead peer was dropped, which is a warning.
    pub fn socket_failed(&mut self, peer: &str, error: &io::Error, owed: usize, now: Instant) {
        use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
        if matches!(error.kind(), HostUnreachable | NetworkUnreachable | TimedOut) {
            let left = replies_left(owed);
            let what = format_args!("{peer}: dropped, its machine does not answer: {error}{left}");
            warn(&mut self.dead_peers, now, what);
        } else {
            log::debug!("{peer}: {error}");
        }
    }

    /// Messages of a client are not kept and get no error reply. `limit` is that of their length.
    pub fn not_kept(&mut self, peer: &str, messages: u64, limit: usize, now: Instant) {
        let (messages, are) = match messages {
            1 => ("a message".to_owned(), "is"),
            n => (plural(n, "message"), "are"),
        };
        warn(
            &mut self.not_kept,
            now,
            format_args!(
                "{peer}: {messages} {are} not kept, longer than {limit} bytes or without a right \
                 length"
            ),
        );
    }
}

/// Shows a warning, or counts it as suppressed by its rate limit.
pub fn warn(limit: &mut RateLimit, now: Instant, text: fmt::Arguments<'_>) {
    if let Some(ending) = limit.allow(now) {
        log::warn!("{text}{ending}");
    }
}

/// The replies that a client did not take, as the end of a log message.
pub fn replies_left(owed: usize) -> String {
    match owed {
        0 => String::new(),
        n => format!(", {} not taken", plural(n as u64, "reply")),
    }
}

/// Clients that reset their connections, as a close with unread replies does. The reset destroys messages
/// that the server had not read, and the client does not learn of it.
#[derive(Debug, Default)]
pub struct Unread {
    clients: u64,
    reported_at: Option<Instant>,
}

impl Unread {
    const INTERVAL: Duration = Duration::from_secs(60);

    /// Counts a client.
    pub fn count(&mut self) {
        self.clients += 1;
    }

    /// There are clients to report.
    pub fn is_pending(&self) -> bool {
        self.clients > 0
    }

    /// Reports them, at most once a minute.
    pub fn report(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.duration_since(at) < Self::INTERVAL;
        if self.clients == 0 || self.reported_at.is_some_and(is_recent) {
            return;
        }
        self.reported_at = Some(now);
        let (clients, their) = match std::mem::take(&mut self.clients) {
            1 => ("1 client".to_owned(), "its"),
            n => (plural(n, "client"), "their"),
        };
        log::warn!(
            "{clients} closed without reading {their} replies; {their} last lines may be lost: \
             read the replies, or use -replies none"
        );
    }
}
