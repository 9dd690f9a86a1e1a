//! Numbered messages over pipelining connections, and the check of what became of each.
//!
//! `cargo xtask torture` uses this file too, so it needs nothing but the standard library.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a connection waits for a reply before it calls itself stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that send numbered messages until they are told to finish or are cut off.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Account>>>,
}

#[derive(Default)]
struct Shared {
    finish: AtomicBool,
    acknowledged: AtomicU64,
    errors: AtomicU64,
}

/// What one connection sent, and what it was answered.
pub struct Account {
    /// No other connection of this process has it: ports may be used again.
    id: u64,
    /// Messages sent whole or in part.
    sent: usize,
    /// For each reply, in order, whether it was `ok`.
    replies: Vec<bool>,
    /// A reply that is none, or did not come in time.
    complaint: Option<String>,
}

impl Load {
    /// Connects `connections` times. Each sends `pipeline` messages at once, waits for their
    /// replies, and begins again.
    pub fn start(address: SocketAddr, connections: usize, pipeline: usize) -> io::Result<Self> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let shared = Arc::new(Shared::default());
        let streams: Vec<_> = (0..connections)
            .map(|_| connect(address))
            .collect::<io::Result<_>>()?;
        let spawn = |stream| {
            let shared = Arc::clone(&shared);
            let id = IDS.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || send_until_told(stream, id, pipeline, &shared))
        };
        let threads = streams.into_iter().map(spawn).collect();
        Ok(Self { shared, threads })
    }

    /// `ok`s so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Error replies so far.
    pub fn errors(&self) -> u64 {
        self.shared.errors.load(Ordering::Relaxed)
    }

    /// Sends no more, waits for the replies that are due, and closes.
    pub fn finish(self) -> io::Result<Vec<Account>> {
        self.shared.finish.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until the server has cut every connection off.
    pub fn wait(self) -> io::Result<Vec<Account>> {
        let lost = |_| io::Error::other("a connection's thread panicked");
        let results = self.threads.into_iter().map(JoinHandle::join);
        results.map(|result| result.map_err(lost)?).collect()
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn send_until_told(
    stream: TcpStream,
    id: u64,
    pipeline: usize,
    shared: &Shared,
) -> io::Result<Account> {
    let mut account = Account {
        id,
        sent: 0,
        replies: Vec::new(),
        complaint: None,
    };
    let (mut reader, mut line, mut burst) = (BufReader::new(stream), Vec::new(), Vec::new());
    while !shared.finish.load(Ordering::Relaxed) {
        burst.clear();
        for n in account.sent..account.sent + pipeline {
            // The full stop tells a whole record from one that a crash has cut.
            writeln!(burst, "load {id} {n}.")?;
        }
        account.sent += pipeline;
        // Cut off in the middle: the replies that came before are still to be read.
        let whole = reader.get_mut().write_all(&burst).is_ok();
        while account.replies.len() < account.sent {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    account.complaint = Some(format!("no reply within {PATIENCE:?}"));
                    return Ok(account);
                }
                // Closed, reset, or the rest of a reply that died with the server.
                _ => return Ok(account),
            }
            match line.as_slice() {
                b"ok\n" => shared.acknowledged.fetch_add(1, Ordering::Relaxed),
                line if line.starts_with(b"error ") => {
                    shared.errors.fetch_add(1, Ordering::Relaxed)
                }
                line => {
                    let line = String::from_utf8_lossy(line);
                    account.complaint = Some(format!("not a reply: {line:?}"));
                    return Ok(account);
                }
            };
            account.replies.push(line == b"ok\n");
        }
        if !whole {
            break;
        }
    }
    Ok(account)
}

/// What became of all messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub sent: u64,
    pub acknowledged: u64,
    pub errors: u64,
    /// Sent, but cut off before a reply came: in the log or not.
    pub unanswered: u64,
    /// Answered `ok`, but not in the log. The promise is broken if there is one.
    pub lost: u64,
    /// In the log more than once, or out of their connection's order.
    pub disordered: u64,
    /// Answered with an error, but in the log all the same.
    pub denied: u64,
    /// In the log, but never sent.
    pub invented: u64,
    /// Records of messages that end before the message does.
    pub torn: u64,
    pub complaints: Vec<String>,
}

impl Verdict {
    /// Nothing is wrong. Torn records are for the caller to judge.
    pub fn is_good(&self) -> bool {
        self.lost + self.disordered + self.denied + self.invented == 0 && self.complaints.is_empty()
    }
}

/// Compares the accounts with the log; several logs are to be chained, the oldest first.
pub fn verify(accounts: &[Account], mut log: impl BufRead) -> io::Result<Verdict> {
    let mut verdict = Verdict::default();
    // Per connection which messages were seen, and the number that may come next.
    let mut seen: HashMap<u64, (Vec<bool>, usize)> = HashMap::new();
    for account in accounts {
        seen.insert(account.id, (vec![false; account.sent], 0));
    }
    let mut record = Vec::new();
    while log.read_until(b'\n', &mut record)? > 0 {
        if let Some(message) = received(&record) {
            match number(message) {
                None => verdict.torn += 1,
                Some((id, n)) => match seen.get_mut(&id) {
                    Some((seen, next)) if n < seen.len() => {
                        verdict.disordered += u64::from(n < *next);
                        (seen[n], *next) = (true, n + 1);
                    }
                    _ => verdict.invented += 1,
                },
            }
        }
        record.clear();
    }
    for account in accounts {
        let (seen, _) = &seen[&account.id];
        verdict.sent += account.sent as u64;
        verdict.unanswered += (account.sent - account.replies.len()) as u64;
        for (&ok, &seen) in account.replies.iter().zip(seen) {
            verdict.acknowledged += u64::from(ok);
            verdict.errors += u64::from(!ok);
            verdict.lost += u64::from(ok && !seen);
            verdict.denied += u64::from(!ok && seen);
        }
        let complaint = account.complaint.iter();
        let complaint =
            complaint.map(|complaint| format!("connection {}: {complaint}", account.id));
        verdict.complaints.extend(complaint);
    }
    Ok(verdict)
}

/// The load's own message in a record; `None` for records of other kinds and other clients.
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
