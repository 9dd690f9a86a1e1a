//! Timeouts that no event reports: idle clients, machines that have vanished, first lines without an end.
//! A sweep checks all clients about once a second, some of them in each turn.

use std::time::{Duration, Instant};

use common::protocol::Framing;

use super::clients::{Clients, Sweep};
use crate::admission::{Admission, OPENING_MS};
use crate::channel::Expected;
use crate::connection::{Connection, Ready, replies_left};
use crate::diagnostics::RateLimit;
use crate::options::Config;
use crate::sock_diag::{SockDiag, Tcp};

/// A client whose first line has no end after so long is told of, in milliseconds.
const LINE_END_HINT_MS: u32 = 5000;

/// The kernel is asked about a client at most once in so many sweeps.
const MAX_SWEEPS_BETWEEN: u64 = 8;

/// How many questions are put to the kernel in one turn; the others wait for the next sweep.
const QUESTIONS: u32 = 64;

#[derive(Debug)]
pub(super) struct Timeouts {
    idle_timeout: Option<Duration>,
    /// Nothing is to be heard for longer than this of a machine that is asked.
    silence: Option<Duration>,
    framing: Framing,
    /// Missing where the kernel or a sandbox has none; then nothing is known of other machines.
    sock_diag: Option<SockDiag>,
    sweep: Sweep,
    /// Numbers the sweeps, so that not everybody is asked about in the same one.
    sweeps: u32,
    /// Clients are asked about in so many sweeps once.
    sweeps_between: u32,
    /// How many more may be asked about in this turn.
    questions: u32,
    now: Instant,
    /// The same in the loop's milliseconds.
    now_ms: u32,
    /// When this sweep began, and the one before it.
    begun: Instant,
    begun_before: Instant,
    dropped: RateLimit,
    hints: RateLimit,
    /// What the kernel is to say in a test.
    #[cfg(test)]
    pretended: Option<Tcp>,
}

/// Why the server ends a connection by itself.
#[derive(Clone, Copy, Debug)]
enum Reason {
    Idle(Duration),
    Silent(Duration),
}

impl Timeouts {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let idle_timeout = config.idle_timeout;
        // Twice, as for an idle client, whom the kernel's keepalive finds out.
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

    /// Some clients have not been looked at yet in this sweep.
    pub(super) fn has_work(&self) -> bool {
        !self.sweep.is_over()
    }

    /// Begins a sweep, unless one is under way.
    pub(super) fn begin(&mut self, clients: &Clients, now: Instant) {
        if self.sweep.is_over() {
            self.sweep = clients.sweep();
            self.sweeps = self.sweeps.wrapping_add(1);
            self.begun_before = std::mem::replace(&mut self.begun, now);
        }
    }

    /// Goes on with a sweep, if one is under way.
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

    /// For how long nothing has happened that happened last at `since_ms`, in milliseconds.
    ///
    /// What has happened since the previous sweep does not count: it may not have been read yet. So after a
    /// pause of the process, or a turn that took long, a client has a second to be heard.
    fn quiet_ms(&self, since_ms: u32) -> u32 {
        let unread = self.now.duration_since(self.begun_before).as_millis();
        let unread_ms = u32::try_from(unread).unwrap_or(u32::MAX);
        self.now_ms.wrapping_sub(since_ms).saturating_sub(unread_ms)
    }

    /// Looks at one client; whether its connection is now being ended.
    fn visit(&mut self, key: u32, connection: &mut Connection) -> bool {
        let life = connection.life();
        if !life.has_timeout() {
            return false;
        }
        // What is due first has a deadline of its own.
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

    /// Says of a client that has sent something but no line that perhaps it never will.
    fn hint(&mut self, connection: &mut Connection) {
        let quiet_ms = self.quiet_ms(connection.moved_at_ms);
        if self.framing != Framing::None
            && quiet_ms >= LINE_END_HINT_MS
            && connection.is_stuck_in_first_line()
        {
            // Once a client: it counts as having spoken.
            connection.ready |= Ready::HAS_SPOKEN;
            if let Some(ending) = self.hints.allow(self.now) {
                let peer = &connection.peer;
                log::warn!(
                    "no line end yet from {peer}; the original's client needs -framing none{ending}"
                );
            }
        }
    }

    /// Whether something has to be done about this client, and why.
    ///
    /// Who is owed something is not idle: either its messages wait for a commit, or it takes its
    /// replies so slowly that the server sees nothing of it for a while. Then only the silence of its
    /// machine ends it. Where input waits to be read, something has come: it was the server that did
    /// not get to it.
    fn reason_to_end(&mut self, key: u32, connection: &mut Connection) -> Option<Reason> {
        let quiet = Duration::from_millis(self.quiet_ms(connection.moved_at_ms).into());
        let is_idle = |idle: &Duration| quiet >= *idle;
        let silent = self.silence.filter(|silence| quiet >= *silence);
        if silent.is_none() && !self.idle_timeout.as_ref().is_some_and(is_idle) {
            connection.ready -= Ready::SUSPECT;
            return None;
        }
        if connection.may_be_unacknowledged() {
            let is_turn = key
                .wrapping_add(self.sweeps)
                .is_multiple_of(self.sweeps_between);
            let due = is_turn || connection.ready.contains(Ready::SUSPECT);
            if !due || self.questions == 0 {
                return None;
            }
            match self.ask(connection) {
                Some(tcp) if tcp.unacknowledged_bytes > 0 => {
                    return self.judge(tcp, connection).map(Reason::Silent);
                }
                Some(tcp) => {
                    // All has arrived; it has moved when the last of it was acknowledged.
                    connection.ready -= Ready::UNACKNOWLEDGED | Ready::SUSPECT;
                    let heard_ms = tcp.heard_ago.as_millis() as u32;
                    connection.moved_at_ms = self.now_ms.wrapping_sub(heard_ms);
                    return None;
                }
                // Nothing is known of it: as the server sees it, it does not move.
                None => {}
            }
        }
        let waits = connection.owed() > 0 || connection.wants_read();
        self.idle_timeout
            .filter(|idle| is_idle(idle) && !waits)
            .map(Reason::Idle)
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

    /// Has the kernel say this of every client.
    #[cfg(test)]
    pub(super) fn pretend(&mut self, tcp: Tcp) {
        self.pretended = Some(tcp);
    }

    /// Whether the client's machine has gone, which takes two looks to be believed.
    fn judge(&self, tcp: Tcp, connection: &mut Connection) -> Option<Duration> {
        let silence = self.silence.filter(|silence| tcp.seems_gone(*silence));
        let suspected = connection.ready.contains(Ready::SUSPECT);
        connection.ready.set(Ready::SUSPECT, silence.is_some());
        silence.filter(|_| suspected)
    }

    fn report(&mut self, connection: &Connection, reason: Reason) {
        let Some(ending) = self.dropped.allow(self.now) else {
            return;
        };
        let (peer, left) = (&connection.peer, replies_left(connection.owed()));
        match reason {
            Reason::Idle(idle) => {
                let idle = idle.as_secs_f32();
                log::warn!("{peer}: closed, nothing came or went for {idle} s{left}{ending}");
            }
            Reason::Silent(silence) => {
                let silence = silence.as_secs_f32();
                log::warn!(
                    "{peer}: dropped, its machine has not answered for {silence} s{left}{ending}"
                );
            }
        }
    }
}

/// Closes a connection whose handshake or PROXY header has not come in time.
pub(super) fn end_opening(connection: &mut Connection, admission: &mut Admission) {
    let (count, what) = match connection.awaits() {
        Some((Expected::Tls, _)) => (&mut admission.counts.handshakes_failed, "TLS handshake"),
        Some((Expected::Proxy, _)) => (&mut admission.counts.proxy_malformed, "PROXY header"),
        Some((Expected::Messages, _)) | None => return,
    };
    *count += 1;
    let seconds = OPENING_MS / 1000;
    admission.report(
        &connection.peer,
        format_args!("closed, no {what} within {seconds} s"),
    );
    connection.close();
}
