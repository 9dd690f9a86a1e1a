//! A connection that sends numbered messages, and the account of its replies.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The timeout of a connection for one reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// The messages of one connection, and their replies.
pub struct Account {
    /// Unique in this process, unlike a port, which may be reused.
    pub(super) id: u64,
    /// The number of messages sent, in whole or in part.
    pub(super) sent: usize,
    /// For each reply, in order, whether it was `ok`.
    pub(super) replies: Vec<bool>,
    /// A line that is no reply, or a reply that did not arrive in time.
    pub(super) problem: Option<String>,
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
            problem: None,
        };
        Ok(Self { reader: BufReader::new(stream), account, burst: Vec::new(), line: Vec::new() })
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
                self.account.problem = Some(format!("no reply within {PATIENCE:?}"));
                return None;
            }
            // Closed, reset, or a reply truncated by the server's death.
            _ => return None,
        }
        let ok = self.line == b"ok\n";
        if !ok && !self.line.starts_with(b"error ") {
            let line = String::from_utf8_lossy(&self.line);
            self.account.problem = Some(format!("not a reply: {line:?}"));
            return None;
        }
        Some(ok)
    }

    /// Closes it.
    pub fn close(self) -> Account {
        self.account
    }
}
