//! The workspace that connections share while they are read and written: buffers, and the share of one
//! turn.

use std::io;
use std::time::{Duration, Instant};

use common::protocol::{Framing, Reply};
use common::record::Format;
use common::units::plural;

use crate::admission::{Admission, first};
use crate::batch::{Batch, ClientId};
use crate::channel::MAX_FIRST;
use crate::framing::Rules;
use common::rate_limit::RateLimit;

/// Buffers, settings and counters that a connection borrows for reading and writing.
#[derive(Debug)]
pub struct Workspace {
    /// The framing and the size limit of messages.
    pub rules: Rules,
    /// The format of records.
    pub format: Format,
    /// Messages are answered.
    pub sends_replies: bool,
    /// Replies have records, too.
    pub records_replies: bool,
    /// Error replies that were not sent because the server sends no replies.
    pub suppressed_errors: u64,
    /// Error replies that were sent, by code.
    pub errors: [(&'static str, u64); Reply::ERROR_CODES.len()],
    /// Clients that closed without reading their replies.
    pub unread: Unread,
    /// The rules of admission.
    pub admission: Admission,
    /// The time of this turn.
    pub now: Instant,
    /// The same time in the loop's milliseconds.
    pub now_ms: u32,
    /// Receives the input.
    pub(super) input: Vec<u8>,
    /// The size of one read of messages, in bytes.
    pub(super) read_bytes: usize,
    /// Holds ciphertext, received or to be sent. Empty without TLS.
    pub(super) scratch: Vec<u8>,
    /// Holds the part of a record that many records share.
    pub(super) prefix: Vec<u8>,
    /// Holds replies that are formatted.
    pub(super) text: String,
    /// Limits the warnings about dead peers and suppressed errors.
    pub(super) complaint: RateLimit,
}

impl Workspace {
    /// Buffers for messages by these rules.
    ///
    /// One read takes as much as the longest message, between 4 and 64 KiB, since a client may own that
    /// much unsearched input. In the unframed dialect, each read is a message. Over TLS a read is always 64
    /// KiB, since TLS records are long.
    pub fn new(rules: Rules, format: Format, sends_replies: bool, admission: Admission) -> Self {
        const MAX: usize = 64 << 10;
        let read_bytes = match rules.framing {
            _ if admission.tls.is_some() => MAX,
            Framing::None => rules.max_message,
            _ => (rules.max_message + 1).clamp(4 << 10, MAX),
        };
        // First bytes need more room where messages are short. Over TLS, held first bytes are placed before
        // the decrypted ones.
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

    /// Reports a socket error of a client that is `owed` this many replies. A client may disconnect without
    /// notice, but a dead peer was dropped, which is a warning.
    ///
    /// A client that `has_spoken` and resets the connection has not read its replies.
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

    /// Counts messages of `peer` that are not kept and get no error reply.
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

    /// The most bytes that a client may have in an unfinished message or in unsearched input.
    pub fn most_held_bytes(&self) -> usize {
        self.rules.most_held().max(self.input.len())
    }
}

/// Adds to the number of error replies with a code.
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

/// Clients that reset their connections, as a close with unread replies does. The reset destroys messages
/// that the server had not read, and the client does not learn of it.
#[derive(Debug, Default)]
pub struct Unread {
    count: u64,
    told: Option<Instant>,
}

impl Unread {
    const INTERVAL: Duration = Duration::from_secs(60);

    /// There are clients to report.
    pub fn is_untold(&self) -> bool {
        self.count > 0
    }

    /// Reports them, at most once a minute.
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

/// The share of a turn that one client has, and how much of it is used.
pub(super) struct Share<'a> {
    pub(super) client: ClientId,
    pub(super) work: &'a mut Workspace,
    pub(super) time: &'a str,
    pub(super) batch: &'a mut Batch,
    /// The share is used up when the batch reaches this size.
    pub(super) batch_bytes: usize,
    /// Bytes of input read so far.
    pub(super) taken_bytes: usize,
}

impl Share<'_> {
    /// Whether the share allows another read.
    pub(super) fn allows_reading(&self) -> bool {
        self.taken_bytes + self.batch.size() < self.batch_bytes
    }
}

/// The replies that a client did not take, as the end of a log message.
pub fn replies_left(owed: usize) -> String {
    match owed {
        0 => String::new(),
        n => format!(", {} not taken", plural(n as u64, "reply")),
    }
}
