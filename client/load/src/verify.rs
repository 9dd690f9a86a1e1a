//! Verification: compares a server's log with the replies of a run.

pub(crate) mod logs;
pub(crate) mod runfile;
mod seen;
pub(crate) mod streamed;

use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};

use crate::message::ack_log::AckLog;
use crate::message::pattern::{Pattern, Text, escape};
use crate::verify::logs::{Log, LogFile};
use crate::verify::seen::Seen;
use crate::verify::streamed::StreamLog;
use common::record::{self, printable};

/// Size of one read, in bytes. The buffer grows for a longer line, up to the length of a record.
const BUFFER: usize = 1 << 20;

/// Maximum number of findings to report.
const EXAMPLES: usize = 10;

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verification {
    pub(crate) logs: Vec<String>,
    pub(crate) bytes: u64,
    /// Whether every acknowledged message is in the log once, whole and in order, and no rejected
    /// one is.
    pub(crate) passed: bool,
    /// Records of messages of this run.
    pub(crate) records: u64,
    pub(crate) acknowledged: u64,
    /// Acknowledged messages that are not in the log.
    pub(crate) missing: u64,
    /// Further records of a message that already had one.
    pub(crate) repeated: u64,
    /// Records after a record of a later message of the same connection.
    pub(crate) out_of_order: u64,
    /// Lines that contain the run's name but are not the record of a message it sent.
    pub(crate) mangled: u64,
    pub(crate) rejected: u64,
    /// Messages that were rejected and are in the log.
    pub(crate) rejected_but_logged: u64,
    /// Messages sent but never answered. They may be in the log or not.
    pub(crate) unanswered: u64,
    pub(crate) unanswered_and_logged: u64,
    /// Truncated records, for example of a killed server, and records damaged by NULs. They count
    /// as not in the log.
    pub(crate) torn: u64,
    /// Descriptions of the first findings.
    pub(crate) examples: Vec<String>,
}

/// What a run sent and which replies it got.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    /// The run's name.
    pub(crate) run: &'a str,
    pub(crate) message: Pattern,
    /// The patterns of the hello that each connection sent first. It is logged, but is not a
    /// message. Empty if it does not contain the run's name.
    pub(crate) hello: Vec<Pattern>,
    /// Indexed by connection number.
    pub(crate) ack_logs: &'a [AckLog],
}

/// Verifies a run against its log. Returns `None` if it was interrupted.
pub(crate) fn verify(
    sent: &Sent<'_>,
    log: Log,
    interrupt: &AtomicBool,
) -> Result<Option<Verification>, String> {
    let mut verifier = Verifier::new(sent);
    let whole = match log {
        Log::Files(files) => verifier.read_files(files, interrupt)?,
        Log::Stream(mut stream) => verifier.read_stream(&mut stream, interrupt)?,
    };
    Ok(whole.then(|| verifier.finish()))
}

struct Verifier<'a> {
    run: Finder<'a>,
    sent: &'a Sent<'a>,
    seen: Vec<Seen>,
    found: Verification,
}

impl<'a> Verifier<'a> {
    fn new(sent: &'a Sent<'a>) -> Self {
        Self {
            run: Finder::new(sent.run),
            sent,
            seen: vec![Seen::default(); sent.ack_logs.len()],
            found: Verification::default(),
        }
    }

    /// Reads files in their order, each to its end. Returns false if it was interrupted.
    fn read_files(&mut self, files: Vec<LogFile>, interrupt: &AtomicBool) -> Result<bool, String> {
        for log in files {
            let path = log.path.clone();
            let file = log.open();
            let read = file.and_then(|mut file| self.read(&mut file, interrupt));
            if !read.map_err(|error| logs::cannot_read(&path, &error))? {
                return Ok(false);
            }
            self.found.logs.push(path.display().to_string());
        }
        Ok(true)
    }

    /// Reads a stream to its end. Each message holds whole lines. Returns false if it was
    /// interrupted.
    fn read_stream(
        &mut self,
        stream: &mut StreamLog,
        interrupt: &AtomicBool,
    ) -> Result<bool, String> {
        while stream.has_more() {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let batch = stream.next()?.unwrap_or_default();
            let end = memrchr(b'\n', &batch).map_or(0, |at| at + 1);
            self.found.bytes += batch.len() as u64;
            self.found.torn += u64::from(end < batch.len());
            self.lines(&batch[..end]);
        }
        self.found.logs.push(format!("stream {}", stream.name));
        Ok(true)
    }

    /// Reads a log to its end. Returns false if it was interrupted.
    fn read(&mut self, input: &mut impl Read, interrupt: &AtomicBool) -> io::Result<bool> {
        let patterns = self.sent.hello.iter().chain([&self.sent.message]);
        let longest = patterns.map(Pattern::longest).max().unwrap_or(0);
        // A longer line is not a record of the run.
        let longest = BUFFER.max(2 * longest);
        let mut buffer = vec![0; BUFFER];
        let mut filled = 0;
        // Set while a longer line is skipped: whether it has contained the run's name so far.
        let mut skipping = None;
        loop {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let n = match input.read(&mut buffer[filled..]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.found.bytes += n as u64;
            if n == 0 {
                self.found.torn += u64::from(filled > 0 || skipping.is_some());
                return Ok(true);
            }
            let searched = filled;
            filled += n;
            if let Some(end) = memrchr(b'\n', &buffer[searched..filled]) {
                let end = searched + end + 1;
                let mut lines = &buffer[..end];
                if let Some(named) = skipping.take() {
                    let (rest, others) =
                        lines.split_at(memchr(b'\n', lines).map_or(end, |at| at + 1));
                    self.too_long(rest, named);
                    lines = others;
                }
                self.lines(lines);
                buffer.copy_within(end..filled, 0);
                filled -= end;
            } else if filled == buffer.len() && buffer.len() < longest {
                buffer.resize(longest, 0);
            } else if filled == buffer.len()
                && let Some(nul @ 1..) = memrchr(0, &buffer)
            {
                // A record may begin after the pages that a power cut zeroed.
                self.too_long(&buffer[..=nul], skipping.take().unwrap_or(false));
                buffer.copy_within(nul.., 0);
                filled -= nul;
            } else if filled == buffer.len() {
                skipping = Some(self.too_long(&buffer, skipping.unwrap_or(false)));
                filled = 0;
            }
        }
    }

    /// Takes a part of a line that is too long to be a record. `named` is whether the parts before
    /// contained the run's name. Returns whether the line has contained it so far.
    fn too_long(&mut self, piece: &[u8], named: bool) -> bool {
        if named || self.run.find(piece).is_none() {
            return named;
        }
        self.damaged(piece);
        true
    }

    /// Searches for the run's name in whole lines.
    fn lines(&mut self, mut lines: &[u8]) {
        while let Some(hit) = self.run.find(lines) {
            let start = memrchr(b'\n', &lines[..hit]).map_or(0, |at| at + 1);
            let end = memchr(b'\n', &lines[hit..]).map_or(lines.len(), |at| hit + at);
            self.line(&lines[start..end]);
            lines = &lines[(end + 1).min(lines.len())..];
        }
    }

    /// Takes a line that contains the run's name. A power cut may have left garbage before a whole
    /// record.
    fn line(&mut self, line: &[u8]) {
        let begin = record::last_in(line, None).unwrap_or(0);
        let (damaged, record) = line.split_at(begin);
        if self.run.find(damaged).is_some() {
            self.damaged(damaged);
        }
        if self.run.find(record).is_some() {
            self.record(record);
        }
    }

    /// Takes a line, or the end of one, that contains the run's name and should be a record.
    fn record(&mut self, line: &[u8]) {
        let text = if line.starts_with(b"{") {
            self.identify_json(line)
        } else {
            received(line).map_or(Text::Foreign, |text| self.identify(text))
        };
        let (conn, seq) = match text {
            Text::Message(conn, seq) => (conn, seq),
            Text::Hello => return,
            Text::Torn => {
                self.found.torn += 1;
                return;
            }
            Text::Foreign => return self.damaged(line),
        };
        let index = usize::try_from(conn).unwrap_or(usize::MAX);
        let sent = self
            .sent
            .ack_logs
            .get(index)
            .map_or(0, |ack_log| ack_log.sent);
        if seq >= sent {
            return self.mangled(line);
        }
        self.found.records += 1;
        let seen = &mut self.seen[index];
        if !seen.insert(seq) {
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

    /// Classifies a record in JSON.
    fn identify_json(&self, line: &[u8]) -> Text {
        if record::has_control(line) {
            return Text::Foreign;
        }
        let Ok(json) = serde_json::from_slice::<Json>(line) else {
            // Truncated, for example by a server that was killed.
            let is_cut = line.starts_with(br#"{"time":""#) && !line.ends_with(b"}");
            return if is_cut { Text::Torn } else { Text::Foreign };
        };
        match json.message {
            Some(message) => self.identify(&escape(message.as_bytes())),
            None => Text::Foreign,
        }
    }

    /// Classifies the message of a record.
    fn identify(&self, text: &[u8]) -> Text {
        // A single backslash is not an escape. A server ends a torn record with one when it starts.
        let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 1 {
            return Text::Torn;
        }
        let made = self.sent.ack_logs.len() as u64;
        let as_hello = self
            .sent
            .hello
            .iter()
            .map(|hello| hello.read_hello(text, made));
        match self.sent.message.read(text) {
            Text::Message(conn, seq) => Text::Message(conn, seq),
            // A torn message may be either.
            other => as_hello.fold(other, |so_far, as_hello| match (so_far, as_hello) {
                (Text::Hello, _) | (_, Text::Hello) => Text::Hello,
                (Text::Torn, _) | (_, Text::Torn) => Text::Torn,
                _ => Text::Foreign,
            }),
        }
    }

    /// Takes a line that is not a record of the run. With NULs, which a power cut left, it is a
    /// torn record.
    fn damaged(&mut self, line: &[u8]) {
        if memchr(0, line).is_some() {
            self.found.torn += 1;
        } else {
            self.mangled(line);
        }
    }

    fn mangled(&mut self, line: &[u8]) {
        self.found.mangled += 1;
        let line = printable(line, 160);
        self.example(format!("mangled: {line}"));
    }

    fn finish(mut self) -> Verification {
        let ack_logs = self.sent.ack_logs;
        let mut seen = std::mem::take(&mut self.seen);
        for (conn, (ack_log, seen)) in ack_logs.iter().zip(&mut seen).enumerate() {
            let mut from = 0;
            for rejected in ack_log.rejected() {
                self.acknowledged(conn, seen, from..rejected.start);
                from = rejected.end;
                self.rejected(conn, seen, rejected);
            }
            self.acknowledged(conn, seen, from..ack_log.answered);
            self.found.unanswered += ack_log.sent - ack_log.answered;
            self.found.unanswered_and_logged += seen.count(&(ack_log.answered..ack_log.sent));
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

    fn acknowledged(&mut self, conn: usize, seen: &mut Seen, range: Range<u64>) {
        let all = range.end - range.start;
        let missing = all - seen.count(&range);
        self.found.acknowledged += all;
        self.found.missing += missing;
        if missing > 0 && self.found.examples.len() < EXAMPLES {
            let first = seen.first_missing(&range).unwrap_or(range.start);
            let others = match missing {
                1 => String::new(),
                n => format!(" and {} more of {range:?}", n - 1),
            };
            self.example(format!(
                "missing: connection {conn}, message {first}{others}"
            ));
        }
    }

    fn rejected(&mut self, conn: usize, seen: &mut Seen, range: Range<u64>) {
        let logged = seen.count(&range);
        self.found.rejected += range.end - range.start;
        self.found.rejected_but_logged += logged;
        if logged > 0 {
            let first = seen.first(&range).unwrap_or(range.start);
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

/// The relevant part of a JSON record. A message that is not UTF-8 does not contain the run's name.
#[derive(Deserialize)]
struct Json {
    message: Option<String>,
}

/// The message in a record of the form `INFO\t| DATE TIME --PEER recieved: MESSAGE`.
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
        .filter(|text| !record::has_control(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::template::Template;

    const RUN: &str = "cafe";

    fn record(conn: u64, seq: u64) -> String {
        format!("INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: load cafe {conn} {seq};\n")
    }

    fn hello(text: &str) -> String {
        format!("INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: {text}\n")
    }

    fn sent(text: &str) -> String {
        format!("INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 send: {text}\n")
    }

    /// Two connections. 0 sent 6 messages: 0, 1, 3 are acknowledged, 2 is rejected, and 4 and 5
    /// have no reply. 1 sent 2 messages, both acknowledged.
    fn ack_logs() -> Vec<AckLog> {
        let mut first = AckLog::default();
        first.send(6);
        first.acknowledge(2);
        first.reject(true);
        first.acknowledge(1);
        let mut second = AckLog::default();
        second.send(2);
        second.acknowledge(2);
        vec![first, second]
    }

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn sent_to(ack_logs: &[AckLog]) -> Sent<'_> {
        let parse = |text| {
            Template::parse(text)
                .unwrap()
                .framed(common::protocol::Framing::Line)
        };
        Sent {
            run: RUN,
            message: Pattern::new(&parse("load {run} {conn} {seq};"), RUN).unwrap(),
            hello: Pattern::of_hello(&parse("HELO {conn}\\r\\nI am {run}/{conn:2}"), RUN),
            ack_logs,
        }
    }

    fn check(log: &[u8]) -> Verification {
        let ack_logs = ack_logs();
        let sent = sent_to(&ack_logs);
        let mut verifier = Verifier::new(&sent);
        assert!(verifier.read(&mut { log }, &NEVER).unwrap());
        verifier.finish()
    }

    /// A correct log.
    fn good() -> Vec<String> {
        vec![
            "INFO\t| 2019-02-24 15:10:14 --[::1]:4 recieved: of another run\n".to_owned(),
            record(0, 0),
            record(1, 0),
            sent("ok"),
            record(0, 1),
            sent("error log: full"),
            record(0, 3),
            record(1, 1),
            record(0, 4),
        ]
    }

    #[test]
    fn a_good_log_passes() {
        let found = check(good().concat().as_bytes());
        assert!(found.passed, "{found:?}");
        assert_eq!(
            (found.records, found.acknowledged, found.rejected),
            (6, 5, 1)
        );
        assert_eq!((found.unanswered, found.unanswered_and_logged), (2, 1));
        assert_eq!(found.examples, [""; 0]);
    }

    type Doctor = fn(&mut Vec<String>);

    /// A change to the correct log, and the expected findings: missing, repeated, out of order,
    /// mangled, rejected but logged, torn.
    const CASES: &[(&str, Doctor, [u64; 6])] = &[
        ("removed", |log| _ = log.remove(1), [1, 0, 0, 0, 0, 0]),
        (
            "all of a connection removed",
            |log| log.retain(|l| !l.contains("cafe 1")),
            [2, 0, 0, 0, 0, 0],
        ),
        (
            "twice in a row",
            |log| log.insert(1, record(0, 0)),
            [0, 1, 0, 0, 0, 0],
        ),
        (
            "twice, later",
            |log| log.push(record(0, 0)),
            [0, 1, 0, 0, 0, 0],
        ),
        ("swapped", |log| log.swap(1, 4), [0, 0, 1, 0, 0, 0]),
        ("swapped between connections", |log| log.swap(1, 2), [0; 6]),
        (
            "a byte changed",
            |log| log[1] = log[1].replace(" 0;", " 0,"),
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "a byte more",
            |log| log[1] = log[1].replace(';', ";;"),
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "a byte less",
            |log| log[1] = log[1].replace(';', ""),
            [1, 0, 0, 0, 0, 1],
        ),
        (
            "an unanswered one cut",
            |log| log[8] = log[8].replace(" 4;", ""),
            [0, 0, 0, 0, 0, 1],
        ),
        (
            "another level",
            |log| log[1] = log[1].replace("INFO", "WARN"),
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "another time",
            |log| log[1] = log[1].replace("15:1", "15 1"),
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "no peer",
            |log| log[1] = log[1].replace("127.0.0.1:49030", ""),
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "as a reply",
            |log| log[1] = log[1].replace("recieved", "send"),
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "two in a line",
            |log| log[1] = log[1].replace('\n', ""),
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "rejected, yet there",
            |log| log.insert(5, record(0, 2)),
            [0, 0, 0, 0, 1, 0],
        ),
        (
            "never sent",
            |log| log.push(record(1, 2)),
            [0, 0, 0, 1, 0, 0],
        ),
        (
            "never connected",
            |log| log.push(record(2, 0)),
            [0, 0, 0, 1, 0, 0],
        ),
        (
            "no line end at the end",
            |log| _ = log[8].pop(),
            [0, 0, 0, 0, 0, 1],
        ),
        ("empty", Vec::clear, [5, 0, 0, 0, 0, 0]),
        (
            "a hello",
            |log| log.insert(0, hello("I am cafe/01")),
            [0; 6],
        ),
        (
            "cut, and mended",
            |log| log[8] = log[8].replace(" 4;", "\\"),
            [0, 0, 0, 0, 0, 1],
        ),
        (
            "an unanswered one with NULs",
            |log| log[8] = log[8].replace(" 4;", " 4\0\0\0;"),
            [0, 0, 0, 0, 0, 1],
        ),
        (
            "NULs, and a record after them",
            |log| log[1].insert_str(0, "load cafe 0\0\0\0"),
            [0, 0, 0, 0, 0, 1],
        ),
        (
            "another control character",
            |log| log[8] = log[8].replace("load", "\tload"),
            [0, 0, 0, 1, 0, 0],
        ),
        (
            "a hello cut",
            |log| log.insert(0, hello("I am cafe/0")),
            [0, 0, 0, 0, 0, 1],
        ),
        (
            "a hello of nobody",
            |log| log.insert(0, hello("I am cafe/02")),
            [0, 0, 0, 1, 0, 0],
        ),
    ];
    #[test]
    fn every_way_of_being_wrong_is_found() {
        for (name, doctor, expected) in CASES {
            let mut log = good();
            doctor(&mut log);
            let found = check(log.concat().as_bytes());
            let counts = [
                found.missing,
                found.repeated,
                found.out_of_order,
                found.mangled,
                found.rejected_but_logged,
                found.torn,
            ];
            assert_eq!(counts, *expected, "{name}: {found:?}");
            assert_eq!(found.passed, expected[..5] == [0; 5], "{name}");
            assert_eq!(found.examples.is_empty(), found.passed, "{name}");
        }
    }

    #[test]
    fn no_record_is_swallowed_by_nuls_before_it() {
        for nuls in [1, BUFFER - 1, BUFFER, 5 * BUFFER / 2] {
            let mut log = good();
            log[1].insert_str(0, &"\0".repeat(nuls));
            log[4].insert_str(0, &("load cafe 0".to_owned() + &"\0".repeat(nuls)));
            let found = check(log.concat().as_bytes());
            assert!(found.passed && found.records == 6, "{nuls}: {found:?}");
            assert_eq!(found.torn, 1, "{nuls}: {found:?}");
        }
    }

    /// A reader that returns at most this many bytes at once.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(buffer.len());
            self.0.read(&mut buffer[..n])
        }
    }

    #[test]
    fn a_log_is_read_the_same_in_any_pieces() {
        let log = good().concat();
        let ack_logs = ack_logs();
        let sent = sent_to(&ack_logs);
        let whole = check(log.as_bytes());
        for len in 1..200 {
            let mut verifier = Verifier::new(&sent);
            let mut pieces = Pieces(log.as_bytes(), len);
            assert!(verifier.read(&mut pieces, &NEVER).unwrap());
            assert_eq!(verifier.finish(), whole, "in pieces of {len}");
        }
    }

    #[test]
    fn a_line_longer_than_any_record_is_passed_over_in_constant_memory() {
        let filler = "z".repeat(3 * BUFFER);
        let mut log = record(0, 0);
        log.push_str(&filler);
        log.push_str("cafe");
        log.push_str(&filler);
        log.push('\n');
        log.push_str(&good()[2..].concat());
        let found = check(log.as_bytes());
        assert_eq!((found.missing, found.mangled), (0, 1), "{found:?}");
        assert_eq!(found.records, 6);
    }
}
