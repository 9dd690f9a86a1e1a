//! Parser of a server's replies. No I/O.

use common::protocol::Framing;
use common::record::printable;
use serde::{Deserialize, Serialize};

/// Maximum number of bytes kept of an incomplete line: enough to compare and to print.
const KEPT: usize = 512;

/// Maximum length of `Expected::usual`, in bytes.
const USUAL: usize = 128;

/// The form of a good reply, shared by all connections of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// The byte that ends a line.
    end: u8,
    prefix: Vec<u8>,
    /// The number of lines of a good reply.
    lines: u32,
    /// Lines with these prefixes are not replies (NATS: `PING`).
    ignored: Vec<Vec<u8>>,
    /// The last good reply, line end included. The next one is most likely the same.
    usual: Vec<u8>,
}

/// The state of the parser for one connection.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// The start of an incomplete line.
    line: Vec<u8>,
    /// Lines of the greeting that are missing before the first reply.
    greeting: u32,
    /// Lines of the current reply that are missing.
    more: u32,
    /// Lines of the current reply in total.
    lines: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// This many good replies in a row.
    Good(u32),
    /// An error reply, without its line end.
    Error(&'a [u8]),
}

impl Expected {
    pub(crate) fn new(
        framing: Framing,
        prefix: Vec<u8>,
        lines: u32,
        ignored: Vec<Vec<u8>>,
    ) -> Self {
        Self {
            end: framing.reply_end().bytes().next().unwrap_or(b'\n'),
            prefix,
            lines,
            ignored,
            usual: Vec::new(),
        }
    }

    fn ignores(&self, line: &[u8]) -> bool {
        self.ignored.iter().any(|prefix| line.starts_with(prefix))
    }
}

impl Replies {
    /// A parser that skips `greeting` lines before the first reply.
    pub(crate) fn after_greeting(greeting: u32) -> Self {
        Self { greeting, ..Self::default() }
    }

    /// Whether the greeting is complete.
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeting == 0
    }

    /// Appends to `what` how much of a reply had come.
    pub(crate) fn say_how_far(&self, what: &str) -> String {
        if self.more > 0 {
            let (came, all) = (self.lines - self.more, self.lines);
            return format!("{what}: {came} of {all} lines came");
        }
        if !self.line.is_empty() {
            return format!("{what}: a line came without its end");
        }
        what.to_owned()
    }

    /// Takes received bytes, split anywhere, and calls `each` for complete replies.
    pub(crate) fn feed(
        &mut self,
        expected: &mut Expected,
        mut bytes: &[u8],
        mut each: impl FnMut(Reply<'_>),
    ) {
        while !bytes.is_empty() {
            if self.is_between_replies() {
                let usual = count_prefixes(&mut bytes, &expected.usual);
                if usual > 0 {
                    each(Reply::Good(usual));
                    continue;
                }
            }
            let Some(end) = memchr::memchr(expected.end, bytes) else {
                self.keep(bytes, expected);
                return;
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.line.is_empty() {
                self.end_line(line, expected, &mut each);
                continue;
            }
            self.keep(line, expected);
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, expected, &mut each);
        }
    }

    fn is_between_replies(&self) -> bool {
        self.line.is_empty() && self.more == 0 && self.greeting == 0
    }

    fn keep(&mut self, piece: &[u8], expected: &Expected) {
        let room = KEPT.max(expected.prefix.len() + 2) - self.line.len();
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn end_line(&mut self, line: &[u8], expected: &mut Expected, each: &mut impl FnMut(Reply<'_>)) {
        if self.greeting > 0 {
            self.greeting -= 1;
            return;
        }
        if self.more > 0 {
            self.more -= 1;
            if self.more == 0 {
                each(Reply::Good(1));
            }
            return;
        }
        if expected.ignores(line) {
            return;
        }
        if !line.starts_with(&expected.prefix) {
            let line = line.strip_suffix(&[expected.end]).unwrap_or(line);
            each(Reply::Error(line.trim_ascii_end()));
            return;
        }
        if expected.lines > 1 {
            self.more = expected.lines - 1;
            self.lines = expected.lines;
            return;
        }
        if line.len() <= USUAL && line.ends_with(&[expected.end]) {
            expected.usual.clear();
            expected.usual.extend_from_slice(line);
        }
        each(Reply::Good(1));
    }
}

/// How often `prefix` repeats at the start of `bytes`. Removes the repeats.
fn count_prefixes(bytes: &mut &[u8], prefix: &[u8]) -> u32 {
    if prefix.is_empty() {
        return 0;
    }
    let same = bytes.chunks_exact(prefix.len()).take_while(|&chunk| chunk == prefix).count();
    *bytes = &bytes[same * prefix.len()..];
    same as u32
}

/// Error replies counted by kind. The number of kinds is bounded.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorKinds {
    kinds: Vec<ErrorKind>,
}

/// A kind of error and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorKind {
    /// The reply's first word, and the second if the first is `error`. Escaped for printing.
    pub(crate) kind: String,
    pub(crate) count: u64,
    /// The first of them, shortened and escaped for printing.
    pub(crate) first: String,
}

impl ErrorKinds {
    const MAX: usize = 16;
    const OTHERS: &str = "(other)";

    /// Counts an error reply.
    pub(crate) fn count(&mut self, line: &[u8]) {
        self.insert(ErrorKind {
            kind: printable(kind(line), 60),
            count: 1,
            first: printable(line, 200),
        });
    }

    /// Counts an error that the load generator detected itself.
    pub(crate) fn add(&mut self, what: &str) {
        self.insert(ErrorKind { kind: what.to_owned(), count: 1, first: what.to_owned() });
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for kind in other.kinds {
            self.insert(kind);
        }
    }

    /// The first error of all.
    pub(crate) fn first(&self) -> Option<&str> {
        self.kinds.first().map(|kind| kind.first.as_str())
    }

    /// The kinds, the most frequent first.
    pub(crate) fn into_sorted(mut self) -> Vec<ErrorKind> {
        self.kinds.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
        self.kinds
    }

    fn insert(&mut self, new: ErrorKind) {
        if let Some(known) = self.kinds.iter_mut().find(|known| known.kind == new.kind) {
            known.count += new.count;
            return;
        }
        if self.kinds.len() < Self::MAX {
            self.kinds.push(new);
            return;
        }
        let others = ErrorKind { kind: Self::OTHERS.to_owned(), ..new };
        match self.kinds.iter_mut().find(|known| known.kind == others.kind) {
            Some(known) => known.count += others.count,
            None => self.kinds.push(others),
        }
    }
}

/// The kind of an error reply. In `error CODE: reason` it includes the second word.
fn kind(line: &[u8]) -> &[u8] {
    let word_end = |from: usize| {
        let is_end = |b: &u8| b.is_ascii_whitespace() || *b == b':';
        line[from..].iter().position(is_end).map_or(line.len(), |at| from + at)
    };
    let first = word_end(0);
    if line[..first].eq_ignore_ascii_case(b"error") && line.get(first) == Some(&b' ') {
        return &line[..word_end(first + 1)];
    }
    &line[..first]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(expected: &mut Expected, replies: &mut Replies, pieces: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        for piece in pieces {
            replies.feed(expected, piece, |reply| match reply {
                Reply::Good(n) => seen.extend((0..n).map(|_| "good".to_owned())),
                Reply::Error(line) => seen.push(line.escape_ascii().to_string()),
            });
        }
        seen
    }

    fn ok() -> Expected {
        Expected::new(Framing::Line, b"ok".to_vec(), 1, vec![b"PING".to_vec()])
    }

    #[test]
    fn replies_are_the_same_however_they_are_split() {
        let stream = b"ok\nok\nerror log: full\nok 2\r\nPING\nok\nok\nnonsense\r\n\nok\nok\nok\no";
        let expected = [
            "good",
            "good",
            "error log: full",
            "good",
            "good",
            "good",
            "nonsense",
            "",
            "good",
            "good",
            "good",
        ];
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                let seen = all(&mut ok(), &mut Replies::default(), &pieces);
                assert_eq!(seen, expected, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_good_reply_may_have_several_lines_an_error_has_one() {
        let mut expected = Expected::new(Framing::Line, b"$".to_vec(), 2, Vec::new());
        let stream = b"$2\r\nok\r\n-ERR no\r\n$2\r\n$5\r\n";
        for at in 0..=stream.len() {
            let pieces = [&stream[..at], &stream[at..]];
            let seen = all(&mut expected, &mut Replies::default(), &pieces);
            assert_eq!(seen, ["good", "-ERR no", "good"], "split at {at}");
        }
    }

    #[test]
    fn a_greeting_is_not_judged() {
        let mut replies = Replies::after_greeting(2);
        assert!(!replies.is_greeted());
        let seen = all(&mut ok(), &mut replies, &[b"INFO {}\r\n+O", b"K\r\nok\n"]);
        assert!(replies.is_greeted());
        assert_eq!(seen, ["good"]);
    }

    #[test]
    fn a_line_without_end_is_kept_in_part_only() {
        let mut replies = Replies::default();
        for _ in 0..1000 {
            replies.feed(&mut ok(), &[b'z'; 1000], |reply| panic!("{reply:?}"));
        }
        assert!(replies.line.len() <= KEPT, "{}", replies.line.len());
        let mut seen = 0;
        replies.feed(&mut ok(), b"\nok\n", |_| seen += 1);
        assert_eq!(seen, 2);
    }

    #[test]
    fn errors_are_counted_by_kind_and_kinds_are_bounded() {
        let mut kinds = ErrorKinds::default();
        for line in [
            &b"error log: No space left on device"[..],
            b"error log: other reason",
            b"error too-long: the message is longer than 10 bytes",
            b"-ERR unknown command",
            b"ERROR",
            b"\x1b[31mred",
            b"",
        ] {
            kinds.count(line);
        }
        let sorted = kinds.clone().into_sorted();
        let names: Vec<_> = sorted.iter().map(|kind| kind.kind.as_str()).collect();
        let expected = ["error log", "", "-ERR", "ERROR", "\\x1b[31mred", "error too-long"];
        assert_eq!(names, expected);
        assert_eq!(sorted[0].count, 2);
        assert_eq!(sorted[0].first, "error log: No space left on device");
        for n in 0..1000 {
            kinds.count(format!("kind{n}").as_bytes());
        }
        let sorted = kinds.into_sorted();
        assert_eq!(sorted.len(), ErrorKinds::MAX + 1);
        assert_eq!(sorted.iter().map(|kind| kind.count).sum::<u64>(), 1007);
    }
}
