//! The loop: one thread, one [`mio::Poll`], every client in a [`slab::Slab`].
//!
//! [`Server::turn`] is the table of contents. ARCHITECTURE.md draws it and names what must hold.

mod log_file;
mod queues;
mod stop;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::protocol::Reply;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;
use slab::Slab;

use crate::batch::Batch;
use crate::clock::Clock;
use crate::connection::{Connection, Flags, Workspace};
use crate::diagnostics::{Stderr, Throttle};
use crate::figures::Figures;
use crate::framing::Rules;
use crate::journal::{Journal, Storage};
use crate::listeners::Listeners;
use crate::options::Config;
use crate::terminal::Terminal;
use log_file::LogFile;
use queues::Queues;
use stop::Stop;

/// Tokens below these are keys of the slab.
const SIGNALS: Token = Token(usize::MAX);
const STDOUT: Token = Token(usize::MAX - 1);
const STDERR: Token = Token(usize::MAX - 2);
const FIRST_LISTENER: Token = Token(usize::MAX - 3);
/// A name does not have more addresses than this; further ones would get no token.
const MAX_LISTENERS: usize = 1 << 16;

/// What is to be told of clients. Linux ends a read at urgent data, so it has to be known of.
#[cfg(target_os = "linux")]
const INTEREST: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);
#[cfg(not(target_os = "linux"))]
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// How many events one wait brings at most.
const EVENTS: usize = 1024;

/// How much is read and staged in one turn, in bytes of input and of log. Who is left goes first
/// in the next turn.
const TURN_BUDGET: usize = 4 << 20;

/// How often a turn looks at the poll again before it syncs. Bounded, since some input fills no
/// batch: a message that is too long must not keep the others waiting until it ends.
const MORE_LOOKS: usize = 8;

/// How many clients are accepted in one turn.
const ACCEPT_BUDGET: usize = 256;

/// Clients over the limit that are told so at the same time; the others wait in the backlog.
pub const REFUSALS: usize = 8;

/// How long `send:` records may wait for others to share a write with.
const LONE_RECORDS_WAIT: Duration = Duration::from_millis(2);

/// How long input is awaited and forgotten after the sending side was shut down, in milliseconds.
const LINGER: u32 = 1000;

/// How often things are looked at that no event reports.
const CHORES: Duration = Duration::from_secs(1);

/// Why the loop ended without being asked to, or before it was done.
#[derive(Debug)]
pub enum Failure {
    /// A second signal: this many clients were cut off.
    Forced(usize),
    /// The disk did not take a batch: what of it is kept, nobody knows.
    Sync(io::Error),
    /// The operating system refused something that the loop cannot do without.
    Loop(io::Error),
}

/// Server, connections, log and all.
pub struct Server<F: Storage = File> {
    poll: Poll,
    events: Events,
    signals: Option<Signals>,
    listeners: Listeners,
    connections: Slab<Connection>,
    queues: Queues,
    /// Clients over the limit among the connections.
    refused: usize,
    work: Workspace,

    /// What this turn stages.
    batch: Batch,
    /// What was committed in this turn.
    committed: Batch,
    /// Since when `send:` records wait for company.
    lone_since: Instant,
    log: LogFile<F>,
    reopen_asked: bool,

    terminal: Terminal,
    stderr: Stderr,
    clock: Clock,
    now: Instant,
    figures: Figures,
    next_chores: Instant,
    /// About clients that cannot be watched.
    complaint: Throttle,
    stop: Option<Stop>,

    max_clients: usize,
    idle_timeout: Option<Duration>,
}

impl<F: Storage> Server<F> {
    /// A server on sockets that listen and a log that is open. It serves when it is
    /// [run](Server::run).
    pub fn new(
        config: &Config,
        sockets: Vec<TcpListener>,
        journal: Journal<F>,
        terminal: Terminal,
        stderr: Stderr,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        let mut listeners = Listeners::new(sockets);
        listeners.register(registry, |index| Token(FIRST_LISTENER.0 - index))?;
        terminal.register(registry, STDOUT)?;
        stderr.with_terminal(|terminal, _| terminal.register(registry, STDERR))?;
        let rules = Rules {
            framing: config.framing,
            max_message: config.max_message,
        };
        let now = Instant::now();
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            signals: None,
            listeners,
            connections: Slab::new(),
            queues: Queues::new(now),
            refused: 0,
            work: Workspace::new(rules),
            batch: Batch::default(),
            committed: Batch::default(),
            lone_since: now,
            log: LogFile::new(journal, config.log.clone()),
            reopen_asked: false,
            terminal,
            stderr,
            clock: Clock::new(config.utc),
            now,
            figures: Figures::new(now),
            next_chores: now + CHORES,
            complaint: Throttle::default(),
            stop: None,
            max_clients: config.max_clients.unwrap_or(usize::MAX - REFUSALS),
            idle_timeout: config.idle_timeout,
        })
    }

    /// Has signals tell the server to stop, to open its log anew, or to print its figures.
    pub fn handle_signals(&mut self) -> io::Result<()> {
        // SIGXFSZ would kill; handled, a log at the file-size limit is an error like others.
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXFSZ])?;
        let registry = self.poll.registry();
        registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// The addresses it listens on, all on one port.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.addresses().collect()
    }

    /// Serves until it is told to stop.
    pub fn run(mut self) -> Result<Figures, Failure> {
        while !self.has_stopped() {
            self.turn()?;
        }
        self.finish();
        Ok(self.figures())
    }

    /// One turn of the loop.
    pub fn turn(&mut self) -> Result<(), Failure> {
        self.figures.turns += 1;
        self.wait(self.timeout())?;
        self.read();
        for _ in 0..MORE_LOOKS {
            if !self.gathers() {
                break;
            }
            self.wait(Some(Duration::ZERO))?;
            self.read();
        }
        self.commit()?;
        self.reply();
        self.reap();
        self.accept();
        Ok(())
    }

    /// Phase 1: waits for events and takes note of them. Nothing is read, written or removed here.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Failure> {
        // Interrupted by a signal, of which its pipe tells, or by a pause: look again.
        while let Err(error) = self.poll.poll(&mut self.events, timeout) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(Failure::Loop(error));
            }
        }
        self.now = Instant::now();
        self.queues.set_time(self.now);
        self.clock.tick();
        let (mut signalled, time) = (false, self.clock.text());
        for event in &self.events {
            match event.token() {
                SIGNALS => signalled = true,
                STDOUT => self.terminal.writable(time),
                STDERR => self.stderr.with_terminal(Terminal::writable),
                Token(token) if token > FIRST_LISTENER.0 - MAX_LISTENERS => {
                    self.listeners.note(FIRST_LISTENER.0 - token);
                }
                Token(key) => {
                    if let Some(connection) = self.connections.get_mut(key) {
                        connection.note(event);
                        self.queues.schedule(key, connection);
                    }
                }
            }
        }
        if signalled {
            self.obey_signals()?;
        }
        if self.now >= self.next_chores {
            self.do_chores();
        }
        self.advance_stop();
        Ok(())
    }

    /// How long to wait for events: not at all while there is work, else until the next deadline.
    fn timeout(&self) -> Option<Duration> {
        if self.queues.has_work() || self.can_accept() {
            return Some(Duration::ZERO);
        }
        let lone_records = (!self.batch.is_empty()).then(|| self.lone_since + LONE_RECORDS_WAIT);
        let chores = self.needs_chores().then_some(self.next_chores);
        let deadlines = [
            lone_records,
            chores,
            self.listeners.paused_until(),
            self.queues.next_linger_end(),
            self.stop.as_ref().map(Stop::next_step),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(self.now))
    }

    fn obey_signals(&mut self) -> Result<(), Failure> {
        let Some(signals) = &mut self.signals else {
            return Ok(());
        };
        for signal in signals.pending().collect::<Vec<_>>() {
            match signal {
                SIGINT | SIGTERM if self.stop.is_some() => {
                    return Err(Failure::Forced(self.connections.len()));
                }
                SIGINT | SIGTERM => self.begin_stop(),
                SIGHUP => self.reopen_asked = true,
                SIGUSR1 => self.stderr.say(&self.figures().line(self.clients())),
                _ => {}
            }
        }
        Ok(())
    }

    /// Phase 2: reads what clients sent, and stages it.
    fn read(&mut self) {
        let mut spent = 0;
        for _ in 0..self.queues.to_read.len() {
            if spent >= TURN_BUDGET {
                return;
            }
            let Some((key, connection)) = self.queues.next_to_read(&mut self.connections) else {
                return;
            };
            let time = self.clock.text();
            spent += connection.read(key, &mut self.work, time, &mut self.batch);
            if self.stop.is_some() && !connection.flags.contains(Flags::READABLE) {
                connection.drained();
            }
            self.queues.touch(key, connection);
        }
    }

    /// A sync takes far longer than another look at the poll, so with `-sync` those who have
    /// something to say by now share it.
    fn gathers(&self) -> bool {
        self.log.syncs()
            && self.batch.messages() > 0
            && self.batch.records().len() < TURN_BUDGET
            && !self.events.is_empty()
    }

    /// Phase 3: writes the batch to the log, then makes its replies due.
    fn commit(&mut self) -> Result<(), Failure> {
        if self.is_commit_due() {
            std::mem::swap(&mut self.batch, &mut self.committed);
            let verdict = self.log.commit(&mut self.committed, self.now)?;
            for run in self.committed.replies() {
                let reply = match (run.reply, verdict) {
                    (Reply::Ok, Some(error)) => error,
                    (reply, _) => reply,
                };
                // It is there: no connection is reaped that a batch owes something.
                let connection = &mut self.connections[run.key];
                connection.owe(reply, run.count);
                self.queues.schedule(run.key, connection);
            }
        }
        if std::mem::take(&mut self.reopen_asked) {
            self.log.reopen();
        }
        Ok(())
    }

    /// Messages are never kept waiting; lone `send:` records are, for a moment.
    fn is_commit_due(&self) -> bool {
        let waited = self.now >= self.lone_since + LONE_RECORDS_WAIT || self.stop.is_some();
        !self.batch.replies().is_empty() || waited && !self.batch.is_empty()
    }

    /// Phase 4: sends the replies that are due, stages their records, and shows what was committed.
    fn reply(&mut self) {
        let lone = self.batch.is_empty();
        for _ in 0..self.queues.to_write.len() {
            if self.batch.records().len() >= TURN_BUDGET {
                break;
            }
            let Some((key, connection)) = self.queues.next_to_write(&mut self.connections) else {
                break;
            };
            let sent = connection.write(&mut self.work, self.clock.text(), &mut self.batch);
            self.figures.acknowledged += u64::from(sent.oks);
            self.figures.errors += u64::from(sent.errors);
            self.queues.touch(key, connection);
        }
        if lone {
            self.lone_since = self.now;
        }
        let (records, count) = (self.committed.records(), self.committed.record_count());
        self.terminal.show(records, count, self.clock.text());
        self.committed.clear();
    }

    /// Phase 5: removes the connections that are finished.
    fn reap(&mut self) {
        self.queues.end_lingering(&mut self.connections);
        while let Some(key) = self.queues.next_to_reap(&self.connections) {
            let connection = self.connections.remove(key);
            self.refused -= usize::from(connection.flags.contains(Flags::REFUSED));
            log::info!("{}: gone", connection.peer);
            self.listeners.resume();
        }
    }

    /// Phase 6: takes new clients.
    fn accept(&mut self) {
        for _ in 0..ACCEPT_BUDGET {
            if self.connections.len() >= self.max_clients + REFUSALS {
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

    /// Clients may be waiting, and there is a place for them, if only to be refused.
    fn can_accept(&self) -> bool {
        self.listeners.is_ready() && self.connections.len() < self.max_clients + REFUSALS
    }

    fn admit(&mut self, mut socket: TcpStream, peer: SocketAddr) {
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        // Registered once for both: readiness is kept in the connection's flags from then on.
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut socket, Token(key), INTEREST) {
            if let Some(ending) = self.complaint.pass(self.now) {
                log::warn!("{peer}: cannot be watched, closed: {error}{ending}");
            }
            return;
        }
        let connection = entry.insert(Connection::new(socket, peer, self.queues.millis()));
        if self.stop.is_some() {
            connection.expect_end();
        }
        log::info!("{peer}: connected");
        if self.connections.len() - self.refused > self.max_clients {
            self.refused += 1;
            let connection = &mut self.connections[key];
            connection.flags |= Flags::REFUSED;
            connection.owe_unasked(Reply::TooManyClients(self.max_clients), 1);
            connection.close();
        } else {
            self.figures.clients += 1;
        }
        self.queues.schedule(key, &mut self.connections[key]);
    }

    /// What was done so far.
    fn figures(&self) -> Figures {
        Figures {
            bytes: self.log.bytes,
            longest_commit: self.log.longest_commit,
            ..self.figures.clone()
        }
    }

    /// Clients that are served.
    fn clients(&self) -> usize {
        self.connections.len() - self.refused
    }

    /// Things that no event reports, looked at about once a second if there is anything to see.
    fn do_chores(&mut self) {
        // So late only after a pause, and then what clients answer to it is still to come.
        let paused = self.now >= self.next_chores + CHORES;
        self.next_chores = self.now + CHORES;
        let time = self.clock.text();
        self.terminal.retry(time);
        self.stderr.with_terminal(Terminal::retry);
        self.log.check_path();
        if let Some(timeout) = self.idle_timeout.filter(|_| !paused) {
            self.queues.close_idle(&mut self.connections, timeout);
        }
    }

    fn needs_chores(&self) -> bool {
        let idle = self.idle_timeout.is_some() && !self.connections.is_empty();
        idle || self.terminal.needs_retry() || self.stderr.needs_retry()
    }
}
