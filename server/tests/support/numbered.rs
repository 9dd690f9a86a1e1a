//! A load of numbered messages over pipelining connections, and the check of every message.
//!
//! `cargo xtask torture` uses this file too: it needs nothing but the standard library.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The timeout of a connection for one reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that send numbered messages until they are stopped or disconnected.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Account>>,
}

#[derive(Default)]
struct Shared {
    finish: AtomicBool,
    acknowledged: AtomicU64,
    errors: AtomicU64,
}

/// The messages of one connection, and their replies.
pub struct Account {
    /// Unique in this process, unlike a port, which may be reused.
    id: u64,
    /// The number of messages sent, in whole or in part.
    sent: usize,
    /// For each reply, in order, whether it was `ok`.
    replies: Vec<bool>,
    /// A line that is no reply, or a reply that did not arrive in time.
    complaint: Option<String>,
}

impl Load {
    /// Opens `connections` connections. Each sends `pipeline` messages at once, waits for their replies,
    /// and repeats.
    pub fn start(address: SocketAddr, connections: usize, pipeline: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let connections: Vec<_> = (0..connections)
            .map(|_| Connection::open(address))
            .collect::<io::Result<_>>()?;
        let spawn = |connection| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || send_until_told(connection, pipeline, &shared))
        };
        let threads = connections.into_iter().map(spawn).collect();
        Ok(Self { shared, threads })
    }

    /// The number of `ok`s so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// The number of error replies so far.
    pub fn errors(&self) -> u64 {
        self.shared.errors.load(Ordering::Relaxed)
    }

    /// Stops sending, waits for the outstanding replies, and closes the connections.
    pub fn finish(self) -> io::Result<Vec<Account>> {
        self.shared.finish.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until the server has closed every connection.
    pub fn wait(self) -> io::Result<Vec<Account>> {
        let lost = |_| io::Error::other("a connection's thread panicked");
        let results = self.threads.into_iter().map(JoinHandle::join);
        results.map(|result| result.map_err(lost)).collect()
    }
}

fn send_until_told(mut connection: Connection, pipeline: usize, shared: &Shared) -> Account {
    let mut goes_on = true;
    while goes_on && !shared.finish.load(Ordering::Relaxed) {
        goes_on = connection.exchange(pipeline, |ok| {
            let counter = if ok {
                &shared.acknowledged
            } else {
                &shared.errors
            };
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }
    connection.close()
}

/// A connection that sends numbered messages and records their replies.
pub struct Connection {
    reader: BufReader<TcpStream>,
    account: Account,
    burst: Vec<u8>,
    line: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let account = Account {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            sent: 0,
            replies: Vec::new(),
            complaint: None,
        };
        Ok(Self {
            reader: BufReader::new(stream),
            account,
            burst: Vec::new(),
            line: Vec::new(),
        })
    }

    /// Sends `messages` messages at once and waits for their replies. Calls `heard` for each: whether it is
    /// `ok`. Returns whether the connection is still usable.
    pub fn exchange(&mut self, messages: usize, mut heard: impl FnMut(bool)) -> bool {
        self.burst.clear();
        let Account { id, sent, .. } = self.account;
        for n in sent..sent + messages {
            // The full stop distinguishes a whole record from one that a crash has truncated. Writing to a
            // Vec cannot fail.
            _ = writeln!(self.burst, "load {id} {n}.");
        }
        self.account.sent += messages;
        // After a failed write, the replies that have already arrived are still read.
        let whole = self.reader.get_mut().write_all(&self.burst).is_ok();
        while self.account.replies.len() < self.account.sent {
            let Some(ok) = self.reply() else {
                return false;
            };
            self.account.replies.push(ok);
            heard(ok);
        }
        whole
    }

    /// Whether the next reply is `ok`; none if the connection is closed or the reply is invalid or late.
    fn reply(&mut self) -> Option<bool> {
        self.line.clear();
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.ends_with(b"\n") => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.account.complaint = Some(format!("no reply within {PATIENCE:?}"));
                return None;
            }
            // Closed, reset, or a reply truncated by the server's death.
            _ => return None,
        }
        let ok = self.line == b"ok\n";
        if !ok && !self.line.starts_with(b"error ") {
            let line = String::from_utf8_lossy(&self.line);
            self.account.complaint = Some(format!("not a reply: {line:?}"));
            return None;
        }
        Some(ok)
    }

    /// Closes it.
    pub fn close(self) -> Account {
        self.account
    }
}

/// The result of the check of all messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verification {
    pub sent: u64,
    pub acknowledged: u64,
    pub errors: u64,
    /// Sent, but disconnected before a reply: in the log or not.
    pub unanswered: u64,
    /// Answered `ok`, but not in the log. Any of these breaks the promise.
    pub lost: u64,
    /// In the log more than once, or out of order within their connection.
    pub disordered: u64,
    /// Answered with an error, but in the log.
    pub denied: u64,
    /// In the log, but never sent.
    pub invented: u64,
    /// Truncated records.
    pub torn: u64,
    /// A description of the first wrong messages.
    pub wrong: Vec<String>,
    pub complaints: Vec<String>,
}

impl Verification {
    /// Whether nothing is wrong. Torn records are left to the caller.
    pub fn is_good(&self) -> bool {
        self.lost + self.disordered + self.denied + self.invented == 0 && self.complaints.is_empty()
    }
}

/// Compares the accounts with the log. Chain several logs, the oldest first.
pub fn verify(accounts: &[Account], mut log: impl BufRead) -> io::Result<Verification> {
    let mut verification = Verification::default();
    let mut seen = HashMap::new();
    for account in accounts {
        seen.insert(account.id, Seen::of(account));
    }
    let mut record = Vec::new();
    while log.read_until(b'\n', &mut record)? > 0 {
        if let Some(message) = received(&record) {
            match number(message) {
                None => verification.torn += 1,
                Some(message) => verification.find(message, seen.get_mut(&message.0)),
            }
        }
        record.clear();
    }
    for account in accounts {
        verification.settle(account, &seen[&account.id].messages);
    }
    Ok(verification)
}

/// The messages of a connection that have been found in the log.
struct Seen {
    messages: Vec<bool>,
    /// The lowest number that may come next.
    next: usize,
}

impl Seen {
    fn of(account: &Account) -> Self {
        Self {
            messages: vec![false; account.sent],
            next: 0,
        }
    }
}

impl Verification {
    /// Counts a message that was found in the log; `seen` is none for an unknown connection.
    fn find(&mut self, (id, n): (u64, usize), seen: Option<&mut Seen>) {
        let Some(seen) = seen.filter(|seen| n < seen.messages.len()) else {
            self.invented += 1;
            return self.note((id, n), "never sent");
        };
        if n < seen.next {
            self.disordered += 1;
            let what = if seen.messages[n] { "repeated" } else { "late" };
            self.note((id, n), what);
        }
        seen.messages[n] = true;
        seen.next = n + 1;
    }

    /// Adds the totals of a connection, after the whole log was read.
    fn settle(&mut self, account: &Account, seen: &[bool]) {
        self.sent += account.sent as u64;
        self.unanswered += (account.sent - account.replies.len()) as u64;
        for (n, (&ok, &seen)) in account.replies.iter().zip(seen).enumerate() {
            self.acknowledged += u64::from(ok);
            self.errors += u64::from(!ok);
            if ok && !seen {
                self.lost += 1;
                self.note((account.id, n), "lost");
            } else if !ok && seen {
                self.denied += 1;
                self.note((account.id, n), "in the log, but answered with an error");
            }
        }
        if let Some(complaint) = &account.complaint {
            let complaint = format!("connection {}: {complaint}", account.id);
            self.complaints.push(complaint);
        }
    }

    fn note(&mut self, (id, n): (u64, usize), what: &str) {
        const FEW: usize = 10;
        if self.wrong.len() < FEW {
            self.wrong.push(format!("load {id} {n}: {what}"));
        }
    }
}

/// The message in a record of this load; `None` for records of other kinds and of other clients.
fn received(record: &[u8]) -> Option<&str> {
    let record = str::from_utf8(record).ok()?;
    let (_, message) = record.split_once(" recieved: ")?;
    message.starts_with("load ").then_some(message)
}

fn number(message: &str) -> Option<(u64, usize)> {
    let rest = message.strip_prefix("load ")?.strip_suffix(".\n")?;
    let (id, n) = rest.split_once(' ')?;
    Some((id.parse().ok()?, n.parse().ok()?))
}
