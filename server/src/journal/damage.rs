//! Damage that a crash or a power cut leaves in a log.
//!
//! A killed server leaves at most one torn record, at the end. A power cut can leave more, since the pages of
//! a file reach the disk in any order: NULs in place of missing pages, with whole records after them.

use std::fmt;
use std::io;

use common::record;
use common::units::{count, plural};
use memchr::{memchr, memchr_iter};

use super::storage::Storage;

/// How many bytes at the end of a log are checked. Older records were on the disk before the power failed.
pub(super) const LOOK_BACK_BYTES: u64 = 64 << 20;

/// The longest level, in bytes.
const LEVEL_BYTES: u64 = 7;

/// The size of one read, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// The damage found in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// The last record had no newline. In a log that is appended to, one has been added.
    pub ended_last: bool,
    /// Lines that are not records. A torn last line counts only if it has NULs.
    pub lines: u64,
    /// The offset of the first such line, in bytes.
    pub first: u64,
}

impl Damage {
    /// Whether the log is undamaged.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("ended a torn record at its end", f)
    }
}

/// Damage in a file that is not repaired.
#[derive(Clone, Copy, Debug)]
pub struct Left(pub Damage);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe("ends with a torn record", f)
    }
}

impl Damage {
    fn describe(&self, torn: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ended_last {
            f.write_str(torn)?;
        }
        if self.lines > 0 {
            let between = if self.ended_last { "; " } else { "" };
            let (lines, first) = (plural(self.lines, "line"), count(self.first));
            write!(
                f,
                "{between}has {lines} that a crash or a power cut has left and that are no \
                 records, the first at byte {first}"
            )?;
        }
        Ok(())
    }
}

/// Ends a torn last record of a file of this `length` with a newline, and checks the end of the file for
/// other damage.
///
/// If that record is of a message, a backslash comes before the newline. A single backslash is no valid
/// escape, so the message cannot be read as complete.
pub(super) fn mend(file: &mut impl Storage, length: u64) -> io::Result<Damage> {
    let (damage, last) = look_through(file, length, LOOK_BACK_BYTES)?;
    if damage.ended_last {
        let has_escape_begun = last.backslashes % 2 == 1;
        let looks_whole = !has_escape_begun && is_torn_message(file, &last)?;
        file.write_all(if looks_whole { b"\\\n" } else { b"\n" })?;
    }
    Ok(damage)
}

/// Whether the end of this line looks like the record of a message. Other bytes may precede it.
fn is_torn_message(file: &impl Storage, line: &Line) -> io::Result<bool> {
    // A record has one control character, the tab after its level.
    let Some(tab) = line.last_control else {
        return Ok(false);
    };
    let start = line.start.max(tab.saturating_sub(LEVEL_BYTES));
    let end = (line.start + line.length).min(start + record::MAX_HEAD as u64);
    let mut head = vec![0; (end - start) as usize];
    file.read_at(&mut head, start)?;
    let begin = record::level_before(&head, (tab - start) as usize);
    Ok(begin.is_some_and(|begin| record::is_of_message(&head[begin..])))
}

/// Damage in the last `budget` bytes of a file that is no longer written. The file is not changed.
pub(super) fn look_for(file: &impl Storage, length: u64, budget: u64) -> io::Result<Damage> {
    look_through(file, length, budget).map(|(damage, _)| damage)
}

/// Damage in the last `budget` bytes, and the last line, which has no newline.
fn look_through(file: &impl Storage, length: u64, budget: u64) -> io::Result<(Damage, Line)> {
    let start = length.saturating_sub(budget);
    let mut damage = Damage::default();
    let mut line = Line::begin(start);
    // If the scan begins in the middle of a record, that record is skipped.
    let mut is_whole = start == 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = start;
    while at < length {
        let n = CHUNK_BYTES.min((length - at) as usize);
        file.read_at(&mut chunk[..n], at)?;
        let mut rest = &chunk[..n];
        while let Some(end) = memchr(b'\n', rest) {
            line.take(&rest[..end]);
            if is_whole && !line.is_record() {
                damage.count(&line);
            }
            (line, is_whole) = (Line::begin(line.start + line.length + 1), true);
            rest = &rest[end + 1..];
        }
        line.take(rest);
        at += n as u64;
    }
    damage.ended_last = line.length > 0;
    // A crash of the server leaves part of a record. NULs in it come from a power cut.
    if line.has_nul {
        damage.count(&line);
    }
    Ok((damage, line))
}

impl Damage {
    fn count(&mut self, line: &Line) {
        if self.lines == 0 {
            self.first = line.start;
        }
        self.lines += 1;
    }
}

/// The state that tells whether a line is a record. Its size does not depend on the length of the line.
struct Line {
    start: u64,
    length: u64,
    /// The first bytes, up to the message.
    head: Vec<u8>,
    /// The number of control characters. A record has at most one, the tab after the level.
    controls: usize,
    /// The offset of the last control character in the file.
    last_control: Option<u64>,
    /// Where a JSON object may begin. A JSON record has exactly one, since quotation marks in its message are
    /// escaped.
    objects: usize,
    has_nul: bool,
    /// Backslashes at the end of the line.
    backslashes: usize,
    last: u8,
}

impl Line {
    fn begin(start: u64) -> Self {
        Self {
            start,
            length: 0,
            head: Vec::new(),
            controls: 0,
            last_control: None,
            objects: 0,
            has_nul: false,
            backslashes: 0,
            last: 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = record::MAX_HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.take_controls(bytes);
        self.objects += self.pairs(bytes, b'{', |next| next == b'"').count();
        self.length += bytes.len() as u64;
        self.has_nul |= memchr(0, bytes).is_some();
        let backslashes = bytes.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes < bytes.len() {
            self.backslashes = 0;
        }
        self.backslashes += backslashes;
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    /// Counts control characters. Must run before `length` is updated.
    fn take_controls(&mut self, bytes: &[u8]) {
        let ascii = |byte: &u8| byte.is_ascii_control();
        let c1 = self.pairs(bytes, 0xc2, |next| matches!(next, 0x80..=0x9f));
        let last_c1 = c1.clone().last();
        self.controls += bytes.iter().filter(|byte| ascii(byte)).count() + c1.count();
        let last = bytes.iter().rposition(ascii).max(last_c1);
        if let Some(last) = last {
            self.last_control = Some(self.start + self.length + last as u64);
        }
    }

    /// Positions in `bytes` of a byte that satisfies `is` and follows the byte `first`, which may be the last
    /// one of the previous bytes.
    fn pairs<'a>(
        &self,
        bytes: &'a [u8],
        first: u8,
        is: impl Fn(u8) -> bool + Clone + 'a,
    ) -> impl Iterator<Item = usize> + Clone + 'a {
        let at_start = (self.length > 0 && self.last == first).then_some(0);
        let within = memchr_iter(first, bytes).map(|at| at + 1);
        let is_second = move |at: &usize| bytes.get(*at).is_some_and(|byte| is(*byte));
        at_start.into_iter().chain(within).filter(is_second)
    }

    fn is_record(&self) -> bool {
        match self.controls {
            0 => self.objects == 1 && record::json::is_like_record(&self.head, self.last),
            controls => controls == 1 && record::parse(&self.head).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, Opening};

    const RECORD: &str = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: hello\n";

    const JSON: &str = "{\"time\":\"2026-11-25T03:35:12.123456+01:00\",\"peer\":\"127.0.0.1:49030\",\"message\":\"a {\\\"b\\\"}\"}\n";

    /// Opens a log to append and returns the damage found. Asserts that nothing but the end is changed.
    fn found(content: &[u8]) -> Damage {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, content).unwrap();
        let damage =
            Journal::<std::fs::File>::open(&path, Opening::Append, false, None).unwrap().damage;
        let mut expected = content.to_vec();
        if damage.ended_last {
            // A message that was cut must not read as a complete one.
            let last = content.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let tab = last.iter().rposition(|byte| *byte == b'\t');
            let begin = tab.and_then(|tab| record::level_before(last, tab)).unwrap_or(0);
            let (cut, escape) = (record::is_of_message(&last[begin..]), record::unescape(last));
            let end = if cut && escape.is_some() { "\\\n" } else { "\n" };
            expected.extend_from_slice(end.as_bytes());
        }
        assert_eq!(std::fs::read(&path).unwrap(), expected, "nothing is changed but that");
        damage
    }

    fn damage(ended_last: bool, lines: u64, first: usize) -> Damage {
        Damage { ended_last, lines, first: first as u64 }
    }

    #[test]
    fn whole_records_are_in_order() {
        assert!(found(b"").is_none());
        let sent = RECORD.replace("recieved: hello", "send: ok");
        let refused = sent.replace("INFO", "WARNING").replace("ok", "error log: full");
        let other = RECORD.replace("127.0.0.1:49030", "[fe80::1%12]:49030");
        assert!(found([RECORD, &sent, &refused, &other].concat().as_bytes()).is_none());
    }

    #[test]
    fn a_torn_record_is_ended() {
        let content = [RECORD, &RECORD[..RECORD.len() - 4]].concat();
        assert_eq!(found(content.as_bytes()), damage(true, 0, 0));
    }

    #[test]
    fn damage_of_a_power_cut_is_found_anywhere() {
        let nuls = "\0".repeat(5000);
        let n = RECORD.len();
        let torn = &RECORD[..n - 10];
        for (content, expected) in [
            (format!("{RECORD}{nuls}\n{RECORD}"), damage(false, 1, n)),
            (format!("{RECORD}{nuls}{RECORD}"), damage(false, 1, n)),
            (format!("{RECORD}{RECORD}{nuls}"), damage(true, 1, 2 * n)),
            (format!("{RECORD}{torn}{RECORD}{RECORD}"), damage(false, 1, n)),
            (format!("{RECORD}{torn}\n{torn}"), damage(true, 1, n)),
            (format!("{nuls}{torn}{RECORD}{RECORD}lo\n"), damage(false, 2, 0)),
            (format!("{RECORD}\n{RECORD}"), damage(false, 1, n)),
            (format!("{RECORD}{nuls}{torn}"), damage(true, 1, n)),
            (format!("{JSON}{nuls}{JSON}"), damage(false, 1, JSON.len())),
            (format!("{}{JSON}{JSON}", &JSON[..90]), damage(false, 1, 0)),
            (format!("{}\u{85}\n", &RECORD[..n - 1]), damage(false, 1, 0)),
        ] {
            assert_eq!(found(content.as_bytes()), expected, "{content:?}");
        }
    }

    #[test]
    fn long_lines_and_long_logs_are_read_in_chunks() {
        let long = RECORD.replace("hello", &"x".repeat(3 * CHUNK_BYTES));
        let content = [&long, "torn\n", &long].concat();
        assert_eq!(found(content.as_bytes()), damage(false, 1, long.len()));
        // Damage before the last `LOOK_BACK_BYTES` is not reported.
        let content = ["old\n", &long.repeat(90), "torn\n"].concat();
        assert_eq!(found(content.as_bytes()), damage(false, 1, content.len() - 5));
    }

    /// The result does not depend on where a line is split.
    #[test]
    fn a_line_may_be_split_anywhere() {
        let damaged = format!("lf\0\u{85}{}", RECORD.trim_end());
        for text in [RECORD.trim_end(), JSON.trim_end(), &damaged] {
            let found = |pieces: &[&[u8]]| {
                let mut line = Line::begin(7);
                for piece in pieces {
                    line.take(piece);
                }
                (line.is_record(), line.controls, line.last_control, line.objects)
            };
            let whole = found(&[text.as_bytes()]);
            assert_eq!(whole.0, text.len() != damaged.len());
            for at in 0..=text.len() {
                let (first, second) = text.as_bytes().split_at(at);
                assert_eq!(found(&[first, second]), whole, "{text:?} at {at}");
            }
        }
    }

    #[test]
    fn damage_is_described_in_one_line() {
        for (damage, expected) in [
            (damage(true, 0, 0), "ended a torn record at its end"),
            (
                damage(false, 2, 99),
                "has 2 lines that a crash or a power cut has left and that are no records, the first \
                 at byte 99",
            ),
        ] {
            assert_eq!(damage.to_string(), expected);
        }
    }

    #[test]
    fn a_torn_message_does_not_read_like_a_whole_one() {
        for before in ["", "\0\0\0", "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:4 reci"] {
            a_torn_message_is_ended(before);
        }
    }

    fn a_torn_message_is_ended(before: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let whole = r"INFO	| 2019-02-24 15:10:14 --127.0.0.1:4 recieved: a\\b\x00\u{202e}\\\\";
        let begin = whole.find(": ").unwrap() + 2;
        for len in 0..=whole.len() {
            std::fs::write(&path, before.to_owned() + &whole[..len]).unwrap();
            Journal::<std::fs::File>::open(&path, Opening::Append, false, None).unwrap();
            let log = std::fs::read_to_string(&path).unwrap();
            let log = &log[before.len()..];
            let mended = log.strip_suffix('\n').unwrap_or(log);
            assert!(mended.starts_with(&whole[..len]), "{mended}");
            let message = record::parse(mended.as_bytes()).and_then(|parts| parts.message);
            assert_eq!(message.is_some(), len >= begin, "{mended}");
            assert_eq!(message.and_then(record::unescape), None, "{mended}");
        }
    }
}
