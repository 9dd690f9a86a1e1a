//! What connections are lent while they are read and written: buffers, and a share of a turn.

use std::io;
use std::time::{Duration, Instant};

use common::protocol::{Framing, Reply};
use common::record::Format;
use common::units::plural;

use crate::admission::{Admission, first};
use crate::batch::{Batch, ClientId};
use crate::channel::MAX_FIRST;
use crate::diagnostics::RateLimit;
use crate::framing::Rules;

/// What a connection is lent for reading and writing.
#[derive(Debug)]
pub struct Workspace {
    /// What makes a message.
    pub rules: Rules,
    /// How records are written.
    pub format: Format,
    /// Messages are answered.
    pub sends_replies: bool,
    /// Replies that were sent have records, too.
    pub records_replies: bool,
    /// Error replies that nobody gets, since nothing is answered.
    pub suppressed_errors: u64,
    /// Error replies that were sent, by their code.
    pub errors: [(&'static str, u64); Reply::ERROR_CODES.len()],
    /// Clients that closed without reading their replies.
    pub unread: Unread,
    /// Who may come in, and how.
    pub admission: Admission,
    /// The time of this turn.
    pub now: Instant,
    /// The same in the loop's milliseconds.
    pub now_ms: u32,
    /// Where input lands first.
    pub(super) input: Vec<u8>,
    /// How much of messages is read at once.
    pub(super) read_bytes: usize,
    /// Where ciphertext is, on its way in or out; empty without TLS.
    pub(super) scratch: Vec<u8>,
    /// Where the part of a record is built that is the same for many.
    pub(super) prefix: Vec<u8>,
    /// Where replies are put together.
    pub(super) text: String,
    /// About clients whose machines have gone.
    pub(super) complaint: RateLimit,
}

impl Workspace {
    /// Buffers for messages by these rules.
    ///
    /// As much is read at once as a message is long, within 4 to 64 KiB, since a client may own so
    /// much of input that nobody has looked at yet. In the unframed dialect a read is a message.
    /// Over TLS it is always the most, as records are long.
    pub fn new(rules: Rules, format: Format, sends_replies: bool, admission: Admission) -> Self {
        const MAX: usize = 64 << 10;
        let read_bytes = match rules.framing {
            _ if admission.tls.is_some() => MAX,
            Framing::None => rules.max_message,
            _ => (rules.max_message + 1).clamp(4 << 10, MAX),
        };
        // First bytes need more room where messages are short, and what is held of them lies before what is decrypted.
        let (scratch_bytes, held_bytes) = match admission.tls {
            Some(_) => (read_bytes, first::MAX_UNCLEAR),
            None => (0, 0),
        };
        Self {
            rules,
            format,
            sends_replies,
            records_replies: true,
            suppressed_errors: 0,
            errors: Reply::ERROR_CODES.map(|code| (code, 0)),
            unread: Unread::default(),
            admission,
            now: Instant::now(),
            now_ms: 0,
            scratch: vec![0; scratch_bytes],
            input: vec![0; read_bytes.max(MAX_FIRST) + held_bytes],
            read_bytes,
            prefix: Vec::new(),
            text: String::new(),
            complaint: RateLimit::default(),
        }
    }

    /// Says of a socket that has failed what happened to its client, which it `owed` so many replies. A
    /// client may leave without a word; one whose machine does not answer any more was dropped.
    ///
    /// One that `has_spoken`, and resets the connection, has not read its replies.
    pub(super) fn report(&mut self, peer: &str, error: &io::Error, owed: usize, has_spoken: bool) {
        use io::ErrorKind::{ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut};
        if error.kind() == ConnectionReset && self.sends_replies && has_spoken {
            self.unread.count += 1;
        }
        if !matches!(
            error.kind(),
            HostUnreachable | NetworkUnreachable | TimedOut
        ) {
            log::debug!("{peer}: {error}");
        } else if let Some(ending) = self.complaint.allow(self.now) {
            let left = replies_left(owed);
            log::warn!("{peer}: dropped, its machine does not answer: {error}{left}{ending}");
        }
    }

    /// So many messages of `peer` are not kept, and it gets no reply that says so.
    pub(super) fn count_suppressed(&mut self, peer: &str, messages: u64) {
        self.suppressed_errors += messages;
        if let Some(ending) = self.complaint.allow(self.now) {
            let limit = self.rules.max_message;
            let (messages, are) = match messages {
                1 => ("a message".to_owned(), "is"),
                n => (plural(n, "message"), "are"),
            };
            log::warn!(
                "{peer}: {messages} {are} not kept, longer than {limit} bytes or without a right \
                 length{ending}"
            );
        }
    }

    /// The most bytes that a client may have unfinished, or sent and not looked at.
    pub fn most_held_bytes(&self) -> usize {
        self.rules.most_held().max(self.input.len())
    }
}

/// Counts so many more replies of a code.
pub(super) fn count(errors: &mut [(&'static str, u64)], code: &'static str, replies: u32) {
    let known = errors.iter_mut().find(|(known, _)| *known == code);
    debug_assert!(
        known.is_some(),
        "{code} is among the codes of all error replies"
    );
    if let Some((_, count)) = known {
        *count += u64::from(replies);
    }
}

/// Clients that reset their connections: whoever closes with replies unread does. It destroys what
/// of their messages was not read yet, and they do not know it.
#[derive(Debug, Default)]
pub struct Unread {
    count: u64,
    told: Option<Instant>,
}

impl Unread {
    const INTERVAL: Duration = Duration::from_secs(60);

    /// There is something to tell, sooner or later.
    pub fn is_untold(&self) -> bool {
        self.count > 0
    }

    /// Tells of them, at most once a minute.
    pub fn report(&mut self, now: Instant) {
        let told = |told: Instant| now.duration_since(told) < Self::INTERVAL;
        if self.count == 0 || self.told.is_some_and(told) {
            return;
        }
        self.told = Some(now);
        let count = std::mem::take(&mut self.count);
        let (clients, their) = match count {
            1 => ("1 client".to_owned(), "its"),
            n => (plural(n, "client"), "their"),
        };
        log::warn!(
            "{clients} closed without reading {their} replies; {their} last lines may be lost: \
             read the replies, or use -replies none"
        );
    }
}

/// A turn's share of one client, as it is used up.
pub(super) struct Share<'a> {
    pub(super) client: ClientId,
    pub(super) work: &'a mut Workspace,
    pub(super) time: &'a str,
    pub(super) batch: &'a mut Batch,
    /// At this size of the batch the share is used up.
    pub(super) batch_bytes: usize,
    /// Input taken so far, in bytes.
    pub(super) taken_bytes: usize,
}

impl Share<'_> {
    /// Whether there is enough of it left for another read.
    pub(super) fn allows_reading(&self) -> bool {
        self.taken_bytes + self.batch.size() < self.batch_bytes
    }
}

/// How many replies a client has left, for the end of what is said of it.
pub fn replies_left(owed: usize) -> String {
    match owed {
        0 => String::new(),
        n => format!(", {} not taken", plural(n as u64, "reply")),
    }
}
