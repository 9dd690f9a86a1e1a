//! The replies that one client is owed. No I/O: it counts the replies that wait for a commit, returns the
//! bytes to send next, and is advanced by the number of bytes taken.

use std::collections::VecDeque;
use std::fmt::Write as _;

use common::protocol::{Framing, OK, Reply};

/// Replies in the order of their messages. 16 bytes while only `ok`s are owed.
#[derive(Debug, Default)]
pub struct Replies {
    /// Replies that wait for the commit of their batch, and the number of runs in which batches hold them.
    staged: u16,
    staged_runs: u16,
    /// `ok`s at the front of the replies that are due.
    oks: u16,
    /// Bytes of the first reply that are already sent.
    taken: u16,
    /// The replies after these `ok`s. Rare, so boxed: one word instead of five.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    /// Runs of equal replies and their lengths. The first run is never `ok`.
    runs: VecDeque<(Reply, u16)>,
    /// The number of these replies.
    count: u16,
}

impl Replies {
    /// The most replies owed to one client. At this number, the client is not read until it has taken some.
    pub const MAX: usize = 16 << 10;

    /// The most runs of equal replies owed to one client. A client that alternates good and bad messages
    /// then costs 3 KiB, not a queue as long as its input.
    pub const MAX_RUNS: usize = 128;

    /// A batch has staged further replies, in this many new runs.
    pub fn stage(&mut self, replies: u16, runs: u16) {
        debug_assert!(replies <= self.room().0 && runs <= self.room().1);
        self.staged += replies;
        self.staged_runs += runs;
    }

    /// A batch is finished: one of its runs, `count` times `reply`, is due.
    pub fn complete(&mut self, reply: Reply, count: u16) {
        self.unstage(count);
        self.push(reply, count);
    }

    /// A batch is finished, but the client cannot take this run of `count` replies.
    pub fn unstage(&mut self, count: u16) {
        debug_assert!(self.staged >= count && self.staged_runs >= 1);
        self.staged -= count;
        self.staged_runs -= 1;
    }

    /// How many more replies may be owed, and in how many more runs.
    pub fn room(&self) -> (u16, u16) {
        let owed = usize::from(self.staged) + self.len();
        let runs = usize::from(self.staged_runs) + self.run_count();
        // An error reply that belongs to no message comes on top.
        debug_assert!(owed <= Self::MAX + 1 && runs <= Self::MAX_RUNS + 1);
        let (replies, runs) = (Self::MAX.saturating_sub(owed), Self::MAX_RUNS.saturating_sub(runs));
        (replies as u16, runs as u16)
    }

    /// One more reply may be owed.
    pub fn have_room(&self) -> bool {
        let (replies, runs) = self.room();
        replies > 0 && runs > 0
    }

    /// The number of replies that are staged and not due yet.
    pub fn staged(&self) -> usize {
        self.staged.into()
    }

    /// Nothing is staged, and all due replies are sent.
    pub fn are_settled(&self) -> bool {
        self.staged == 0 && self.is_empty()
    }

    /// Makes `count` more times `reply` due at once.
    pub fn push(&mut self, reply: Reply, count: u16) {
        match &mut self.rest {
            None if reply == Reply::Ok => self.oks += count,
            rest => {
                let rest = rest.get_or_insert_default();
                rest.count += count;
                match rest.runs.back_mut() {
                    Some((last, n)) if *last == reply => *n += count,
                    _ => rest.runs.push_back((reply, count)),
                }
            }
        }
        debug_assert!(self.len() <= Self::MAX + 1 && self.run_count() <= Self::MAX_RUNS + 1);
    }

    /// Nothing is due.
    pub fn is_empty(&self) -> bool {
        self.oks == 0 && self.rest.is_none()
    }

    /// The number of replies that are due.
    pub fn len(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.count);
        usize::from(self.oks) + usize::from(rest)
    }

    /// The number of runs of equal replies that are due.
    fn run_count(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.runs.len());
        usize::from(self.oks > 0) + rest
    }

    /// The bytes to send next: all replies that are due, up to about the length of [`OKS`](Replies::OKS)
    /// `ok`s. Empty if none is due. `scratch` holds replies that must be formatted.
    pub fn next<'a>(&self, framing: Framing, scratch: &'a mut String) -> &'a [u8] {
        if self.rest.is_none() {
            let (oks, len) = match framing {
                Framing::Line | Framing::Octet => (OK_LINES.as_slice(), OK.len() + 1),
                Framing::Nul => (OK_NULS.as_slice(), OK.len() + 1),
                Framing::None => (OK_WORDS.as_slice(), OK.len()),
            };
            let count = Self::OKS.min(self.oks.into());
            return &oks[usize::from(self.taken).min(count * len)..count * len];
        }
        scratch.clear();
        'full: for (reply, count) in self.runs() {
            for _ in 0..count {
                if scratch.len() >= OK_LINES.len() {
                    break 'full;
                }
                // Writing to a String cannot fail.
                _ = write!(scratch, "{reply}{}", framing.reply_end());
            }
        }
        &scratch.as_bytes()[usize::from(self.taken)..]
    }

    /// Advances by `bytes` of what [`next`](Replies::next) returned. Calls `sent` with each reply that is
    /// sent completely, and how many times.
    pub fn advance(&mut self, framing: Framing, bytes: usize, mut sent: impl FnMut(Reply, u32)) {
        let mut bytes = bytes + usize::from(self.taken);
        self.taken = 0;
        while bytes > 0 {
            let Some((reply, count)) = self.runs().next() else {
                return;
            };
            let len = match reply {
                Reply::Ok => OK.len(),
                reply => reply.to_string().len(),
            } + framing.reply_end().len();
            let whole = usize::from(count).min(bytes / len) as u16;
            if whole > 0 {
                self.pop(whole);
                sent(reply, whole.into());
                bytes -= usize::from(whole) * len;
            }
            if whole < count {
                self.taken = bytes as u16;
                return;
            }
        }
    }

    /// Drops the replies that are due, since the client cannot take them.
    pub fn clear(&mut self) {
        (self.oks, self.taken, self.rest) = (0, 0, None);
    }

    /// Drops the staged replies: the outcome of their messages is unknown, so they stay unanswered.
    pub fn forget_staged(&mut self) {
        (self.staged, self.staged_runs) = (0, 0);
    }

    /// The most `ok`s in one write. More would take a large share of a turn's records.
    pub const OKS: usize = 4 << 10;

    fn runs(&self) -> impl Iterator<Item = (Reply, u16)> {
        let oks = (self.oks > 0).then_some((Reply::Ok, self.oks));
        let rest = self.rest.iter().flat_map(|rest| rest.runs.iter().copied());
        oks.into_iter().chain(rest)
    }

    /// Removes `count` replies from the first run.
    fn pop(&mut self, count: u16) {
        if self.oks > 0 {
            self.oks -= count;
        } else if let Some(rest) = &mut self.rest {
            rest.count -= count;
            match rest.runs.front_mut() {
                Some((_, n)) if *n > count => *n -= count,
                _ => _ = rest.runs.pop_front(),
            }
        }
        // Keep the invariant: the first run after the `ok`s is never `ok`.
        if self.oks == 0
            && let Some(rest) = &mut self.rest
        {
            if let Some((Reply::Ok, n)) = rest.runs.front() {
                (self.oks, rest.count) = (*n, rest.count - *n);
                rest.runs.pop_front();
            }
            if rest.runs.is_empty() {
                debug_assert_eq!(rest.count, 0);
                self.rest = None;
            }
        }
    }
}

static OK_LINES: [u8; Replies::OKS * 3] = repeated(*b"ok\n");
static OK_NULS: [u8; Replies::OKS * 3] = repeated(*b"ok\0");
static OK_WORDS: [u8; Replies::OKS * 2] = repeated(*b"ok");

const fn repeated<const LEN: usize, const TOTAL: usize>(text: [u8; LEN]) -> [u8; TOTAL] {
    let mut bytes = [0; TOTAL];
    let mut at = 0;
    while at < TOTAL {
        bytes[at] = text[at % LEN];
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply() -> impl Strategy<Value = Reply> {
        prop_oneof![
            4 => Just(Reply::Ok),
            1 => Just(Reply::TooLong(8)),
            1 => Just(Reply::Log(28)),
            1 => Just(Reply::ShuttingDown),
        ]
    }

    #[test]
    fn the_common_case_is_small() {
        assert_eq!(size_of::<Replies>(), 16);
    }

    #[test]
    fn more_oks_than_the_static_block_holds() {
        let mut replies = Replies::default();
        let owed = 3 * Replies::OKS as u16 / 2;
        replies.push(Reply::Ok, owed);
        let (mut scratch, mut bytes, mut count) = (String::new(), 0, 0);
        while !replies.is_empty() {
            let next = replies.next(Framing::Line, &mut scratch);
            assert!(next.starts_with(&b"ok\nok\nok\n"[bytes % 3..][..3]));
            let taken = next.len().min(5_000);
            bytes += taken;
            replies.advance(Framing::Line, taken, |_, n| count += n);
        }
        assert_eq!((bytes, count), (3 * usize::from(owed), owed.into()));
    }

    #[test]
    fn alternating_replies_cost_little() {
        let mut replies = Replies::default();
        while replies.run_count() < Replies::MAX_RUNS {
            let reply = [Reply::Ok, Reply::TooLong(8)][replies.run_count() % 2];
            replies.push(reply, 1);
        }
        let rest = replies.rest.as_ref().unwrap();
        let bytes = rest.runs.capacity() * size_of::<(Reply, u16)>();
        assert!(bytes + size_of::<Rest>() <= 4096, "{bytes}");
    }

    proptest! {
        /// However the replies are split, the bytes sent are the replies in order. Each reply is reported
        /// exactly once, when its last byte is sent.
        #[test]
        fn in_order_in_any_pieces(
            owed in prop::collection::vec((reply(), 1..5_u16), 0..20),
            pieces in prop::collection::vec(1..200_usize, 1..50),
            framing in prop_oneof![Just(Framing::Line), Just(Framing::Nul), Just(Framing::None)],
        ) {
            let mut expected = String::new();
            let mut ends = Vec::new();
            let mut replies = Replies::default();
            for &(reply, count) in &owed {
                replies.push(reply, count);
                for _ in 0..count {
                    write!(expected, "{reply}{}", framing.reply_end()).unwrap();
                    ends.push((reply, expected.len()));
                }
            }
            prop_assert_eq!(replies.len(), ends.len());
            prop_assert_eq!(replies.run_count(), replies.runs().count());
            let (mut stream, mut reported, mut scratch) = (Vec::new(), Vec::new(), String::new());
            for piece in pieces.iter().cycle() {
                let next = replies.next(framing, &mut scratch);
                if next.is_empty() {
                    break;
                }
                let taken = next.len().min(*piece);
                stream.extend_from_slice(&next[..taken]);
                replies.advance(framing, taken, |reply, count| {
                    reported.extend((0..count).map(|_| reply));
                });
                let due = ends.iter().take_while(|(_, end)| *end <= stream.len());
                prop_assert!(reported.iter().eq(due.map(|(reply, _)| reply)));
            }
            prop_assert!(replies.is_empty());
            prop_assert_eq!(String::from_utf8(stream).unwrap(), expected);
        }
    }
}
