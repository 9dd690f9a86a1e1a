//! Clients that send numbered messages until they are stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::connection::{Account, Connection};
use crate::wait::{DEADLINE, poll};

/// The maximum number of messages that a persistent client sends before it waits for the replies.
const PIPELINE: usize = 16;

/// The longest pause of a persistent client between its messages. It leaves the CPUs to the servers.
const PAUSE: Duration = Duration::from_millis(60);

/// The pause before a client connects again.
const RETRY: Duration = Duration::from_millis(20);

/// The clients. Dropping it stops them.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Account>>>,
}

/// What the clients update while they send.
struct Shared {
    finish: AtomicBool,
    replies: Vec<Replies>,
    /// The longest time without an `ok` of any client, in microseconds.
    silence: AtomicU64,
}

/// The numbers of replies that a client got.
#[derive(Default)]
struct Replies {
    acknowledged: AtomicU64,
    errors: AtomicU64,
}

impl Load {
    /// Opens `connections` connections. Each sends `pipeline` messages at once, waits for their replies,
    /// and repeats, until it is disconnected.
    pub fn start(address: SocketAddr, connections: usize, pipeline: usize) -> io::Result<Self> {
        let connections: Vec<_> =
            (0..connections).map(|_| Connection::open(address)).collect::<io::Result<_>>()?;
        let mut connections = connections.into_iter();
        Ok(Self::spawn(connections.len(), |mut client| {
            let mut connection = connections.next().expect("one for each client");
            move || {
                while client.goes_on() && client.exchange(&mut connection, pipeline) {}
                vec![connection.close()]
            }
        }))
    }

    /// Clients that pause between their messages, and connect again whenever they are disconnected. The same
    /// random numbers give the same clients.
    pub fn persistent(address: SocketAddr, clients: usize, random: &mut Rng) -> Self {
        Self::spawn(clients, |client| {
            let random = random.fork();
            move || client.persist(address, random)
        })
    }

    fn spawn<R: FnOnce() -> Vec<Account> + Send + 'static>(
        clients: usize,
        mut client: impl FnMut(Client) -> R,
    ) -> Self {
        let shared = Arc::new(Shared {
            finish: AtomicBool::new(false),
            replies: (0..clients).map(|_| Replies::default()).collect(),
            silence: AtomicU64::new(0),
        });
        let threads = (0..clients).map(|index| {
            thread::spawn(client(Client {
                shared: Arc::clone(&shared),
                index,
                last_ok: Instant::now(),
            }))
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// The number of `ok`s so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged_by_client().iter().sum()
    }

    /// The number of error replies so far.
    pub fn errors(&self) -> u64 {
        self.errors_by_client().iter().sum()
    }

    /// Waits until each client has got another `ok`.
    pub fn wait_for_ok(&self) {
        self.wait_for("ok", 1, Self::acknowledged_by_client);
    }

    /// Waits until the messages of each persistent client are rejected.
    pub fn wait_for_errors(&self) {
        // Errors of more than one batch: the first may have been sent before the server rejected messages.
        self.wait_for("errors", 1 + PIPELINE as u64, Self::errors_by_client);
    }

    fn wait_for(&self, what: &str, more: u64, counts: fn(&Self) -> Vec<u64>) {
        let before = counts(self);
        let waiting = || {
            let now = counts(self);
            let pairs = before.iter().zip(&now);
            pairs.filter(|(before, now)| **now < **before + more).count()
        };
        let done = poll(DEADLINE, || waiting() == 0);
        assert!(done.is_some(), "{} clients wait for {what}", waiting());
    }

    fn acknowledged_by_client(&self) -> Vec<u64> {
        let replies = self.shared.replies.iter();
        replies.map(|it| it.acknowledged.load(Ordering::Relaxed)).collect()
    }

    fn errors_by_client(&self) -> Vec<u64> {
        let replies = self.shared.replies.iter();
        replies.map(|it| it.errors.load(Ordering::Relaxed)).collect()
    }

    /// The longest time without an `ok` of any client, since the last call.
    pub fn take_silence(&self) -> Duration {
        Duration::from_micros(self.shared.silence.swap(0, Ordering::Relaxed))
    }

    /// Stops sending, waits for the outstanding replies, and closes the connections.
    pub fn finish(self) -> io::Result<Vec<Account>> {
        self.shared.finish.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until the server has closed every connection.
    pub fn wait(mut self) -> io::Result<Vec<Account>> {
        let lost = |_| io::Error::other("a connection's thread panicked");
        let mut accounts = Vec::new();
        for thread in self.threads.drain(..) {
            accounts.append(&mut thread.join().map_err(lost)?);
        }
        Ok(accounts)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.finish.store(true, Ordering::Relaxed);
    }
}

/// One client.
struct Client {
    shared: Arc<Shared>,
    index: usize,
    last_ok: Instant,
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.shared.finish.load(Ordering::Relaxed)
    }

    /// Returns an account for each connection.
    fn persist(mut self, address: SocketAddr, mut random: Rng) -> Vec<Account> {
        let mut accounts = Vec::new();
        while self.goes_on() {
            if let Ok(mut connection) = Connection::open(address) {
                while self.goes_on() && self.exchange(&mut connection, 1 + random.usize(..PIPELINE))
                {
                    thread::sleep(PAUSE.mul_f64(random.f64()));
                }
                accounts.push(connection.close());
            }
            thread::sleep(RETRY);
        }
        accounts
    }

    /// Sends messages and waits for their replies; whether the connection is still usable.
    fn exchange(&mut self, connection: &mut Connection, messages: usize) -> bool {
        let replies = &self.shared.replies[self.index];
        connection.exchange(messages, |ok| {
            if !ok {
                replies.errors.fetch_add(1, Ordering::Relaxed);
                return;
            }
            replies.acknowledged.fetch_add(1, Ordering::Relaxed);
            let silence = self.last_ok.elapsed();
            self.last_ok += silence;
            let silence = silence.as_micros() as u64;
            self.shared.silence.fetch_max(silence, Ordering::Relaxed);
        })
    }
}
