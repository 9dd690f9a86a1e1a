//! The event loop: one thread, one [`mio::Poll`], every client in a [`slab::Slab`].
//!
//! [`Server::turn`] lists the phases of a turn. ARCHITECTURE.md draws them; docs/invariants.md has the rules.

mod clients;
mod commits;
mod failure;
mod group_commit_delay;
mod periodic_tasks;
mod queues;
mod report;
mod shutdown;
pub mod signals;
mod stop;
#[cfg(test)]
mod tests;
mod timeouts;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::process::open_descriptors;
use common::protocol::Reply;
use http::HttpServer;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use net::{Listeners, PAUSE};
use signal_hook_mio::v1_0::Signals;

use crate::admission::Admission;
use crate::backend::file::LogFile;
use crate::backend::{BackEnd, CommitOutcome, Finished};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::connection::{Buffers, Context, Policy, Queue, Ready};
use crate::diagnostics::Stderr;
use crate::figures::Figures;
use crate::options::Config;
use crate::stats::Stats;
use crate::systemd::Supervisor;
use crate::terminal::Terminal;
use crate::warnings::Warnings;
use clients::Clients;
pub use clients::REFUSALS;
use commits::Commits;
pub use failure::Failure;
use stop::Stop;
use timeouts::Timeouts;

/// Tokens below these are keys of the slab.
const SIGNALS: Token = Token(usize::MAX);
const STDOUT: Token = Token(usize::MAX - 1);
const STDERR: Token = Token(usize::MAX - 2);
const BACK_END: Token = Token(usize::MAX - 3);
const FIRST_OF_HTTP: Token = Token(usize::MAX - 4);
const FIRST_LISTENER: Token = Token(FIRST_OF_HTTP.0 - http::TOKENS);
/// No host name has more addresses than this. A listener beyond it would get no token.
const MAX_LISTENERS: usize = 1 << 16;

/// The events of a client that the loop registers for. Linux ends a read at urgent data, so `PRIORITY` is
/// one of them.
#[cfg(target_os = "linux")]
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(target_os = "linux"))]
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The most events that one poll returns.
const EVENTS: usize = 1024;

/// The budget of reading for one turn, in bytes: the input read plus the growth of the batch. Clients that
/// are left wait for the next turn. It bounds how long a client waits that has just sent its first message.
const TURN_BUDGET: usize = 512 << 10;

/// The most reads of handshakes and PROXY headers in one turn, and the time after which no further one
/// begins. The limits bound how long connected clients wait for clients that are connecting. A read that
/// begins within the time may exceed it.
const HANDSHAKE_READS: usize = 8;
const HANDSHAKE_TIME: Duration = Duration::from_millis(2);

/// How often a turn polls again before it commits to a slow log. The number is bounded because some input
/// never fills a batch: without a bound, a message over the limit would delay all other clients until its
/// end.
const MORE_POLLS: usize = 8;

/// The time between two runs of the periodic tasks.
const PERIOD: Duration = Duration::from_secs(1);

/// The most clients accepted in one turn.
const ACCEPT_BUDGET: usize = 256;

/// The server: its clients, its log and its listening sockets.
pub struct Server<B: BackEnd = LogFile> {
    poll: Poll,
    events: Events,
    signals: Option<Signals>,
    listeners: Listeners,
    http: Option<HttpServer>,
    clients: Clients,
    commits: Commits<B>,
    policy: Policy,
    buffers: Buffers,
    stats: Stats,
    warnings: Warnings,
    reopen_asked: bool,
    stop: Option<Stop>,
    supervisor: Supervisor,
    /// The listening sockets belong to the supervisor and outlive the server.
    leaves_backlog: bool,
    /// The number of descriptors that belong to no client.
    idle_descriptors: usize,

    terminal: Terminal,
    stderr: Stderr,
    clock: Clock,
    now: Instant,
    next_periodic_tasks: Instant,
    timeouts: Timeouts,
}

impl<B: BackEnd> Server<B> {
    /// A server on listening sockets and an open log. [`run`](Server::run) serves clients.
    pub fn new(
        config: &Config,
        admission: Admission,
        sockets: Vec<TcpListener>,
        mut http: Option<HttpServer>,
        mut back_end: B,
        terminal: Terminal,
        stderr: Stderr,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        let mut listeners = Listeners::new(sockets, "clients");
        listeners.register(registry, |index| Token(FIRST_LISTENER.0 - index))?;
        if let Some(http) = &mut http {
            http.register(registry, FIRST_OF_HTTP)?;
        }
        back_end.register(registry, BACK_END)?;
        terminal.register(registry, STDOUT)?;
        stderr.with_terminal(|terminal, _| terminal.register(registry, STDERR))?;
        let now = Instant::now();
        let policy = Policy::new(config, admission, B::RECORDS_REPLIES);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            signals: None,
            listeners,
            http,
            clients: Clients::new(config, now),
            commits: Commits::new(back_end, now),
            buffers: Buffers::new(&policy),
            policy,
            stats: Stats::new(now),
            warnings: Warnings::default(),
            reopen_asked: false,
            stop: None,
            supervisor: Supervisor::default(),
            leaves_backlog: false,
            idle_descriptors: open_descriptors(),
            terminal,
            stderr,
            clock: Clock::of(config.format, config.utc),
            now,
            next_periodic_tasks: now + PERIOD,
            timeouts: Timeouts::new(config, now),
        })
    }

    /// Reports to the supervisor that clients can connect, and later its status. `leaves_backlog`: the
    /// listening sockets are the supervisor's, so connections made during a stop are left for the next
    /// server.
    pub fn serve_under(&mut self, mut supervisor: Supervisor, leaves_backlog: bool) {
        supervisor.notify_ready(self.now);
        self.supervisor = supervisor;
        self.leaves_backlog = leaves_backlog;
    }

    /// The addresses it listens on. All have one port.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.addresses().collect()
    }

    /// Serves until a stop is complete.
    pub fn run(mut self) -> Result<Figures, Failure> {
        while !self.has_stopped() {
            self.turn()?;
        }
        self.finish();
        Ok(self.figures())
    }

    /// Runs one turn of the loop.
    pub fn turn(&mut self) -> Result<(), Failure> {
        self.wait(self.timeout())?;
        self.read();
        self.gather()?;
        self.submit();
        self.complete()?;
        self.reply();
        self.shake_hands();
        self.reap();
        self.accept();
        Ok(())
    }

    /// Phase 1: waits for events and records the readiness they report. It reads, writes and removes no
    /// client.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Failure> {
        self.stats.turns += 1;
        self.poll_events(timeout)?;
        if self.now >= self.next_periodic_tasks {
            self.run_periodic_tasks();
        }
        self.stats.clients.served += self.clients.classify_unclear();
        self.timeouts.advance(&mut self.clients, self.now);
        self.serve_metrics();
        self.supervisor.advance(self.now, self.status());
        self.advance_stop()
    }

    /// Polls and handles the events. `timeout` counts from `self.now`, so time that this turn has already
    /// spent is subtracted.
    fn poll_events(&mut self, timeout: Option<Duration>) -> Result<(), Failure> {
        let left = || timeout.map(|timeout| timeout.saturating_sub(self.now.elapsed()));
        // Interrupted by a signal, which its pipe reports, or because the process was paused: poll again.
        while let Err(error) = self.poll.poll(&mut self.events, left()) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(Failure::Loop(error));
            }
        }
        self.read_clock();
        self.clock.tick();
        let (mut signalled, time) = (false, self.clock.text());
        for event in &self.events {
            match event.token() {
                SIGNALS => signalled = true,
                STDOUT => self.terminal.writable(time),
                STDERR => self.stderr.with_terminal(Terminal::writable),
                BACK_END => self.commits.back_end.on_event(),
                Token(token) if token > FIRST_LISTENER.0 => {
                    if let Some(http) = &mut self.http {
                        http.on_event(FIRST_OF_HTTP.0 - token);
                    }
                }
                Token(token) if token > FIRST_LISTENER.0 - MAX_LISTENERS => {
                    self.listeners.on_event(FIRST_LISTENER.0 - token);
                }
                Token(key) => self.clients.with(key as u32, |client| client.on_event(event)),
            }
        }
        // The poll is edge-triggered: an event is reported once, so the log handles it now.
        self.commits.back_end.advance(self.now);
        if signalled {
            self.take_signals()?;
        }
        Ok(())
    }

    /// Updates the loop's clock. All deadlines are computed from this time and compared with it. A deadline
    /// computed from a later time would make the loop sleep too long.
    fn read_clock(&mut self) {
        self.now = Instant::now();
        self.clients.set_time(self.now);
    }

    /// How long to wait for events, counted from `self.now`: zero while there is work, else until the next
    /// deadline.
    fn timeout(&self) -> Option<Duration> {
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        self.until_deadline()
    }

    /// The time from `self.now` to the next deadline.
    fn until_deadline(&self) -> Option<Duration> {
        let listeners = self.listeners.paused_until();
        let http = self.http.as_ref();
        // Each with the longest time that it can be ahead, where there is one.
        let deadlines = [
            (self.commits.deadline(), commits::MAX_WAIT),
            (self.commits.back_end.deadline(), Duration::MAX),
            (self.needs_periodic_tasks().then_some(self.next_periodic_tasks), PERIOD),
            (self.back_end_tasks_due(), Duration::MAX),
            (listeners.filter(|_| self.clients.have_place()), PAUSE),
            (self.clients.next_deadline(), clients::MAX_WAIT),
            (http.and_then(HttpServer::deadline), http::MAX_WAIT),
            (self.supervisor.deadline(self.status()), self.supervisor.max_wait()),
            (self.stop.as_ref().and_then(Stop::next_step), stop::MAX_WAIT),
        ];
        let waits = deadlines.into_iter().filter_map(|(deadline, most)| {
            let wait = deadline?.saturating_duration_since(self.now);
            debug_assert!(wait <= most, "made from another clock: {wait:?}, not {most:?}");
            Some(wait)
        });
        waits.min()
    }

    /// Something can be done without waiting for an event or a deadline. While the batch is full and the
    /// log has no room, clients can neither be read nor written.
    fn has_work(&self) -> bool {
        !self.commits.is_full() && self.clients.have_input_or_output()
            || self.commits.can_submit(self.now, self.stop.is_some())
            || self.clients.are_leaving()
            || self.can_accept()
            || self.timeouts.has_work()
            || self.http.as_ref().is_some_and(HttpServer::has_work)
            || self.stop.as_ref().is_some_and(Stop::has_work)
    }

    /// Phase 2: reads what clients sent, and stages it.
    fn read(&mut self) {
        let mut spent_bytes = 0;
        for _ in 0..self.clients.to_read() {
            if spent_bytes >= TURN_BUDGET || self.commits.is_full() {
                return;
            }
            let Some(spent) = self.read_next(Queue::Read) else {
                return;
            };
            spent_bytes += spent;
        }
    }

    /// Reads the next client in this queue. Returns the bytes of its input plus the growth of the batch;
    /// `None` if there is no such client.
    fn read_next(&mut self, queue: Queue) -> Option<usize> {
        let stopping = self.stop.is_some();
        let batch_bytes = self.commits.back_end.batch_bytes();
        self.with_context(|clients, context| {
            clients.read_next(queue, |key, client| {
                let spent_bytes = client.read(key, context, batch_bytes);
                if stopping && !client.ready.contains(Ready::READABLE) && !client.has_unread() {
                    context.stats.clients.served += u64::from(client.drained());
                }
                spent_bytes
            })
        })
    }

    /// Calls `f` with the clients and what they borrow.
    fn with_context<T>(&mut self, f: impl FnOnce(&mut Clients, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            policy: &self.policy,
            buffers: &mut self.buffers,
            stats: &mut self.stats,
            warnings: &mut self.warnings,
            batch: &mut self.commits.staged,
            now: self.now,
            now_ms: self.clients.now_ms(),
            time: self.clock.record_text(),
        };
        f(&mut self.clients, &mut context)
    }

    /// Still phase 2: if a commit takes far longer than a poll, polls and reads again, so that messages
    /// that arrived meanwhile share the commit.
    fn gather(&mut self) -> Result<(), Failure> {
        if !self.commits.back_end.is_worth_sharing() {
            return Ok(());
        }
        for _ in 0..MORE_POLLS {
            let brings_more = !self.events.is_empty() || self.clients.to_read() > 0;
            if self.commits.staged.messages() == 0 || self.commits.is_full() || !brings_more {
                break;
            }
            self.poll_events(Some(Duration::ZERO))?;
            self.read();
        }
        Ok(())
    }

    /// Phase 3: submits the batch if it is due and the log has room for it.
    fn submit(&mut self) {
        if self.commits.can_submit(self.now, self.stop.is_some()) {
            self.commits.submit(self.now);
        }
        if std::mem::take(&mut self.reopen_asked) {
            self.commits.back_end.reopen(self.now);
            self.supervisor.notify_ready(self.now);
        }
    }

    /// Phase 4: makes the replies of finished batches due, in the order of submission.
    fn complete(&mut self) -> Result<(), Failure> {
        while let Some(Finished { batch, outcome }) =
            self.commits.finished(self.now, &mut self.stats)
        {
            let refusal = match outcome {
                CommitOutcome::Committed => None,
                CommitOutcome::Rejected(refusal) => {
                    if !self.policy.sends_replies {
                        self.stats.errors.suppressed += batch.messages();
                    }
                    Some(refusal)
                }
                CommitOutcome::Fatal(why) => return Err(Failure::Log(why)),
                CommitOutcome::Unknown => {
                    for run in batch.replies() {
                        self.clients.close_unanswered(run);
                    }
                    continue;
                }
            };
            for run in batch.replies() {
                let reply = match (run.reply, refusal) {
                    (Reply::Ok, Some(refusal)) => refusal,
                    (reply, _) => reply,
                };
                self.clients.complete(run, reply);
            }
            self.commits.keep_to_show(batch);
        }
        Ok(())
    }

    /// Phase 5: sends the replies that are due and stages their records. Then it shows the committed
    /// records, since no client waits for that.
    fn reply(&mut self) {
        // Before the clock is read again: only connections whose lingering ended before this turn's reads
        // are closed.
        self.clients.end_lingering();
        // A commit may have been slow: activity from now on must not count as old as the beginning of the
        // turn.
        self.read_clock();
        self.commits.expect_lone_records(self.now);
        for _ in 0..self.clients.to_write() {
            if self.commits.is_full() {
                break;
            }
            let written = self.with_context(|clients, context| {
                clients.write_next(|client| client.write(context))
            });
            if written.is_none() {
                break;
            }
        }
        let (terminal, time) = (&mut self.terminal, self.clock.text());
        self.commits.show(|batch| terminal.show(batch.records(), batch.record_count(), time));
    }

    /// Still phase 5, after the replies of connected clients: reads handshakes and PROXY headers. These
    /// reads are expensive, and there can be many at once, for example after a restart.
    fn shake_hands(&mut self) {
        let began = Instant::now();
        for _ in 0..self.clients.handshakes().min(HANDSHAKE_READS) {
            if self.commits.is_full() || began.elapsed() >= HANDSHAKE_TIME {
                return;
            }
            if self.read_next(Queue::Handshake).is_none() {
                return;
            }
        }
    }

    /// Phase 6: removes the connections that are finished.
    fn reap(&mut self) {
        let (stats, warnings) = (&mut self.stats.clients, &mut self.warnings);
        self.clients.end_openings(|connection| {
            timeouts::end_opening(connection, stats, warnings, self.now);
        });
        let listeners = &mut self.listeners;
        self.clients.reap(|connection| {
            log::info!("{}: gone", connection.peer);
            listeners.resume();
        });
    }

    /// Phase 7: accepts new clients.
    fn accept(&mut self) {
        for _ in 0..ACCEPT_BUDGET {
            if !self.clients.have_place() {
                break;
            }
            let Some((socket, peer)) = self.listeners.accept(self.now) else {
                break;
            };
            self.admit(socket, peer);
        }
        if self.stop.is_some() && !self.can_accept() {
            self.listeners.close();
        }
    }

    /// Clients may be in the backlog, and there is a place for one more, even if only to refuse it.
    fn can_accept(&self) -> bool {
        self.listeners.is_ready() && self.clients.have_place()
    }

    fn admit(&mut self, mut socket: TcpStream, peer: SocketAddr) {
        let admission = &self.policy.admission;
        if !admission.is_proxy(peer.ip()) && !admission.allows(peer.ip()) {
            self.stats.clients.not_allowed += 1;
            self.warnings.not_allowed(peer, self.now);
            return;
        }
        let expects = admission.expects_first(peer.ip());
        let channel = Channel::new(expects, self.clients.now_ms());
        let token = Token(self.clients.next_key());
        // Registered once for reading and writing. From then on, the connection keeps its readiness.
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut socket, token, INTEREST) {
            return self.warnings.not_registered(peer, &error, self.now);
        }
        log::info!("{peer}: connected");
        let is_served = self.clients.admit(socket, channel, peer, self.stop.is_some());
        if !is_served {
            self.stats.clients.over_limit += 1;
            self.warnings.over_limit(peer, self.clients.most(), self.now);
        }
    }
}
