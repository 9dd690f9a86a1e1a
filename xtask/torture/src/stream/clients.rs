//! Clients that reconnect after every fault, and the replies each of them gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::numbered::{Account, Connection};

/// The number of clients.
const CLIENTS: usize = 100;

/// The maximum number of messages that a client sends before it waits for the replies.
const PIPELINE: usize = 16;

/// The longest pause of a client between its messages. It leaves the CPUs to the nodes.
const PAUSE: Duration = Duration::from_millis(60);

/// The pause before a client connects again.
const RETRY: Duration = Duration::from_millis(20);

/// The timeout for all clients to get the expected reply.
const DEADLINE: Duration = Duration::from_secs(60);

/// The clients. They send until they are [finished](Self::finish) or dropped.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Account>>>,
}

/// State that the clients update while they send.
struct Shared {
    over: AtomicBool,
    heard: Vec<Heard>,
    /// The longest time without an `ok` of any client, in microseconds.
    silence: AtomicU64,
}

/// The replies that a client got.
#[derive(Default)]
struct Heard {
    oks: AtomicU64,
    /// The number of batches of which at least one message was rejected.
    refusals: AtomicU64,
}

impl Clients {
    /// Starts the clients. The same random numbers give the same clients.
    pub(crate) fn start(address: SocketAddr, random: &mut Rng) -> Self {
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            heard: (0..CLIENTS).map(|_| Heard::default()).collect(),
            silence: AtomicU64::new(0),
        });
        let spawn = |index| {
            let (shared, random) = (Arc::clone(&shared), random.fork());
            thread::spawn(move || Talker::new(shared, index, random).talk(address))
        };
        let threads = (0..CLIENTS).map(spawn).collect();
        Self { shared, threads }
    }

    /// The number of `ok`s so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.counts(|heard| &heard.oks).iter().sum()
    }

    /// Waits until each client has got another `ok`.
    ///
    /// # Errors
    /// A client waits too long.
    pub(crate) fn wait_until_kept(&self) -> Result<(), String> {
        self.wait("ok", 1, |heard| &heard.oks)
    }

    /// Waits until each client's messages are rejected.
    ///
    /// # Errors
    /// A client waits too long.
    pub(crate) fn wait_until_refused(&self) -> Result<(), String> {
        // Two batches: the first may have been sent before the stream was full, the second was not.
        self.wait("an error", 2, |heard| &heard.refusals)
    }

    fn counts(&self, of: fn(&Heard) -> &AtomicU64) -> Vec<u64> {
        let heard = self.shared.heard.iter();
        heard.map(|it| of(it).load(Ordering::Relaxed)).collect()
    }

    fn wait(&self, what: &str, more: u64, of: fn(&Heard) -> &AtomicU64) -> Result<(), String> {
        let before = self.counts(of);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.counts(of);
            let missing = before.iter().zip(&now).filter(|(b, n)| **n < **b + more);
            match missing.count() {
                0 => return Ok(()),
                waiting if Instant::now() > deadline => {
                    let seconds = DEADLINE.as_secs();
                    return Err(format!(
                        "{waiting} clients do not hear {what} within {seconds} s"
                    ));
                }
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// The longest time without an `ok` of any client, since the last call.
    pub(crate) fn silence(&self) -> Duration {
        Duration::from_micros(self.shared.silence.swap(0, Ordering::Relaxed))
    }

    /// Stops the sending, and waits for the outstanding replies.
    pub(crate) fn finish(mut self) -> Result<Vec<Account>, String> {
        self.shared.over.store(true, Ordering::Relaxed);
        let mut accounts = Vec::new();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            accounts.append(&mut ended.map_err(|_| "a client's thread panicked".to_owned())?);
        }
        Ok(accounts)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

/// One client.
struct Talker {
    shared: Arc<Shared>,
    index: usize,
    random: Rng,
    last_ok: Instant,
}

impl Talker {
    fn new(shared: Arc<Shared>, index: usize, random: Rng) -> Self {
        Self {
            shared,
            index,
            random,
            last_ok: Instant::now(),
        }
    }

    /// Sends until `over`; returns an account for each connection.
    fn talk(mut self, address: SocketAddr) -> Vec<Account> {
        let mut accounts = Vec::new();
        while !self.is_over() {
            let Ok(mut connection) = Connection::open(address) else {
                thread::sleep(RETRY);
                continue;
            };
            while !self.is_over() && self.say_something(&mut connection) {
                let pause = self.random.f64();
                thread::sleep(PAUSE.mul_f64(pause));
            }
            accounts.push(connection.close());
            thread::sleep(RETRY);
        }
        accounts
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }

    /// Sends one batch; whether the connection is still usable.
    fn say_something(&mut self, connection: &mut Connection) -> bool {
        let messages = 1 + self.random.usize(..PIPELINE);
        let heard = &self.shared.heard[self.index];
        let mut refused = false;
        let goes_on = connection.exchange(messages, |ok| {
            if !ok {
                refused = true;
                return;
            }
            heard.oks.fetch_add(1, Ordering::Relaxed);
            let silence = self.last_ok.elapsed();
            self.last_ok += silence;
            let silence = silence.as_micros() as u64;
            self.shared.silence.fetch_max(silence, Ordering::Relaxed);
        });
        heard
            .refusals
            .fetch_add(u64::from(refused), Ordering::Relaxed);
        goes_on
    }
}
