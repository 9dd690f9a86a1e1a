//! The replies that one client is owed and has not been sent. No I/O: says what to send next, and
//! is told how much of it was taken.

use std::collections::VecDeque;
use std::fmt::Write as _;

use common::protocol::{Framing, OK, Reply};

/// Replies in the order of their messages. Sixteen bytes while only `ok`s are owed.
#[derive(Debug, Default)]
pub struct Replies {
    /// `ok`s at the front.
    oks: u32,
    /// Bytes of the first reply that were sent already.
    taken: u16,
    /// What follows the `ok`s; the first of them is no `ok`. Rare, so it is boxed: one word here
    /// instead of four.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<(Reply, u32)>>>,
}

impl Replies {
    /// Owes `count` more times `reply`.
    pub fn push(&mut self, reply: Reply, count: u32) {
        match &mut self.rest {
            None if reply == Reply::Ok => self.oks += count,
            rest => {
                let rest = rest.get_or_insert_default();
                match rest.back_mut() {
                    Some((last, n)) if *last == reply => *n += count,
                    _ => rest.push_back((reply, count)),
                }
            }
        }
    }

    /// Nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.oks == 0 && self.rest.is_none()
    }

    /// How many replies are owed.
    pub fn len(&self) -> usize {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        self.oks as usize + rest.map(|(_, count)| *count as usize).sum::<usize>()
    }

    /// The bytes to send next: all that is owed, or about as much as [`OKS`](Replies::OKS) holds.
    /// Empty if nothing is owed. `scratch` is lent for what has to be put together.
    pub fn next<'a>(&self, framing: Framing, scratch: &'a mut String) -> &'a [u8] {
        if self.rest.is_none() {
            let (oks, len) = match framing {
                Framing::Line => (OK_LINES.as_slice(), OK.len() + 1),
                Framing::None => (OK_WORDS.as_slice(), OK.len()),
            };
            let count = Self::OKS.min(self.oks as usize);
            return &oks[usize::from(self.taken).min(count * len)..count * len];
        }
        scratch.clear();
        'full: for (reply, count) in self.runs() {
            for _ in 0..count {
                if scratch.len() >= OK_LINES.len() {
                    break 'full;
                }
                // Writing to a String cannot fail.
                _ = write!(scratch, "{reply}{}", framing.terminator());
            }
        }
        &scratch.as_bytes()[usize::from(self.taken)..]
    }

    /// `bytes` of what [`next`](Replies::next) gave were sent: tells `sent` which replies went out
    /// whole, and how many of each.
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
            } + framing.terminator().len();
            let whole = count.min((bytes / len) as u32);
            if whole > 0 {
                self.pop(whole);
                sent(reply, whole);
                bytes -= whole as usize * len;
            }
            if whole < count {
                self.taken = bytes as u16;
                return;
            }
        }
    }

    /// Forgets what is owed: nobody is there to take it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The most `ok`s that go out in one write.
    pub const OKS: usize = 16 * 1024;

    fn runs(&self) -> impl Iterator<Item = (Reply, u32)> {
        let oks = (self.oks > 0).then_some((Reply::Ok, self.oks));
        let rest = self.rest.iter().flat_map(|rest| rest.iter().copied());
        oks.into_iter().chain(rest)
    }

    /// Takes `count` replies off the first run.
    fn pop(&mut self, count: u32) {
        if self.oks > 0 {
            self.oks -= count;
        } else if let Some(rest) = &mut self.rest {
            match rest.front_mut() {
                Some((_, n)) if *n > count => *n -= count,
                _ => _ = rest.pop_front(),
            }
        }
        // Keep the rule that what follows the `ok`s is no `ok`.
        if self.oks == 0
            && let Some(rest) = &mut self.rest
        {
            if let Some((Reply::Ok, n)) = rest.front() {
                self.oks = *n;
                rest.pop_front();
            }
            if rest.is_empty() {
                self.rest = None;
            }
        }
    }
}

static OK_LINES: [u8; Replies::OKS * 3] = repeated(*b"ok\n");
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
        let owed = 3 * Replies::OKS as u32 / 2;
        replies.push(Reply::Ok, owed);
        let (mut scratch, mut bytes, mut count) = (String::new(), 0, 0);
        while !replies.is_empty() {
            let next = replies.next(Framing::Line, &mut scratch);
            assert!(next.starts_with(&b"ok\nok\nok\n"[bytes % 3..][..3]));
            let taken = next.len().min(10_000);
            bytes += taken;
            replies.advance(Framing::Line, taken, |_, n| count += n);
        }
        assert_eq!((bytes, count), (3 * owed as usize, owed));
    }

    proptest! {
        /// Whatever the pieces in which the replies are taken, the bytes are those of the replies
        /// in order, and each reply is told exactly once, when its last byte is out.
        #[test]
        fn in_order_in_any_pieces(
            owed in prop::collection::vec((reply(), 1..5_u32), 0..20),
            pieces in prop::collection::vec(1..200_usize, 1..50),
            framing in prop_oneof![Just(Framing::Line), Just(Framing::None)],
        ) {
            let mut expected = String::new();
            let mut ends = Vec::new();
            let mut replies = Replies::default();
            for &(reply, count) in &owed {
                replies.push(reply, count);
                for _ in 0..count {
                    write!(expected, "{reply}{}", framing.terminator()).unwrap();
                    ends.push((reply, expected.len()));
                }
            }
            prop_assert_eq!(replies.len(), ends.len());
            let (mut stream, mut told, mut scratch) = (Vec::new(), Vec::new(), String::new());
            for piece in pieces.iter().cycle() {
                let next = replies.next(framing, &mut scratch);
                if next.is_empty() {
                    break;
                }
                let taken = next.len().min(*piece);
                stream.extend_from_slice(&next[..taken]);
                replies.advance(framing, taken, |reply, count| {
                    told.extend((0..count).map(|_| reply));
                });
                let due = ends.iter().take_while(|(_, end)| *end <= stream.len());
                prop_assert!(told.iter().eq(due.map(|(reply, _)| reply)));
            }
            prop_assert!(replies.is_empty());
            prop_assert_eq!(String::from_utf8(stream).unwrap(), expected);
        }
    }
}
