//! A batch of the log: the staged records, and the replies that may be sent once these are committed.

use common::protocol::Reply;
use common::record;

use crate::replies::Replies;

/// Identifies one client: a key of the slab, which other clients had before and will have again, and a
/// serial number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// The client's key in the slab.
    pub key: u32,
    /// Distinguishes the clients that have this key one after another.
    pub serial: u32,
}

/// Records and the replies they owe, committed together: a group commit.
///
/// A batch holds all that is needed to finish it, so connections do not depend on when that is. The replies
/// to a client that has disconnected meanwhile are dropped.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<u8>,
    record_count: u64,
    messages: u64,
    replies: Vec<Run>,
}

/// The same reply, `count` times in a row, to one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The client that is answered.
    pub client: ClientId,
    /// The reply if the commit succeeds.
    pub reply: Reply,
    /// The number of replies.
    pub count: u16,
}

impl Batch {
    /// How much memory for records a batch keeps for the next turns, in bytes. Memory beyond that is freed.
    pub const KEPT_BYTES: usize = 4 << 20;

    /// Stages the record of a message. `prefix` is the record's text before the message, built by
    /// [`record::begin`].
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: a tenth of what is done for a message")]
    pub fn record(&mut self, prefix: &[u8], message: &[u8]) {
        self.records.extend_from_slice(prefix);
        record::escape(&mut self.records, message);
        self.records.push(b'\n');
        self.record_count += 1;
        self.messages += 1;
    }

    /// The same with a `prefix` built by [`json::begin`](record::json::begin).
    pub fn record_json(&mut self, prefix: &[u8], message: &[u8]) {
        self.records.extend_from_slice(prefix);
        record::json::message(&mut self.records, message);
        self.record_count += 1;
        self.messages += 1;
    }

    /// Owes a client a reply, after those it is already owed. Returns whether that began a new run.
    pub fn owe(&mut self, client: ClientId, reply: Reply) -> bool {
        match self.replies.last_mut() {
            Some(run) if run.client == client && run.reply == reply => {
                debug_assert!(usize::from(run.count) < Replies::MAX);
                run.count += 1;
                false
            }
            _ => {
                let count = 1;
                self.replies.push(Run { client, reply, count });
                true
            }
        }
    }

    /// Stages the record of a sent reply `count` times. `record` ends with a newline.
    pub fn sent(&mut self, record: &[u8], count: u32) {
        debug_assert!(record.ends_with(b"\n"));
        self.record_count += u64::from(count);
        self.records.reserve(record.len() * count as usize);
        for _ in 0..count {
            self.records.extend_from_slice(record);
        }
    }

    /// The staged records, each ended by a newline.
    pub fn records(&self) -> &[u8] {
        &self.records
    }

    /// The number of staged records.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// The number of messages whose records were staged.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The replies owed; those of one client are in the order of its messages.
    pub fn replies(&self) -> &[Run] {
        &self.replies
    }

    /// The number of replies owed.
    pub fn owed(&self) -> u64 {
        self.replies.iter().map(|run| u64::from(run.count)).sum()
    }

    /// The memory that the staged records and replies take, in bytes. Budgets count it, so everything that
    /// a client can cause counts.
    pub fn size(&self) -> usize {
        self.records.len() + size_of_val(self.replies.as_slice())
    }

    /// There is nothing to write and nothing to answer.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }

    /// Drops the records but not the replies, because the log did not take the records.
    pub fn forget_records(&mut self) {
        self.records.clear();
        self.record_count = 0;
    }

    /// Empties the batch and keeps its memory for the next turns, within [`KEPT_BYTES`](Batch::KEPT_BYTES).
    pub fn clear(&mut self) {
        self.forget_records();
        self.messages = 0;
        self.replies.clear();
        self.records.shrink_to(Self::KEPT_BYTES);
        self.replies.shrink_to(Self::KEPT_BYTES / size_of::<Run>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn client(key: u32, serial: u32) -> ClientId {
        ClientId { key, serial }
    }

    #[test]
    fn equal_replies_in_a_row_are_one_run() {
        let mut batch = Batch::default();
        let (one, two) = (client(1, 1), client(2, 2));
        let begun = [(one, "a"), (one, "b"), (two, "c"), (one, "d")].map(|(client, message)| {
            batch.record(b"> ", message.as_bytes());
            batch.owe(client, Reply::Ok)
        });
        assert_eq!(begun, [true, false, true, true]);
        assert!(batch.owe(one, Reply::TooLong(8)));
        batch.sent(b"< ok\n", 2);
        let run = |client, reply, count| Run { client, reply, count };
        let expected = [
            run(one, Reply::Ok, 2),
            run(two, Reply::Ok, 1),
            run(one, Reply::Ok, 1),
            run(one, Reply::TooLong(8), 1),
        ];
        assert_eq!(batch.replies(), expected);
        assert_eq!(batch.records(), b"> a\n> b\n> c\n> d\n< ok\n< ok\n");
        assert_eq!((batch.record_count(), batch.messages()), (6, 4));
        assert_eq!(batch.owed(), 5);
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!((batch.owed(), batch.size()), (0, 0));
    }

    #[test]
    fn a_reused_key_with_another_serial_is_another_client() {
        let mut batch = Batch::default();
        batch.owe(client(1, 1), Reply::Ok);
        assert!(batch.owe(client(1, 2), Reply::Ok));
    }

    #[test]
    fn memory_that_was_needed_once_is_given_back() {
        let mut batch = Batch::default();
        let message = vec![b'x'; 3 * Batch::KEPT_BYTES];
        batch.record(b"> ", &message);
        assert!(batch.records.capacity() > Batch::KEPT_BYTES);
        batch.clear();
        assert!(batch.records.capacity() <= Batch::KEPT_BYTES);
    }
}
