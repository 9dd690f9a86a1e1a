//! The position in a stream, and whether it is still the same stream.

use std::ops::RangeInclusive;

use crate::jetstream::{StreamInfo, StreamState};

/// The message that is read first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first message of the stream.
    First,
    /// The last N messages, perhaps with some before them. 0: only new messages.
    Last(u64),
    /// The first message that was stored at this time (RFC 3339) or later.
    Time(String),
}

/// The position in a stream.
#[derive(Debug)]
pub(super) struct StreamPosition {
    /// When the stream was created.
    created: String,
    /// The next sequence. Every earlier message was returned or does not exist any more.
    next: u64,
    /// The last sequence when the state was last queried.
    end: u64,
}

/// The difference between a stream and the one that was read before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is another stream.
    Remade,
    /// It ends at this sequence, before the end of what was read.
    Shorter(u64),
}

impl StreamPosition {
    pub(super) fn new(info: &StreamInfo, start: &Start) -> Self {
        let mut position = Self { created: info.created.clone(), next: 1, end: 0 };
        position.extend(&info.state);
        position.next = first(&info.state, start);
        position
    }

    /// Extends the end to the present end of the stream.
    pub(super) fn extend(&mut self, state: &StreamState) {
        self.end = state.last_seq;
    }

    /// Whether this is the stream that was read before.
    pub(super) fn check(&self, info: &StreamInfo) -> Result<(), Wrong> {
        if info.created != self.created {
            return Err(Wrong::Remade);
        }
        match info.state.last_seq {
            last if last < self.next - 1 => Err(Wrong::Shorter(last)),
            _ => Ok(()),
        }
    }

    /// The sequence of the next message to return.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Skips all messages before this sequence.
    pub(super) fn begin_at(&mut self, sequence: u64) {
        self.next = self.next.max(sequence);
    }

    /// Moves to this sequence. Returns the skipped messages, which do not exist any more.
    pub(super) fn arrive_at(&mut self, sequence: u64) -> Option<RangeInclusive<u64>> {
        let removed = self.next..=sequence.checked_sub(1)?;
        self.next = self.next.max(sequence);
        (!removed.is_empty()).then_some(removed)
    }

    /// Moves past this sequence: its message was returned.
    pub(super) fn pass(&mut self, sequence: u64) {
        debug_assert!(sequence >= self.next, "no message is returned twice");
        self.next = sequence.saturating_add(1);
    }

    /// Whether all messages were returned that existed when the end was last set.
    pub(super) fn is_done(&self) -> bool {
        self.next > self.end
    }
}

fn first(state: &StreamState, start: &Start) -> u64 {
    // The first message of a stream has the sequence 1; `first_seq` may be 0 in a stream that was always
    // empty.
    let first = state.first_seq.max(1);
    let end = state.last_seq.saturating_add(1);
    // If messages were removed from the middle, the start of the last N is unknown.
    let is_dense = end == state.first_seq.saturating_add(state.messages);
    match start {
        Start::Last(0) => end,
        Start::Last(n) if is_dense => first.max(end.saturating_sub(*n)),
        Start::First | Start::Last(_) | Start::Time(_) => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(created: &str, first_seq: u64, last_seq: u64, messages: u64) -> StreamInfo {
        StreamInfo {
            created: created.to_owned(),
            state: StreamState { messages, first_seq, last_seq, ..StreamState::default() },
            ..StreamInfo::default()
        }
    }

    #[test]
    fn it_begins_where_it_is_told_to() {
        let (all, empty, purged) = (info("", 3, 9, 7), info("", 0, 0, 0), info("", 10, 9, 0));
        let holes = info("", 3, 9, 5);
        for (stream, start, next, is_done) in [
            (&all, Start::First, 3, false),
            (&all, Start::Last(2), 8, false),
            (&all, Start::Last(100), 3, false),
            (&all, Start::Last(0), 10, true),
            (&holes, Start::Last(2), 3, false),
            (&holes, Start::Last(0), 10, true),
            (&empty, Start::First, 1, true),
            (&empty, Start::Last(2), 1, true),
            (&purged, Start::First, 10, true),
            (&purged, Start::Last(1), 10, true),
        ] {
            let position = StreamPosition::new(stream, &start);
            assert_eq!((position.next(), position.is_done()), (next, is_done), "{start:?}");
        }
        let mut later = StreamPosition::new(&all, &Start::Time(String::new()));
        later.begin_at(6);
        assert_eq!((later.next(), later.arrive_at(6)), (6, None));
    }

    #[test]
    fn what_is_not_there_is_told_once() {
        let mut position = StreamPosition::new(&info("", 1, 9, 9), &Start::First);
        assert_eq!(position.arrive_at(1), None);
        position.pass(1);
        assert_eq!(position.arrive_at(5), Some(2..=4));
        assert_eq!(position.arrive_at(5), None, "reported already");
        position.pass(5);
        assert!(!position.is_done());
        assert_eq!(position.arrive_at(10), Some(6..=9));
        assert!(position.is_done());
        position.extend(&info("", 1, 12, 9).state);
        assert!(!position.is_done());
    }

    #[test]
    fn another_stream_is_detected() {
        let mut position = StreamPosition::new(&info("monday", 1, 3, 3), &Start::First);
        position.pass(1);
        position.pass(2);
        assert_eq!(position.check(&info("monday", 1, 2, 2)), Ok(()));
        assert_eq!(position.check(&info("monday", 1, 1, 1)), Err(Wrong::Shorter(1)));
        assert_eq!(position.check(&info("friday", 1, 9, 9)), Err(Wrong::Remade));
        let new = StreamPosition::new(&info("monday", 0, 0, 0), &Start::First);
        assert_eq!(new.check(&info("monday", 0, 0, 0)), Ok(()));
    }
}
