//! Timeouts that no event reports: idle clients, dead peers, first lines without an end. A sweep checks all
//! clients about once a second, some of them in each turn.

use std::time::{Duration, Instant};

use common::protocol::Framing;
use common::rate_limit::RateLimit;

use super::clients::{Clients, Sweep};
use crate::admission::{Expected, OPENING_MS};
use crate::connection::{Connection, Ready};
use crate::options::Config;
use crate::sock_diag::{SockDiag, Tcp};
use crate::stats::ClientStats;
use crate::warnings::{Warnings, replies_left, warn};

/// A client whose first line has not ended after this time is reported, in milliseconds.
const LINE_END_HINT_MS: u32 = 5000;

/// For each client, the kernel is queried in at least one of this many sweeps.
const MAX_SWEEPS_BETWEEN: u64 = 8;

/// The most queries to the kernel in one turn. Further clients wait for the next sweep.
const QUESTIONS: u32 = 64;

#[derive(Debug)]
pub(super) struct Timeouts {
    idle_timeout: Option<Duration>,
    /// A peer with unacknowledged data that is silent for this long counts as dead.
    silence: Option<Duration>,
    framing: Framing,
    /// `None` where the kernel or a sandbox refuses it. Then dead peers are not found this way.
    sock_diag: Option<SockDiag>,
    sweep: Sweep,
    /// The number of the sweep, which decides for which clients the kernel is queried.
    sweeps: u32,
    /// For each client, the kernel is queried in one of this many sweeps.
    sweeps_between: u32,
    /// How many more queries this turn may make.
    questions: u32,
    now: Instant,
    /// The same time in the loop's milliseconds.
    now_ms: u32,
    /// When this sweep began, and when the previous one did.
    begun: Instant,
    begun_before: Instant,
    dropped: RateLimit,
    hints: RateLimit,
    /// The kernel's answer in a test.
    #[cfg(test)]
    pretended: Option<Tcp>,
}

/// Why the server closes a connection on its own.
#[derive(Clone, Copy, Debug)]
enum Reason {
    Idle(Duration),
    Silent(Duration),
}

impl Timeouts {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let idle_timeout = config.idle_timeout;
        // Twice, as for an idle client, which the kernel's keepalive drops.
        let silence = config.sockets.keepalive.map(|keepalive| 2 * keepalive);
        let silence = [silence, idle_timeout].into_iter().flatten().min();
        let quarter_s = silence.map_or(1, |silence| silence.as_secs() / 4);
        Self {
            idle_timeout,
            silence,
            sweeps_between: quarter_s.clamp(1, MAX_SWEEPS_BETWEEN) as u32,
            questions: 0,
            framing: config.framing,
            sock_diag: SockDiag::open()
                .inspect_err(|error| log::info!("no sock_diag: {error}"))
                .ok(),
            sweep: Sweep::default(),
            sweeps: 0,
            now,
            now_ms: 0,
            begun: now,
            begun_before: now,
            dropped: RateLimit::default(),
            hints: RateLimit::default(),
            #[cfg(test)]
            pretended: None,
        }
    }

    /// The current sweep has not visited all clients yet.
    pub(super) fn has_work(&self) -> bool {
        !self.sweep.is_over()
    }

    /// Begins a sweep, unless one is in progress.
    pub(super) fn begin(&mut self, clients: &Clients, now: Instant) {
        if self.sweep.is_over() {
            self.sweep = clients.sweep();
            self.sweeps = self.sweeps.wrapping_add(1);
            self.begun_before = std::mem::replace(&mut self.begun, now);
        }
    }

    /// Continues the sweep in progress, if there is one.
    pub(super) fn advance(&mut self, clients: &mut Clients, now: Instant) {
        if self.sweep.is_over() {
            return;
        }
        (self.now, self.now_ms) = (now, clients.now_ms());
        self.questions = QUESTIONS;
        let mut sweep = std::mem::take(&mut self.sweep);
        clients.advance(&mut sweep, |key, connection| self.visit(key, connection));
        self.sweep = sweep;
    }

    /// How long a connection has been quiet whose last activity was at `since_ms`, in milliseconds.
    ///
    /// The time since the previous sweep does not count, since input that arrived in it may be unread. So
    /// after a pause of the process or a slow turn, a client has another second.
    fn quiet_ms(&self, since_ms: u32) -> u32 {
        let unread = self.now.duration_since(self.begun_before).as_millis();
        let unread_ms = u32::try_from(unread).unwrap_or(u32::MAX);
        self.now_ms.wrapping_sub(since_ms).saturating_sub(unread_ms)
    }

    /// Checks one client. Returns whether its connection is now being closed.
    fn visit(&mut self, key: u32, connection: &mut Connection) -> bool {
        let life = connection.life();
        if !life.has_timeout() {
            return false;
        }
        // A pending PROXY header, handshake or ambiguous first bytes have a deadline of their own.
        if life.takes_messages() && connection.awaits().is_some() {
            return false;
        }
        self.hint(connection);
        let Some(reason) = self.reason_to_end(key, connection) else {
            return false;
        };
        self.report(connection, reason);
        match reason {
            Reason::Idle(_) if life.takes_messages() => connection.close(),
            Reason::Idle(_) | Reason::Silent(_) => connection.give_up(),
        }
        true
    }

    /// Warns about a client that has sent something but no line end, since it may never send one.
    fn hint(&mut self, connection: &mut Connection) {
        let quiet_ms = self.quiet_ms(connection.moved_at_ms);
        if self.framing != Framing::None
            && quiet_ms >= LINE_END_HINT_MS
            && connection.is_stuck_in_first_line()
        {
            // Once for each client: it counts as having sent a message.
            connection.ready |= Ready::HAS_SPOKEN;
            let peer = &connection.peer;
            let hint = "the original's client needs -framing none";
            let what = format_args!("no line end yet from {peer}; {hint}");
            warn(&mut self.hints, self.now, what);
        }
    }

    /// Whether this client is to be closed, and why.
    ///
    /// A client that is owed replies is not idle. Either its messages wait for a commit, or it takes its
    /// replies so slowly that the server sees no progress for a while. Then it is closed only if the peer
    /// is silent. A client with unread input is not idle either: the server has not read it yet.
    fn reason_to_end(&mut self, key: u32, connection: &mut Connection) -> Option<Reason> {
        let quiet = Duration::from_millis(self.quiet_ms(connection.moved_at_ms).into());
        let is_idle = |idle: &Duration| quiet >= *idle;
        let silent = self.silence.filter(|silence| quiet >= *silence);
        if silent.is_none() && !self.idle_timeout.as_ref().is_some_and(is_idle) {
            connection.ready -= Ready::SUSPECT;
            return None;
        }
        if connection.may_be_unacknowledged() {
            let is_turn = key.wrapping_add(self.sweeps).is_multiple_of(self.sweeps_between);
            let due = is_turn || connection.ready.contains(Ready::SUSPECT);
            if !due || self.questions == 0 {
                return None;
            }
            match self.ask(connection) {
                Some(tcp) if tcp.unacknowledged_bytes > 0 => {
                    return self.silence_of(tcp, connection).map(Reason::Silent);
                }
                Some(tcp) => {
                    // All data has arrived. The last activity was its last acknowledgement.
                    connection.ready -= Ready::UNACKNOWLEDGED | Ready::SUSPECT;
                    let heard_ms = tcp.heard_ago.as_millis() as u32;
                    connection.moved_at_ms = self.now_ms.wrapping_sub(heard_ms);
                    return None;
                }
                // The kernel gives no answer, so only the activity that the server sees counts.
                None => {}
            }
        }
        let waits = connection.owed() > 0 || connection.wants_read();
        self.idle_timeout.filter(|idle| is_idle(idle) && !waits).map(Reason::Idle)
    }

    fn ask(&mut self, connection: &Connection) -> Option<Tcp> {
        self.questions -= 1;
        #[cfg(test)]
        if self.pretended.is_some() {
            return self.pretended;
        }
        let socket = connection.socket();
        let (local, peer) = (socket.local_addr().ok()?, socket.peer_addr().ok()?);
        self.sock_diag.as_mut()?.ask(local, peer).ok()
    }

    /// Makes the kernel give this answer for every client.
    #[cfg(test)]
    pub(super) fn pretend(&mut self, tcp: Tcp) {
        self.pretended = Some(tcp);
    }

    /// Whether the peer is dead: two checks in a row have to say it. Returns the timeout that has passed.
    fn silence_of(&self, tcp: Tcp, connection: &mut Connection) -> Option<Duration> {
        let silence = self.silence.filter(|silence| tcp.seems_gone(*silence));
        let suspected = connection.ready.contains(Ready::SUSPECT);
        connection.ready.set(Ready::SUSPECT, silence.is_some());
        silence.filter(|_| suspected)
    }

    fn report(&mut self, connection: &Connection, reason: Reason) {
        let (what, time) = match reason {
            Reason::Idle(idle) => ("closed, nothing came or went for", idle),
            Reason::Silent(silence) => ("dropped, its machine has not answered for", silence),
        };
        let (peer, left) = (&connection.peer, replies_left(connection.owed()));
        let seconds = time.as_secs_f32();
        let what = format_args!("{peer}: {what} {seconds} s{left}");
        warn(&mut self.dropped, self.now, what);
    }
}

/// Closes a connection whose handshake or PROXY header did not arrive in time.
pub(super) fn end_opening(
    connection: &mut Connection,
    stats: &mut ClientStats,
    warnings: &mut Warnings,
    now: Instant,
) {
    let (count, what) = match connection.awaits() {
        Some((Expected::Tls, _)) => (&mut stats.handshakes_failed, "TLS handshake"),
        Some((Expected::Proxy, _)) => (&mut stats.proxy_malformed, "PROXY header"),
        Some((Expected::Messages, _)) | None => return,
    };
    *count += 1;
    let why = format_args!("closed, no {what} within {} s", OPENING_MS / 1000);
    warnings.turned_away(&connection.peer, why, now);
    connection.close();
}
