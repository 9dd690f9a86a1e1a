//! Connecting at a steady rate. The backlog of a server holds only a few hundred connections.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Token};
use tls::Stream;

use super::Worker;
use crate::drive::clock::{Nanos, nanos};
use crate::drive::connection::{Connection, Stage};

/// Maximum number of connects in a row, before events are handled.
const BURST: usize = 32;

/// The delay before each attempt to replace a lost connection, in nanoseconds.
const RETRY: Nanos = 100_000_000;

impl Worker {
    /// Takes over an established connection.
    pub(crate) fn adopt(&mut self, stream: std::net::TcpStream, took: Duration) {
        let since = self.plan.clock.now().saturating_sub(nanos(took));
        let adopted = stream
            .set_nonblocking(true)
            .and_then(|()| self.add(TcpStream::from_std(stream), since));
        match adopted {
            Ok(index) => _ = self.complete_connect(index),
            Err(error) => self.failure = Some(error.to_string()),
        }
    }

    /// Makes this worker's share of the connections, including their greetings.
    pub(crate) fn connect(&mut self, events: &mut Events) -> io::Result<()> {
        let period = 1e9 * self.plan.load.threads as f64 / self.plan.load.connect_rate;
        let first = self.plan.clock.now();
        let due = |n: usize| first + (n as f64 * period) as u64;
        while self.ready < self.share {
            self.check_abort()?;
            for _ in 0..BURST {
                let (n, now) = (self.connections.len(), self.plan.clock.now());
                if n == self.share || due(n) > now {
                    break;
                }
                let stream = TcpStream::connect(self.control.address)?;
                self.add(stream, now)?;
            }
            let now = self.plan.clock.now();
            if now >= self.next_sweep {
                self.next_sweep = now + self.sweep_period();
                self.sweep(now);
            }
            let until = if self.connections.len() < self.share {
                due(self.connections.len())
            } else {
                self.next_sweep
            };
            self.turn(events, Some(until))?;
        }
        Ok(())
    }

    /// Completes a connection. Returns whether it is established. A failure before the run has
    /// begun fails the run.
    pub(crate) fn complete_connect(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        let Stage::Connecting(since) = connection.stage else {
            return true;
        };
        let stream = &mut connection.stream;
        let connected = match stream.socket.take_error() {
            Ok(None) => stream.socket.peer_addr().map(drop),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match connected.and_then(|()| stream.handshake()) {
            Ok(true) => {
                let took = self.plan.clock.now() - since;
                self.established(index, took);
                true
            }
            Ok(false) => false,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => false,
            Err(error) => {
                self.lose(index, &error.to_string());
                false
            }
        }
    }

    /// Makes the connection ready if its greeting is complete.
    pub(crate) fn check_greeting(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.replies.is_greeted() {
            connection.stage = Stage::Ready;
            self.ready += 1;
            self.control.connected.fetch_add(1, Ordering::Relaxed);
            self.counters.reconnected += u64::from(self.has_begun());
            self.refill(index);
        }
    }

    /// Whether the run has begun. All connections are made by then.
    pub(crate) fn has_begun(&self) -> bool {
        self.counters.begin != Nanos::MAX
    }

    /// Schedules a replacement for a lost connection, with `-reconnect`.
    pub(crate) fn retry(&mut self, index: usize) {
        if self.plan.load.reconnect && self.sending {
            let at = self.plan.clock.now() + RETRY;
            self.retries.insert((at, index));
        }
    }

    /// When the next lost connection is due to be replaced.
    pub(crate) fn next_retry(&self) -> Nanos {
        self.retries.first().map_or(Nanos::MAX, |&(at, _)| at)
    }

    /// Begins to replace the lost connections that are due.
    pub(crate) fn reconnect(&mut self, now: Nanos) -> io::Result<()> {
        while self.next_retry() <= now
            && let Some((_, index)) = self.retries.pop_first()
        {
            let Ok(stream) = TcpStream::connect(self.control.address) else {
                self.retry(index);
                continue;
            };
            // The replacement gets its own number once it is established.
            let number = self.connections[index].number;
            let connection = self.register(index, number, stream, now)?;
            let before = std::mem::replace(&mut self.connections[index], connection);
            if before.ack_log.sent > 0 && self.plan.keep {
                self.ack_logs.push((before.number, before.ack_log));
            }
        }
        Ok(())
    }

    /// Fails the run, since it needs all of its connections.
    pub(crate) fn fail_to_connect(&mut self, why: &str) {
        let why = match self.counters.errors.first() {
            Some(said) => format!("{why}, it said '{said}'"),
            None => why.to_owned(),
        };
        self.failure.get_or_insert(why);
    }

    pub(crate) fn check_abort(&self) -> io::Result<()> {
        if self.control.abort.load(Ordering::Relaxed) {
            Err(io::Error::other("aborted"))
        } else {
            Ok(())
        }
    }

    /// Adds a connection that is not established yet.
    fn add(&mut self, stream: TcpStream, now: Nanos) -> io::Result<usize> {
        let index = self.connections.len();
        let number = self.plan.load.connection_number(self.number, index);
        let connection = self.register(index, number, stream, now)?;
        self.connections.push(connection);
        Ok(index)
    }

    fn register(
        &self,
        index: usize,
        number: u64,
        mut stream: TcpStream,
        now: Nanos,
    ) -> io::Result<Connection> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(index), interest)?;
        let session = self.plan.connector.as_ref();
        let session = session.map(|connector| connector.begin(&self.plan.load.host));
        let session = session.transpose().map_err(io::Error::other)?;
        let stream = Stream::new(stream, session);
        Ok(Connection::new(number, stream, self.plan.greeting, now))
    }

    fn established(&mut self, index: usize, took: Nanos) {
        self.alive += 1;
        if self.has_begun() {
            let made_before = self.control.next_connection.fetch_add(1, Ordering::Relaxed);
            self.connections[index].number = made_before;
        } else {
            self.connect_times.push(took);
        }
        let connection = &mut self.connections[index];
        connection.stage = Stage::Greeting;
        let mut sent = connection.stream.socket.set_nodelay(true);
        if let Some(hello) = &self.plan.hello {
            self.output.clear();
            hello.render(connection.number, 0, &mut self.output);
            sent = sent.and_then(|()| connection.send(&self.output));
        }
        match sent {
            Ok(()) => self.check_greeting(index),
            Err(error) => self.lose(index, &error.to_string()),
        }
    }
}
