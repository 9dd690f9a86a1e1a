//! The check of every message against the log.

use std::collections::HashMap;
use std::io::{self, BufRead};

use super::connection::Account;

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
    pub problems: Vec<String>,
}

impl Verification {
    /// Whether nothing is wrong. Torn records are left to the caller.
    pub fn is_good(&self) -> bool {
        self.lost + self.disordered + self.denied + self.invented == 0 && self.problems.is_empty()
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
        Self { messages: vec![false; account.sent], next: 0 }
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
        if let Some(problem) = &account.problem {
            let problem = format!("connection {}: {problem}", account.id);
            self.problems.push(problem);
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
