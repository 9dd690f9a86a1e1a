//! What one turn of the loop stages: records for the journal, and the replies that may leave once
//! those records are in it.

use common::protocol::Reply;
use common::record;

use crate::replies::Replies;

/// Names one client for as long as the server runs: a key of the slab, which others have had and
/// will have, and a serial number, which nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// The client's key in the slab.
    pub key: u32,
    /// Tells apart those who have had this key, one after another.
    pub serial: u32,
}

/// Records and the replies they owe, committed together: a group commit.
///
/// A batch knows all that is needed to finish it, so the connections do not care when that is, and
/// a client that has left in the meantime is simply not found any more.
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
    /// Who is answered.
    pub client: ClientId,
    /// What is answered if the commit succeeds.
    pub reply: Reply,
    /// How often.
    pub count: u16,
}

impl Batch {
    /// Memory that a batch keeps for the next turns, in bytes of records; what it once needed
    /// beyond that is given back.
    pub const KEPT_BYTES: usize = 4 << 20;

    /// Stages the record of a message and owes its client an `ok`. `prefix` is the record's text
    /// before the message, made by [`record::begin`]. Returns whether that began a new run.
    pub fn receive(&mut self, client: ClientId, prefix: &[u8], message: &[u8]) -> bool {
        self.record(prefix, message);
        self.owe(client, Reply::Ok)
    }

    /// Stages the record of a message. `prefix` is the record's text before the message, made by
    /// [`record::begin`].
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "measured: a tenth of what is done for a message"
    )]
    pub fn record(&mut self, prefix: &[u8], message: &[u8]) {
        self.records.extend_from_slice(prefix);
        record::escape(&mut self.records, message);
        self.records.push(b'\n');
        self.record_count += 1;
        self.messages += 1;
    }

    /// The same with a `prefix` that [`json::begin`](record::json::begin) made.
    pub fn record_json(&mut self, prefix: &[u8], message: &[u8]) {
        self.records.extend_from_slice(prefix);
        record::json::message(&mut self.records, message);
        self.record_count += 1;
        self.messages += 1;
    }

    /// Owes a client a reply, after those it is owed already. Returns whether that began a new run.
    pub fn owe(&mut self, client: ClientId, reply: Reply) -> bool {
        match self.replies.last_mut() {
            Some(run) if run.client == client && run.reply == reply => {
                debug_assert!(usize::from(run.count) < Replies::MAX);
                run.count += 1;
                false
            }
            _ => {
                let count = 1;
                self.replies.push(Run {
                    client,
                    reply,
                    count,
                });
                true
            }
        }
    }

    /// Stages the same `record`, which ends with a newline, `count` times: the record of replies
    /// sent.
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

    /// How many records are staged.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// How many messages it has taken.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The replies owed: those of one client in the order of its messages.
    pub fn replies(&self) -> &[Run] {
        &self.replies
    }

    /// How many replies are owed.
    pub fn owed(&self) -> u64 {
        self.replies.iter().map(|run| u64::from(run.count)).sum()
    }

    /// The memory that what is staged takes, in bytes: budgets count by it, so that nothing that a
    /// client can cause is free.
    pub fn size(&self) -> usize {
        self.records.len() + size_of_val(self.replies.as_slice())
    }

    /// Nothing to write and nothing to answer.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }

    /// Drops the records, but not the replies: the log did not take them.
    pub fn forget_records(&mut self) {
        self.records.clear();
        self.record_count = 0;
    }

    /// Forgets everything, and keeps the memory for the next turns, within
    /// [`KEPT_BYTES`](Batch::KEPT_BYTES).
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
        let begun = [(one, "a"), (one, "b"), (two, "c"), (one, "d")]
            .map(|(client, message)| batch.receive(client, b"> ", message.as_bytes()));
        assert_eq!(begun, [true, false, true, true]);
        assert!(batch.owe(one, Reply::TooLong(8)));
        batch.sent(b"< ok\n", 2);
        let run = |client, reply, count| Run {
            client,
            reply,
            count,
        };
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
    fn who_comes_after_with_the_same_key_is_somebody_else() {
        let mut batch = Batch::default();
        batch.owe(client(1, 1), Reply::Ok);
        assert!(batch.owe(client(1, 2), Reply::Ok));
    }

    #[test]
    fn memory_that_was_needed_once_is_given_back() {
        let mut batch = Batch::default();
        let message = vec![b'x'; 3 * Batch::KEPT_BYTES];
        batch.receive(client(1, 1), b"> ", &message);
        assert!(batch.records.capacity() > Batch::KEPT_BYTES);
        batch.clear();
        assert!(batch.records.capacity() <= Batch::KEPT_BYTES);
    }
}
