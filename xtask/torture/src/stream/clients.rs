//! Clients that come back whatever is done to the server, and what each of them hears.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::numbered::{Account, Connection};

/// How many there are.
const CLIENTS: usize = 100;

/// The most messages that one sends before it waits for their replies.
const PIPELINE: usize = 16;

/// The longest pause of one between its messages, so that the nodes, and not the clients, have the
/// processors.
const PAUSE: Duration = Duration::from_millis(60);

/// How long one waits before it connects again.
const RETRY: Duration = Duration::from_millis(20);

/// How long all of them may take to hear what is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// The clients, which send until they are [finished](Self::finish) or dropped.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Account>>>,
}

/// What is known of them while they send.
struct Shared {
    over: AtomicBool,
    heard: Vec<Heard>,
    /// The longest time in microseconds for which one heard no `ok`.
    silence: AtomicU64,
}

/// What one of them has heard.
#[derive(Default)]
struct Heard {
    oks: AtomicU64,
    /// Times that it sent something of which at least one message was refused.
    refusals: AtomicU64,
}

impl Clients {
    /// Has them begin; each is different, and the same with the same random numbers.
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

    /// `ok`s so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.counts(|heard| &heard.oks).iter().sum()
    }

    /// Waits until each of them has heard another `ok`.
    ///
    /// # Errors
    /// One waits too long.
    pub(crate) fn wait_until_kept(&self) -> Result<(), String> {
        self.wait("ok", 1, |heard| &heard.oks)
    }

    /// Waits until what each of them sends is refused.
    ///
    /// # Errors
    /// One waits too long.
    pub(crate) fn wait_until_refused(&self) -> Result<(), String> {
        // What it sends now may have been taken before; what it sends after that was not.
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

    /// The longest time for which one heard no `ok`, since this was asked last.
    pub(crate) fn silence(&self) -> Duration {
        Duration::from_micros(self.shared.silence.swap(0, Ordering::Relaxed))
    }

    /// Has them send no more, and waits for the replies that are due.
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

/// One of them.
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

    /// Sends until it is over; returns an account for each connection.
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

    /// Whether the connection can go on.
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
