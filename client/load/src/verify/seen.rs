//! A set of message numbers.

use std::ops::Range;

/// Which messages of a connection are in the log: a bit each.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    bits: Vec<u64>,
    /// After the latest message so far.
    pub(crate) next: u64,
}

impl Seen {
    /// False if it was there already. `sent` is how many there can be.
    pub(crate) fn insert(&mut self, seq: u64, sent: u64) -> bool {
        if self.bits.is_empty() {
            self.bits = vec![0; sent.div_ceil(64) as usize];
        }
        let word = &mut self.bits[(seq / 64) as usize];
        let bit = 1 << (seq % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(crate) fn has(&self, seq: u64) -> bool {
        let word = self.bits.get((seq / 64) as usize);
        word.is_some_and(|word| word & (1 << (seq % 64)) != 0)
    }

    pub(crate) fn count(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (first, last) = (range.start / 64, (range.end - 1) / 64);
        let words = self.bits.iter().enumerate();
        let words = words.take(last as usize + 1).skip(first as usize);
        let bits = words.map(|(at, &word)| {
            let mut word = word;
            if at as u64 == first {
                word &= u64::MAX << (range.start % 64);
            }
            if at as u64 == last {
                word &= u64::MAX >> (63 - (range.end - 1) % 64);
            }
            u64::from(word.count_ones())
        });
        bits.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_in_any_range() {
        let mut seen = Seen::default();
        for seq in [0, 63, 64, 127, 128, 199] {
            assert!(seen.insert(seq, 200));
            assert!(!seen.insert(seq, 200));
        }
        for from in 0..200 {
            for to in from..=200 {
                let expected = (from..to).filter(|&seq| seen.has(seq)).count() as u64;
                assert_eq!(seen.count(from..to), expected, "{from}..{to}");
            }
        }
    }
}
