//! Framing: splits the bytes that a client sends into messages. No I/O: bytes in, messages out.

use std::ops::Range;

use memchr::{Memchr, memchr_iter};

use common::protocol::Framing;

/// The framing and the size limit of messages.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How messages are separated.
    pub framing: Framing,
    /// The longest message in bytes, without its line end.
    pub max_message: usize,
}

/// The most digits of a length. 10 digits are enough for every limit that `-max-message` allows.
const MAX_DIGITS: usize = 10;

/// The beginning of octet-counted input.
enum Counted {
    /// A message, or the beginning of one.
    Message(Range<usize>),
    /// More input is needed.
    Unknown,
    /// Not a length, or one above the limit.
    Bad,
}

impl Rules {
    /// Strips the CR before an LF. Other framings have none.
    fn without_cr(self, line: &[u8]) -> &[u8] {
        match self.framing {
            Framing::Line => line.strip_suffix(b"\r").unwrap_or(line),
            _ => line,
        }
    }

    /// The most bytes held of an unfinished message.
    pub(crate) const fn most_held(self) -> usize {
        match self.framing {
            // The digits of its length and the space after them.
            Framing::Octet => self.max_message + MAX_DIGITS + 1,
            _ => self.max_message + 1,
        }
    }

    /// Parses the length at the beginning of the input: `LENGTH SP` (RFC 6587, section 3.4.1).
    fn counted(self, input: &[u8]) -> Counted {
        let digits = input.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > MAX_DIGITS {
            return Counted::Bad;
        }
        match input.get(digits) {
            None => return Counted::Unknown,
            Some(b' ') if digits > 0 => {}
            Some(_) => return Counted::Bad,
        }
        let length =
            input[..digits].iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
        if length > self.max_message {
            return Counted::Bad;
        }
        let begin = digits + 1;
        Counted::Message(begin..begin + length)
    }
}

/// A frame that the framer found.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A complete message, without its line end.
    Message(&'a [u8]),
    /// The end of a message that was skipped because it is over the limit.
    TooLong,
    /// Octet counting: an invalid length. The next message cannot be located, so no frame follows.
    BadLength,
}

/// Input of one client that is held: the beginning of a message, or the rest of an input whose frames were
/// not all taken. 8 bytes while nothing is held.
#[derive(Debug, Default)]
pub struct Framer {
    held: Option<Box<Held>>,
}

#[derive(Debug)]
enum Held {
    /// An unfinished message.
    Unfinished(Unfinished),
    /// Input that was not searched for frames yet.
    Unread(Vec<u8>),
}

#[derive(Debug, Default)]
struct Unfinished {
    /// The message so far. One byte over the limit may turn out to be the CR of the line end.
    bytes: Vec<u8>,
    /// The message is over the limit: it is discarded until its end.
    skipping: bool,
}

impl Framer {
    /// The frames that end in the next `input`, which must not be empty. When `Frames` is dropped, the
    /// input after the last frame taken is held. It must be [taken](Framer::take_unread) before any other
    /// input.
    ///
    /// The framer holds at most `max_message + 1` bytes of an unfinished message (with octet counting also
    /// its length), or at most `input.len()` bytes of unsearched input.
    pub fn frames<'a>(&'a mut self, rules: Rules, input: &'a [u8]) -> Frames<'a> {
        debug_assert!(!input.is_empty() && !self.has_unread());
        Frames::new(self, rules, input, LineEnd::Lf)
    }

    /// The frame that the end of the input leaves, if any. A line without LF or NUL is a message too, and a
    /// CR at its end belongs to it. An incomplete octet-counted message is a [`Frame::BadLength`].
    pub fn last_frame(&mut self, rules: Rules) -> Frames<'_> {
        debug_assert!(!self.has_unread(), "the end comes after all input");
        Frames::new(self, rules, &[], LineEnd::Missing)
    }

    /// Earlier input may still hold frames.
    pub fn has_unread(&self) -> bool {
        matches!(self.held.as_deref(), Some(Held::Unread(_)))
    }

    /// The unsearched input, which must be searched next.
    pub fn take_unread(&mut self) -> Vec<u8> {
        debug_assert!(self.has_unread());
        match self.held.take().map(|held| *held) {
            Some(Held::Unread(bytes)) => bytes,
            _ => Vec::new(),
        }
    }

    /// Holds input that is to be searched for frames next.
    pub fn put_back(&mut self, input: Vec<u8>) {
        debug_assert!(self.held.is_none(), "what began before comes first");
        if !input.is_empty() {
            self.held = Some(Box::new(Held::Unread(input)));
        }
    }

    /// An unfinished message is held.
    pub fn is_within_message(&self) -> bool {
        matches!(self.held.as_deref(), Some(Held::Unfinished(_)))
    }

    /// Drops what is held.
    pub fn discard(&mut self) {
        self.held = None;
    }

    /// Bytes of memory that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        match self.held.as_deref() {
            None => 0,
            Some(Held::Unfinished(unfinished)) => unfinished.bytes.capacity(),
            Some(Held::Unread(bytes)) => bytes.capacity(),
        }
    }
}

/// The frames of an input, one after another.
#[derive(Debug)]
pub struct Frames<'a> {
    framer: &'a mut Framer,
    rules: Rules,
    input: &'a [u8],
    line_ends: Memchr<'a>,
    /// What the framer held before this input.
    begun: Option<Box<Held>>,
    /// A message that began in an earlier input, borrowed by the last frame.
    whole: Option<Box<Held>>,
    /// The first frame is no line of this input: it began earlier, or the framing has no lines.
    begins_otherwise: bool,
    /// The position up to which the input is handled.
    at: usize,
    end: LineEnd,
}

impl<'a> Frames<'a> {
    fn new(framer: &'a mut Framer, rules: Rules, input: &'a [u8], end: LineEnd) -> Self {
        let begun = framer.held.take();
        let has_lines = matches!(rules.framing, Framing::Line | Framing::Nul);
        let line_end = match rules.framing {
            Framing::Nul => 0,
            _ => b'\n',
        };
        Self {
            begins_otherwise: begun.is_some() || !has_lines,
            begun,
            whole: None,
            framer,
            rules,
            input,
            line_ends: memchr_iter(line_end, input),
            at: 0,
            end,
        }
    }

    /// The next frame, if there is one.
    // Runs once for every message. Inlined, it saves a tenth of the time per message.
    #[inline(always)]
    #[allow(clippy::should_implement_trait, reason = "a frame is lent until the next")]
    #[allow(clippy::inline_always, reason = "measured")]
    pub fn next(&mut self) -> Option<Frame<'_>> {
        if self.begins_otherwise {
            return self.first();
        }
        let Some(end) = self.line_ends.next() else {
            self.keep_unfinished(Unfinished::default());
            return None;
        };
        let line = &self.input[self.at..end];
        self.at = end + 1;
        Some(frame(self.rules, self.rules.without_cr(line)))
    }

    /// The first frame if it is no line of this input.
    #[cold]
    fn first(&mut self) -> Option<Frame<'_>> {
        match self.rules.framing {
            Framing::Line | Framing::Nul => {
                self.begins_otherwise = false;
                self.end_what_begun()
            }
            Framing::Octet => self.counted(),
            Framing::None => {
                // First bytes that were held can be longer than one read.
                let rest = &self.input[self.at..];
                let message = &rest[..rest.len().min(self.rules.max_message)];
                self.at += message.len();
                (!message.is_empty()).then_some(Frame::Message(message))
            }
        }
    }

    /// The next message with a length before it.
    fn counted(&mut self) -> Option<Frame<'_>> {
        // What was held before this input comes first, and only once.
        let mut begun = match self.begun.take().map(|held| *held) {
            Some(Held::Unfinished(unfinished)) => unfinished,
            _ => Unfinished::default(),
        };
        let rest = &self.input[self.at..];
        if begun.bytes.is_empty() {
            match self.rules.counted(rest) {
                Counted::Message(range) if range.end <= rest.len() => {
                    self.at += range.end;
                    return Some(Frame::Message(&rest[range]));
                }
                Counted::Bad => return Some(self.lose_count()),
                _ if self.end == LineEnd::Missing => return None,
                _ => self.keep_unfinished(begun),
            }
            return None;
        }
        if self.end == LineEnd::Missing {
            return Some(self.lose_count());
        }
        // The length itself may be split over several inputs.
        let range = loop {
            match self.rules.counted(&begun.bytes) {
                Counted::Message(range) => break range,
                Counted::Bad => return Some(self.lose_count()),
                Counted::Unknown if self.at == self.input.len() => {
                    self.framer.held = Some(Box::new(Held::Unfinished(begun)));
                    return None;
                }
                Counted::Unknown => {
                    begun.bytes.push(self.input[self.at]);
                    self.at += 1;
                }
            }
        };
        let missing = range.end - begun.bytes.len();
        let taken = missing.min(self.input.len() - self.at);
        begun.extend(self.rules, &self.input[self.at..self.at + taken]);
        self.at += taken;
        let begun = Box::new(Held::Unfinished(begun));
        if taken < missing {
            self.framer.held = Some(begun);
            return None;
        }
        match &**self.whole.insert(begun) {
            Held::Unfinished(whole) => Some(Frame::Message(&whole.bytes[range])),
            Held::Unread(_) => None,
        }
    }

    /// Nothing that follows can be parsed.
    fn lose_count(&mut self) -> Frame<'static> {
        self.at = self.input.len();
        Frame::BadLength
    }

    /// The frame that began before this input and ends in it or at its end.
    fn end_what_begun(&mut self) -> Option<Frame<'_>> {
        let line_end = self.line_ends.next();
        if line_end.is_none() && self.end == LineEnd::Lf {
            if let Some(Held::Unfinished(unfinished)) = self.begun.take().map(|held| *held) {
                self.keep_unfinished(unfinished);
            }
            return None;
        }
        let len = line_end.unwrap_or(self.input.len());
        // One byte past an empty input means that the held message is handled.
        self.at = len + 1;
        match self.begun.as_deref_mut() {
            Some(Held::Unfinished(unfinished)) => {
                unfinished.extend(self.rules, &self.input[..len]);
                Some(unfinished.frame(self.rules, self.end))
            }
            _ => None,
        }
    }

    /// Holds a message that does not end in this input.
    fn keep_unfinished(&mut self, mut unfinished: Unfinished) {
        if self.at < self.input.len() {
            unfinished.extend(self.rules, &self.input[self.at..]);
            self.at = self.input.len();
            self.framer.held = Some(Box::new(Held::Unfinished(unfinished)));
        }
    }
}

impl Drop for Frames<'_> {
    fn drop(&mut self) {
        if self.at < self.input.len() {
            let unread = self.input[self.at..].to_vec();
            self.framer.held = Some(Box::new(Held::Unread(unread)));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Lf,
    Missing,
}

impl Unfinished {
    fn extend(&mut self, rules: Rules, input: &[u8]) {
        let (len, most) = (self.bytes.len() + input.len(), rules.most_held());
        self.skipping |= len > most;
        if self.skipping {
            self.bytes = Vec::new();
            return;
        }
        if len > self.bytes.capacity() {
            // Doubled, as vectors grow, but never more than can be used.
            let capacity = (2 * self.bytes.capacity()).clamp(len, most);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(input);
        debug_assert!(self.bytes.capacity() <= most);
    }

    fn frame(&self, rules: Rules, end: LineEnd) -> Frame<'_> {
        match (self.skipping, end) {
            (true, _) => Frame::TooLong,
            (false, LineEnd::Lf) => frame(rules, rules.without_cr(&self.bytes)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules { framing: Framing::Line, max_message: 8 };

    /// A frame that owns its bytes; `None` stands for one that was too long.
    type Found = Option<Vec<u8>>;

    fn found(frame: &Frame<'_>) -> Found {
        match frame {
            Frame::Message(bytes) => Some(bytes.to_vec()),
            Frame::TooLong | Frame::BadLength => None,
        }
    }

    /// Feeds the chunks and then the end of file.
    fn frames<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Found> {
        frames_at_most(RULES, usize::MAX, chunks)
    }

    /// The same by other rules, taking at most `most` frames at once.
    fn frames_at_most<'a>(
        rules: Rules,
        most: usize,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<Found> {
        let mut framer = Framer::default();
        let mut all = Vec::new();
        let mut fetch = |frames: &mut Frames<'_>| {
            for _ in 0..most {
                match frames.next() {
                    Some(frame) => all.push(found(&frame)),
                    None => break,
                }
            }
        };
        for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()) {
            fetch(&mut framer.frames(rules, chunk));
            while framer.has_unread() {
                assert!(framer.held_bytes() <= chunk.len());
                let unread = framer.take_unread();
                fetch(&mut framer.frames(rules, &unread));
            }
            assert!(framer.held_bytes() <= rules.most_held());
        }
        fetch(&mut framer.last_frame(rules));
        assert_eq!(framer.held_bytes(), 0);
        all
    }

    /// The contract in its simplest form: split the whole input at its LFs.
    fn model(input: &[u8]) -> Vec<Found> {
        let mut lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
        let last = lines.pop().filter(|last| !last.is_empty());
        let ended = lines.into_iter().map(|line| RULES.without_cr(line));
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
            let expected: Vec<Found> =
                expected.iter().map(|found| found.map(<[u8]>::to_vec)).collect();
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
        let rules = Rules { framing: Framing::None, ..RULES };
        let mut framer = Framer::default();
        let mut all = Vec::new();
        for chunk in [&b"a\r\nb\n"[..], b"longer than the limit"] {
            let mut cut = framer.frames(rules, chunk);
            while let Some(frame) = cut.next() {
                all.push(found(&frame));
            }
        }
        assert_eq!(framer.last_frame(rules).next(), None, "nothing can be left");
        // First bytes that were held can be more than one message.
        let expected = [&b"a\r\nb\n"[..], b"longer t", b"han the ", b"limit"];
        assert_eq!(all, expected.map(|bytes| Some(bytes.to_vec())));
    }

    proptest! {
        #[test]
        fn any_input_in_any_pieces_equals_the_model(
            input in prop::collection::vec(
                prop_oneof![3 => Just(b'\n'), 2 => Just(b'\r'), 8 => any::<u8>()], 0..200),
            cuts in prop::collection::vec(0..200_usize, 0..20),
            most in prop_oneof![1..5_usize, Just(usize::MAX)],
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]);
            prop_assert_eq!(frames_at_most(RULES, most, chunks), model(&input));
        }

        #[test]
        fn counted_messages_in_any_pieces_are_what_was_counted(
            messages in prop::collection::vec(
                prop::collection::vec(any::<u8>(), 0..9), 0..20),
            tail in prop::sample::select(vec![
                &b""[..], b"x", b" 1", b"9 ", b"3 ab", b"12345678901", b"2", b"-1 a", b"\n"]),
            cuts in prop::collection::vec(0..200_usize, 0..20),
            most in prop_oneof![1..5_usize, Just(usize::MAX)],
        ) {
            let rules = Rules { framing: Framing::Octet, ..RULES };
            let mut input = Vec::new();
            for message in &messages {
                let from = input.len();
                input.extend_from_slice(message);
                Framing::Octet.finish_message(&mut input, from);
            }
            input.extend_from_slice(tail);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let mut expected: Vec<Found> = messages.into_iter().map(Some).collect();
            // An invalid length is reported once, whatever it is.
            expected.extend((!tail.is_empty()).then_some(None));
            let chunks = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]);
            let mut found = frames_at_most(rules, most, chunks);
            // The connection is closed after it, so later frames mean nothing.
            found.truncate(expected.len());
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn nul_ends_a_message_and_nothing_else_does() {
        let rules = Rules { framing: Framing::Nul, ..RULES };
        let input = b"a\nb\r\0\x00123456789\0last\r";
        let expected = [Some(&b"a\nb\r"[..]), Some(b""), None, Some(b"last\r")];
        let expected = expected.map(|found| found.map(<[u8]>::to_vec));
        for len in 1..input.len() {
            let chunks = input.chunks(len);
            assert_eq!(frames_at_most(rules, usize::MAX, chunks), expected);
        }
    }
}
