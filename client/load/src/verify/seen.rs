//! Set of message numbers.

use std::ops::Range;

use rangemap::RangeSet;

/// The messages of a connection that are in the log, as ranges. A log may contain any number, but
/// takes memory only for its own records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    runs: RangeSet<u64>,
    /// The range that grows, not part of `runs`. Nearly always the next message extends it.
    current: Range<u64>,
    /// The number after the latest message so far.
    pub(crate) next: u64,
}

impl Seen {
    /// Returns false if the number was present already.
    pub(crate) fn insert(&mut self, seq: u64) -> bool {
        if self.has(seq) {
            return false;
        }
        if seq == self.current.end {
            self.current.end += 1;
            return true;
        }
        self.settle();
        self.current = seq..seq + 1;
        true
    }

    pub(crate) fn has(&self, seq: u64) -> bool {
        self.current.contains(&seq) || self.runs.contains(&seq)
    }

    /// How many numbers of `range` are present.
    pub(crate) fn count(&mut self, range: &Range<u64>) -> u64 {
        self.settle();
        if range.is_empty() {
            return 0;
        }
        let inside = self.runs.overlapping(range);
        let counts = inside.map(|run| run.end.min(range.end) - run.start.max(range.start));
        counts.sum()
    }

    /// The first number of `range` that is present.
    pub(crate) fn first(&mut self, range: &Range<u64>) -> Option<u64> {
        self.settle();
        let mut inside = self.runs.overlapping(range);
        let run = inside.next().filter(|_| !range.is_empty())?;
        Some(run.start.max(range.start))
    }

    /// The first number of `range` that is not present.
    pub(crate) fn first_missing(&mut self, range: &Range<u64>) -> Option<u64> {
        self.settle();
        if range.is_empty() {
            return None;
        }
        self.runs.gaps(range).next().map(|gap| gap.start)
    }

    fn settle(&mut self) {
        let current = std::mem::take(&mut self.current);
        if !current.is_empty() {
            self.runs.insert(current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_in_any_range() {
        let mut seen = Seen::default();
        let there = [0, 1, 63, 64, 2, 127, 199, 128, u64::MAX - 2];
        for seq in there {
            assert!(seen.insert(seq));
            assert!(!seen.insert(seq));
        }
        for from in 0..201 {
            for to in from..=201 {
                let range = from..to;
                let inside = |seq: &u64| there.contains(seq);
                assert_eq!(seen.count(&range), range.clone().filter(inside).count() as u64);
                assert_eq!(seen.first(&range), range.clone().find(inside));
                let missing = range.clone().find(|seq| !inside(seq));
                assert_eq!(seen.first_missing(&range), missing, "{range:?}");
            }
        }
        assert_eq!(seen.count(&(0..u64::MAX)), there.len() as u64);
    }
}
