//! Cuts the bytes that a client sends into messages. No I/O: bytes in, messages out.

use common::protocol::Framing;
use memchr::{memchr, memchr_iter};

/// What makes a message.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How messages are told apart.
    pub framing: Framing,
    /// The longest message in bytes, its line end not counted.
    pub max_message: usize,
}

/// What the framer found.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message, its line end left out.
    Message(&'a [u8]),
    /// The end of a message that was skipped because it is longer than the rules allow.
    TooLong,
}

/// What one client has begun to send and not yet ended. Eight bytes while there is nothing.
#[derive(Debug, Default)]
pub struct Framer {
    unfinished: Option<Box<Unfinished>>,
}

#[derive(Debug, Default)]
struct Unfinished {
    /// The message so far. One byte over the limit may turn out to be the CR of the line end.
    bytes: Vec<u8>,
    /// The message is over the limit already: forget it, and wait for its end.
    skipping: bool,
}

impl Framer {
    /// Takes the next `input`, which must not be empty, and hands every frame that ends in it to
    /// `each`. Keeps at most `max_message + 1` bytes of a message that does not.
    pub fn feed(&mut self, rules: Rules, input: &[u8], mut each: impl FnMut(Frame<'_>)) {
        if rules.framing == Framing::None {
            each(Frame::Message(input));
            return;
        }
        let mut start = 0;
        if let Some(mut unfinished) = self.unfinished.take() {
            let Some(end) = memchr(b'\n', input) else {
                unfinished.extend(rules, input);
                self.unfinished = Some(unfinished);
                return;
            };
            unfinished.extend(rules, &input[..end]);
            each(unfinished.frame(rules, LineEnd::Lf));
            start = end + 1;
        }
        let rest = &input[start..];
        let mut start = 0;
        for end in memchr_iter(b'\n', rest) {
            each(frame(rules, without_cr(&rest[start..end])));
            start = end + 1;
        }
        if start < rest.len() {
            let mut unfinished = Box::<Unfinished>::default();
            unfinished.extend(rules, &rest[start..]);
            self.unfinished = Some(unfinished);
        }
    }

    /// Ends the input: what was not ended by a LF is a message all the same, and a CR at its end
    /// belongs to it.
    pub fn finish(&mut self, rules: Rules, each: impl FnOnce(Frame<'_>)) {
        if let Some(unfinished) = self.unfinished.take() {
            each(unfinished.frame(rules, LineEnd::Missing));
        }
    }

    /// Drops the unfinished message, if there is one.
    pub fn discard(&mut self) {
        self.unfinished = None;
    }

    /// Bytes of memory kept for the unfinished message.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.unfinished
            .as_ref()
            .map_or(0, |unfinished| unfinished.bytes.capacity())
    }
}

#[derive(Clone, Copy)]
enum LineEnd {
    Lf,
    Missing,
}

impl Unfinished {
    fn extend(&mut self, rules: Rules, input: &[u8]) {
        let (len, most) = (self.bytes.len() + input.len(), rules.max_message + 1);
        self.skipping |= len > most;
        if self.skipping {
            self.bytes = Vec::new();
            return;
        }
        if len > self.bytes.capacity() {
            // Twice as much as before, as vectors grow, but never more than can be used.
            let capacity = (2 * self.bytes.capacity()).clamp(len, most);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(input);
    }

    fn frame(&self, rules: Rules, end: LineEnd) -> Frame<'_> {
        match (self.skipping, end) {
            (true, _) => Frame::TooLong,
            (false, LineEnd::Lf) => frame(rules, without_cr(&self.bytes)),
            (false, LineEnd::Missing) => frame(rules, &self.bytes),
        }
    }
}

fn frame(rules: Rules, message: &[u8]) -> Frame<'_> {
    if message.len() > rules.max_message {
        return Frame::TooLong;
    }
    Frame::Message(message)
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules {
        framing: Framing::Line,
        max_message: 8,
    };

    /// A frame that owns its bytes; `None` is one that was too long.
    type Found = Option<Vec<u8>>;

    fn found(frame: &Frame<'_>) -> Found {
        match frame {
            Frame::Message(bytes) => Some(bytes.to_vec()),
            Frame::TooLong => None,
        }
    }

    /// Feeds the chunks and then the end of file.
    fn frames<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Found> {
        let mut framer = Framer::default();
        let mut all = Vec::new();
        for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()) {
            framer.feed(RULES, chunk, |frame| all.push(found(&frame)));
            assert!(framer.held() <= RULES.max_message + 1);
        }
        framer.finish(RULES, |frame| all.push(found(&frame)));
        assert_eq!(framer.held(), 0);
        all
    }

    /// The contract said in the plainest way: split the whole input at its LFs.
    fn model(input: &[u8]) -> Vec<Found> {
        let mut lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
        let last = lines.pop().filter(|last| !last.is_empty());
        let ended = lines.into_iter().map(without_cr);
        ended
            .chain(last)
            .map(|message| (message.len() <= RULES.max_message).then(|| message.to_vec()))
            .collect()
    }

    #[test]
    fn line_ends() {
        for (input, expected) in [
            (&b""[..], &[][..]),
            (b"a\n", &[Some(&b"a"[..])]),
            (b"a\r\n", &[Some(b"a")]),
            (b"a\r\r\n", &[Some(b"a\r")]),
            (b"a\rb\n", &[Some(b"a\rb")]),
            (b"\n\r\n", &[Some(b""), Some(b"")]),
            (b"a", &[Some(b"a")]),
            (b"a\r", &[Some(b"a\r")]),
            (b"a\0b\n", &[Some(b"a\0b")]),
            (b"12345678\r\n", &[Some(b"12345678")]),
            (b"12345678\r", &[None]),
            (b"123456789\n", &[None]),
            (b"123456789", &[None]),
            (b"1234567890123\r\nb\n", &[None, Some(b"b")]),
        ] {
            let expected: Vec<Found> = expected
                .iter()
                .map(|found| found.map(<[u8]>::to_vec))
                .collect();
            assert_eq!(frames([input]), expected, "{input:?}");
            assert_eq!(frames(input.chunks(1)), expected, "{input:?} byte by byte");
            assert_eq!(model(input), expected, "the model, {input:?}");
        }
    }

    #[test]
    fn every_split_point_of_a_long_mixed_input() {
        let input = b"one\ntwo\r\n\n\r\n\0\xff\rthree\n12345678\r\n123456789\n\
            1234567890123456\r\nlast\rone\\\n \n12345678\r\r\n\r\r\nend without a line end\r";
        let expected = model(input);
        for first in 0..input.len() {
            for second in first..input.len() {
                let (a, rest) = input.split_at(first);
                let (b, c) = rest.split_at(second - first);
                assert_eq!(frames([a, b, c]), expected, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn unframed_input_is_a_message_as_it_comes() {
        let rules = Rules {
            framing: Framing::None,
            ..RULES
        };
        let mut framer = Framer::default();
        let mut all = Vec::new();
        for chunk in [&b"a\r\nb\n"[..], b"longer than the limit"] {
            framer.feed(rules, chunk, |frame| all.push(found(&frame)));
        }
        framer.finish(rules, |_| panic!("nothing can be left"));
        let expected = [&b"a\r\nb\n"[..], b"longer than the limit"];
        assert_eq!(all, expected.map(|bytes| Some(bytes.to_vec())));
    }

    proptest! {
        #[test]
        fn any_input_in_any_pieces_equals_the_model(
            input in prop::collection::vec(
                prop_oneof![3 => Just(b'\n'), 2 => Just(b'\r'), 8 => any::<u8>()], 0..200),
            cuts in prop::collection::vec(0..200_usize, 0..20),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]);
            prop_assert_eq!(frames(chunks), model(&input));
        }
    }
}
