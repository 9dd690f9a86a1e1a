//! What one turn of the loop stages: records for the journal, and the replies that may leave once
//! those records are in it.

use common::protocol::Reply;
use common::record;

/// Records and the replies they owe, committed together: a group commit.
///
/// A batch knows all that is needed to finish it, so the connections do not care when that is.
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
    /// The client's key in the slab.
    pub key: usize,
    /// What is answered if the commit succeeds.
    pub reply: Reply,
    /// How often.
    pub count: u32,
}

impl Batch {
    /// Stages the record of a message and owes its client an `ok`. `prefix` is the record's text
    /// before the message, made by [`record::begin`].
    pub fn receive(&mut self, key: usize, prefix: &[u8], message: &[u8]) {
        self.records.extend_from_slice(prefix);
        record::escape(&mut self.records, message);
        self.records.push(b'\n');
        self.record_count += 1;
        self.messages += 1;
        self.owe(key, Reply::Ok);
    }

    /// Owes a client a reply, after those it is owed already.
    pub fn owe(&mut self, key: usize, reply: Reply) {
        match self.replies.last_mut() {
            Some(run) if run.key == key && run.reply == reply => run.count += 1,
            _ => self.replies.push(Run {
                key,
                reply,
                count: 1,
            }),
        }
    }

    /// Stages the same `record`, which ends with a newline, `count` times: the record of replies
    /// sent.
    pub fn sent(&mut self, record: &[u8], count: u32) {
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

    /// How many of the records are of messages.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The replies owed: those of one client in the order of its messages.
    pub fn replies(&self) -> &[Run] {
        &self.replies
    }

    /// Nothing to write and nothing to answer.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }

    /// Drops the records, but not the replies: the log did not take them.
    pub fn forget_records(&mut self) {
        self.records.clear();
        self.record_count = 0;
        self.messages = 0;
    }

    /// Forgets everything, and keeps the memory for the next turn.
    pub fn clear(&mut self) {
        self.forget_records();
        self.replies.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_replies_in_a_row_are_one_run() {
        let mut batch = Batch::default();
        for (key, message) in [(1, "a"), (1, "b"), (2, "c"), (1, "d")] {
            batch.receive(key, b"> ", message.as_bytes());
        }
        batch.owe(1, Reply::TooLong(8));
        batch.sent(b"< ok\n", 2);
        let run = |key, reply, count| Run { key, reply, count };
        let expected = [
            run(1, Reply::Ok, 2),
            run(2, Reply::Ok, 1),
            run(1, Reply::Ok, 1),
            run(1, Reply::TooLong(8), 1),
        ];
        assert_eq!(batch.replies(), expected);
        assert_eq!(batch.records(), b"> a\n> b\n> c\n> d\n< ok\n< ok\n");
        assert_eq!((batch.record_count(), batch.messages()), (6, 4));
        batch.clear();
        assert!(batch.is_empty());
    }
}
