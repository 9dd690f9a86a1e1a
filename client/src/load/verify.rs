//! Reads a server's log and holds it against what the server said.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::pattern::Pattern;
use super::units::printable;

/// A log is read in pieces of this size; a longer line makes it grow, within what a record needs.
const BUFFER: usize = 1 << 20;

/// How many findings are shown.
const EXAMPLES: usize = 10;

/// What a log was found to hold of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verification {
    pub(super) logs: Vec<String>,
    pub(super) bytes: u64,
    /// Every acknowledged message is there once, whole, in order, and no rejected one is.
    pub(super) passed: bool,
    /// Records of messages of this run.
    pub(super) records: u64,
    pub(super) acknowledged: u64,
    /// Acknowledged messages that are not there.
    pub(super) missing: u64,
    /// Records of a message that had one before.
    pub(super) repeated: u64,
    /// Records that come after one of a later message of the same connection.
    pub(super) out_of_order: u64,
    /// Lines that carry the run's name but are not the record of a message it sent.
    pub(super) mangled: u64,
    pub(super) rejected: u64,
    /// Messages that were answered with an error and are there.
    pub(super) rejected_but_logged: u64,
    /// Messages sent but never answered: they may be there or not.
    pub(super) unanswered: u64,
    pub(super) unanswered_and_logged: u64,
    /// Last lines without an end, which count as not written.
    pub(super) torn: u64,
    /// The first findings, in words.
    pub(super) examples: Vec<String>,
}

/// Verifies a run against its log, which may be in several files, oldest first.
pub(super) fn verify(
    run: &str,
    pattern: &Pattern,
    ledgers: &[Ledger],
    logs: &[PathBuf],
) -> Result<Verification, String> {
    let mut verifier = Verifier::new(run, pattern, ledgers);
    for log in logs {
        let read = open(log).and_then(|mut file| verifier.read(&mut file));
        read.map_err(|error| format!("cannot read {}: {error}", log.display()))?;
        verifier.found.logs.push(log.display().to_string());
    }
    Ok(verifier.finish())
}

/// Opens a log; a directory is refused here, not when it is read.
pub(super) fn open(log: &Path) -> io::Result<File> {
    let file = File::open(log)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

struct Verifier<'a> {
    run: Finder<'a>,
    pattern: &'a Pattern,
    ledgers: &'a [Ledger],
    seen: Vec<Seen>,
    found: Verification,
}

/// Which messages of a connection are in the log: a bit each.
#[derive(Clone, Default)]
struct Seen {
    bits: Vec<u64>,
    /// After the latest message so far.
    next: u64,
}

impl<'a> Verifier<'a> {
    fn new(run: &'a str, pattern: &'a Pattern, ledgers: &'a [Ledger]) -> Self {
        Self {
            run: Finder::new(run),
            pattern,
            ledgers,
            seen: vec![Seen::default(); ledgers.len()],
            found: Verification::default(),
        }
    }

    fn read(&mut self, input: &mut impl Read) -> io::Result<()> {
        // A line longer than this is no record of the run.
        let longest = BUFFER.max(2 * self.pattern.longest());
        let mut buffer = vec![0; BUFFER];
        let mut filled = 0;
        let mut skipping = false;
        loop {
            let n = match input.read(&mut buffer[filled..]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.found.bytes += n as u64;
            if n == 0 {
                self.found.torn += u64::from(filled > 0 || skipping);
                return Ok(());
            }
            let searched = filled;
            filled += n;
            if let Some(end) = memrchr(b'\n', &buffer[searched..filled]) {
                let end = searched + end + 1;
                let first = if skipping {
                    memchr(b'\n', &buffer).map_or(0, |at| at + 1)
                } else {
                    0
                };
                skipping = false;
                self.lines(&buffer[first..end]);
                buffer.copy_within(end..filled, 0);
                filled -= end;
            } else if filled == buffer.len() && buffer.len() < longest {
                buffer.resize(longest, 0);
            } else if filled == buffer.len() {
                if !skipping && self.run.find(&buffer).is_some() {
                    self.mangled(&buffer);
                }
                skipping = true;
                filled = 0;
            }
        }
    }

    /// Looks for the run's name in whole lines.
    fn lines(&mut self, mut lines: &[u8]) {
        while let Some(hit) = self.run.find(lines) {
            let start = memrchr(b'\n', &lines[..hit]).map_or(0, |at| at + 1);
            let end = memchr(b'\n', &lines[hit..]).map_or(lines.len(), |at| hit + at);
            self.line(&lines[start..end]);
            lines = &lines[(end + 1).min(lines.len())..];
        }
    }

    /// A line that carries the run's name.
    fn line(&mut self, line: &[u8]) {
        let message = received(line).and_then(|text| self.pattern.read(text));
        let Some((conn, seq)) = message else {
            return self.mangled(line);
        };
        let index = usize::try_from(conn).unwrap_or(usize::MAX);
        let sent = self.ledgers.get(index).map_or(0, |ledger| ledger.sent);
        if seq >= sent {
            return self.mangled(line);
        }
        self.found.records += 1;
        let seen = &mut self.seen[index];
        if !seen.insert(seq, sent) {
            self.found.repeated += 1;
            self.example(format!("repeated: connection {conn}, message {seq}"));
        } else if seq < seen.next {
            let next = seen.next;
            self.found.out_of_order += 1;
            self.example(format!(
                "out of order: connection {conn}, message {seq} after message {}",
                next - 1
            ));
        } else {
            seen.next = seq + 1;
        }
    }

    fn mangled(&mut self, line: &[u8]) {
        self.found.mangled += 1;
        let line = printable(line, 160);
        self.example(format!("mangled: {line}"));
    }

    fn finish(mut self) -> Verification {
        let ledgers = self.ledgers;
        let seen = std::mem::take(&mut self.seen);
        for (conn, (ledger, seen)) in ledgers.iter().zip(&seen).enumerate() {
            let mut from = 0;
            for rejected in ledger.rejected() {
                self.acknowledged(conn, seen, from..rejected.start);
                from = rejected.end;
                self.rejected(conn, seen, rejected);
            }
            self.acknowledged(conn, seen, from..ledger.answered);
            self.found.unanswered += ledger.sent - ledger.answered;
            self.found.unanswered_and_logged += seen.count(ledger.answered..ledger.sent);
        }
        let found = &mut self.found;
        let findings = [
            found.missing,
            found.repeated,
            found.out_of_order,
            found.mangled,
            found.rejected_but_logged,
        ];
        found.passed = findings == [0; 5];
        self.found
    }

    fn acknowledged(&mut self, conn: usize, seen: &Seen, range: Range<u64>) {
        let all = range.end - range.start;
        let missing = all - seen.count(range.clone());
        self.found.acknowledged += all;
        self.found.missing += missing;
        if missing > 0 && self.found.examples.len() < EXAMPLES {
            let first = range.clone().find(|&seq| !seen.has(seq)).unwrap_or(0);
            let others = match missing {
                1 => String::new(),
                n => format!(" and {} more of {range:?}", n - 1),
            };
            self.example(format!(
                "missing: connection {conn}, message {first}{others}"
            ));
        }
    }

    fn rejected(&mut self, conn: usize, seen: &Seen, range: Range<u64>) {
        let logged = seen.count(range.clone());
        self.found.rejected += range.end - range.start;
        self.found.rejected_but_logged += logged;
        if logged > 0 {
            let first = range.clone().find(|&seq| seen.has(seq)).unwrap_or(0);
            self.example(format!(
                "answered with an error, yet there: connection {conn}, message {first}"
            ));
        }
    }

    fn example(&mut self, text: String) {
        if self.found.examples.len() < EXAMPLES {
            self.found.examples.push(text);
        }
    }
}

impl Seen {
    /// False if it was there already. `sent` is how many there can be.
    fn insert(&mut self, seq: u64, sent: u64) -> bool {
        if self.bits.is_empty() {
            self.bits = vec![0; sent.div_ceil(64) as usize];
        }
        let word = &mut self.bits[(seq / 64) as usize];
        let bit = 1 << (seq % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn has(&self, seq: u64) -> bool {
        let word = self.bits.get((seq / 64) as usize);
        word.is_some_and(|word| word & (1 << (seq % 64)) != 0)
    }

    fn count(&self, range: Range<u64>) -> u64 {
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

/// The message in the record of one: `INFO\t| DATE TIME --PEER recieved: MESSAGE`.
fn received(line: &[u8]) -> Option<&[u8]> {
    const TIME: &[u8] = b"0000-00-00 00:00:00";
    let rest = line.strip_prefix(b"INFO\t| ")?;
    let (time, rest) = rest.split_at_checked(TIME.len())?;
    let is_like = |(&byte, &shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    let is_time = time.iter().zip(TIME).all(is_like);
    let rest = rest.strip_prefix(b" --")?;
    let (peer, rest) = rest.split_at(memchr(b' ', rest)?);
    let is_peer = |b: &u8| b.is_ascii_hexdigit() || b".:[]%".contains(b);
    if !is_time || peer.is_empty() || !peer.iter().all(is_peer) {
        return None;
    }
    rest.strip_prefix(b" recieved: ")
}
