//! Connections are made at a steady rate: a server's backlog holds a few hundred.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Token};

use super::Worker;
use crate::drive::clock::{Nanos, nanos};
use crate::drive::connection::{Connection, Stage};
use crate::units::seconds;

/// So many connections are asked for in a row, then those that are made have a turn.
const BURST: usize = 32;

impl Worker {
    /// Takes over a connection that is made already.
    pub(crate) fn adopt(&mut self, stream: std::net::TcpStream, took: Duration) {
        let adopted = stream.set_nonblocking(true).and_then(|()| {
            let now = self.plan.clock.now();
            self.add(TcpStream::from_std(stream), now)
        });
        match adopted {
            Ok(index) => self.established(index, nanos(took)),
            Err(error) => self.failure = Some(error.to_string()),
        }
    }

    /// Makes the worker's share of the connections, greeting included.
    pub(crate) fn connect(&mut self, events: &mut Events) -> io::Result<()> {
        let period = 1e9 * self.plan.workers as f64 / self.plan.connect_rate;
        let first = self.plan.clock.now();
        let due = |n: usize| first + (n as f64 * period) as u64;
        while self.ready < self.share {
            self.check_abort()?;
            for _ in 0..BURST {
                let (n, now) = (self.connections.len(), self.plan.clock.now());
                if n == self.share || due(n) > now {
                    break;
                }
                let stream = TcpStream::connect(self.plan.address)?;
                self.add(stream, now)?;
            }
            let now = self.plan.clock.now();
            if now >= self.next_sweep {
                self.next_sweep = now + self.sweep_period();
                self.check_connect_timeouts(now);
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

    /// Whether the connection is made now; if it cannot be, the run fails.
    pub(crate) fn complete_connect(&mut self, index: usize) -> bool {
        let connection = &self.connections[index];
        let Stage::Connecting(since) = connection.stage else {
            return true;
        };
        let error = match connection.stream.take_error() {
            Ok(None) => connection.stream.peer_addr().err(),
            Ok(error) => error,
            Err(error) => Some(error),
        };
        match error {
            None => {
                let took = self.plan.clock.now() - since;
                self.established(index, took);
                true
            }
            Some(error) if error.kind() == io::ErrorKind::NotConnected => false,
            Some(error) => {
                self.fail_to_connect(&error.to_string());
                false
            }
        }
    }

    /// The greeting may have come to its end.
    pub(crate) fn check_greeting(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.replies.is_greeted() {
            connection.stage = Stage::Ready;
            self.ready += 1;
            self.control.connected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The run cannot take place: it was to have all its connections.
    pub(crate) fn fail_to_connect(&mut self, why: &str) {
        let why = match self.tally.errors.first() {
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

    fn add(&mut self, mut stream: TcpStream, now: Nanos) -> io::Result<usize> {
        let index = self.connections.len();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(index), interest)?;
        let connection = Connection::new(stream, self.plan.greeting, now);
        self.connections.push(connection);
        Ok(index)
    }

    fn established(&mut self, index: usize, took: Nanos) {
        self.connect_times.push(took);
        self.alive += 1;
        let number = self.plan.connection_number(self.number, index);
        let connection = &mut self.connections[index];
        connection.stage = Stage::Greeting;
        let mut sent = connection.stream.set_nodelay(true);
        if let Some(hello) = &self.plan.hello {
            self.output.clear();
            hello.render(number, 0, &mut self.output);
            sent = sent.and_then(|()| connection.send(&self.output));
        }
        match sent {
            Ok(()) => self.check_greeting(index),
            Err(error) => self.fail_to_connect(&error.to_string()),
        }
    }

    fn check_connect_timeouts(&mut self, now: Nanos) {
        let timeout = self.plan.timeout;
        let late = self.connections.iter().position(|connection| {
            let is_waiting = connection.stage != Stage::Ready;
            is_waiting && now.saturating_sub(connection.heard_at) >= timeout
        });
        if let Some(late) = late {
            let what = match self.connections[late].stage {
                Stage::Connecting(_) => "no answer",
                _ => "no greeting (-hello-lines)",
            };
            let why = format!("{what} within {}", seconds(timeout as f64 / 1e9));
            self.fail_to_connect(&why);
        }
    }
}
