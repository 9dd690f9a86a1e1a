//! Compact record of the result of every message of a connection.

use serde::{Deserialize, Serialize};

/// The results of messages 0 to `sent` of one connection. Replies come in the order of the
/// messages, so the first `answered` messages have a reply. It is an acknowledgement unless
/// `rejected` says otherwise.
///
/// It takes at most 8 bytes for two messages, when every other one is rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AckLog {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Runs: the number of acknowledged messages, then of rejected ones. Messages after the last
    /// run are acknowledged.
    rejected: Vec<(u32, u32)>,
    /// How many messages were acknowledged since the last rejected one.
    #[serde(skip)]
    since: u64,
}

impl AckLog {
    pub(crate) fn send(&mut self, n: u32) {
        self.sent += u64::from(n);
    }

    pub(crate) fn acknowledge(&mut self, n: u32) {
        self.answered += u64::from(n);
        self.since += u64::from(n);
    }

    /// Records an error reply. Which message it was for is recorded only with `keep`.
    pub(crate) fn reject(&mut self, keep: bool) {
        self.answered += 1;
        if !keep {
            return;
        }
        match self.rejected.last_mut() {
            Some((_, run)) if self.since == 0 && *run < u32::MAX => *run += 1,
            _ => {
                while self.since > u64::from(u32::MAX) {
                    self.rejected.push((u32::MAX, 0));
                    self.since -= u64::from(u32::MAX);
                }
                self.rejected.push((self.since as u32, 1));
            }
        }
        self.since = 0;
    }

    /// The rejected messages as ranges `first..end`, in order.
    pub(crate) fn rejected(&self) -> impl Iterator<Item = std::ops::Range<u64>> {
        let mut at = 0;
        self.rejected.iter().map(move |&(good, bad)| {
            let first = at + u64::from(good);
            at = first + u64::from(bad);
            first..at
        })
    }

    /// Whether the numbers are possible. A run file may come from an untrusted source.
    pub(crate) fn is_consistent(&self) -> bool {
        // A year at thirty thousand messages a second.
        const MAX: u64 = 1 << 40;
        let rejected = self.rejected().last().map_or(0, |range| range.end);
        rejected <= self.answered && self.answered <= self.sent && self.sent <= MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_messages_are_found_again() {
        let mut ack_log = AckLog::default();
        ack_log.send(20);
        ack_log.reject(true);
        ack_log.acknowledge(3);
        ack_log.reject(true);
        ack_log.reject(true);
        ack_log.acknowledge(2);
        assert_eq!(ack_log.rejected().collect::<Vec<_>>(), [0..1, 4..6]);
        assert_eq!((ack_log.sent, ack_log.answered), (20, 8));
        assert_eq!(ack_log.rejected.len(), 2);
        assert!(ack_log.is_consistent());
        ack_log.answered = 5;
        assert!(!ack_log.is_consistent());
    }

    #[test]
    fn runs_longer_than_a_word_are_split() {
        let mut ack_log = AckLog::default();
        let long = u64::from(u32::MAX) + 10;
        ack_log.send(u32::MAX);
        ack_log.send(12);
        ack_log.acknowledge(u32::MAX);
        ack_log.acknowledge(10);
        ack_log.reject(true);
        assert_eq!(ack_log.rejected().last(), Some(long..long + 1));
        assert!(ack_log.is_consistent());
    }

    #[test]
    fn nothing_is_kept_unless_asked_for() {
        let mut ack_log = AckLog::default();
        ack_log.send(1);
        ack_log.reject(false);
        assert_eq!(ack_log.rejected().count(), 0);
        assert_eq!(ack_log.answered, 1);
    }
}
