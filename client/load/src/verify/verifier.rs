//! Comparison of the lines of a log with the replies of a run.

use std::ops::Range;

use common::record;
use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

use super::findings::Verification;
use super::seen::Seen;
use super::sent::Sent;
use crate::message::pattern::Text;

pub(super) struct Verifier<'a> {
    pub(super) run: Finder<'a>,
    pub(super) sent: &'a Sent<'a>,
    seen: Vec<Seen>,
    pub(super) found: Verification,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(sent: &'a Sent<'a>) -> Self {
        Self {
            run: Finder::new(sent.run),
            sent,
            seen: vec![Seen::default(); sent.ack_logs.len()],
            found: Verification::default(),
        }
    }

    /// Searches for the run's name in whole lines.
    pub(super) fn lines(&mut self, mut lines: &[u8]) {
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
            self.found.damaged(damaged);
        }
        if self.run.find(record).is_some() {
            self.record(record);
        }
    }

    /// Takes a line, or the end of one, that contains the run's name and should be a record.
    fn record(&mut self, line: &[u8]) {
        let (conn, seq) = match self.sent.classify(line) {
            Text::Message(conn, seq) => (conn, seq),
            Text::Hello => return,
            Text::Torn => {
                self.found.torn += 1;
                return;
            }
            Text::Foreign => return self.found.damaged(line),
        };
        let index = usize::try_from(conn).unwrap_or(usize::MAX);
        let sent = self.sent.ack_logs.get(index).map_or(0, |ack_log| ack_log.sent);
        if seq >= sent {
            return self.found.mangled(line);
        }
        self.found.records += 1;
        let seen = &mut self.seen[index];
        if !seen.insert(seq) {
            self.found.repeated += 1;
            self.found.example(format!("repeated: connection {conn}, message {seq}"));
        } else if seq < seen.next {
            let next = seen.next;
            self.found.out_of_order += 1;
            self.found.example(format!(
                "out of order: connection {conn}, message {seq} after message {}",
                next - 1
            ));
        } else {
            seen.next = seq + 1;
        }
    }

    /// Counts what was not logged, and decides.
    pub(super) fn finish(mut self) -> Verification {
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
        self.found.judge();
        self.found
    }

    fn acknowledged(&mut self, conn: usize, seen: &mut Seen, range: Range<u64>) {
        let all = range.end - range.start;
        let missing = all - seen.count(&range);
        self.found.acknowledged += all;
        self.found.missing += missing;
        if missing > 0 {
            let first = seen.first_missing(&range).unwrap_or(range.start);
            let others = match missing {
                1 => String::new(),
                n => format!(" and {} more of {range:?}", n - 1),
            };
            self.found.example(format!("missing: connection {conn}, message {first}{others}"));
        }
    }

    fn rejected(&mut self, conn: usize, seen: &mut Seen, range: Range<u64>) {
        let logged = seen.count(&range);
        self.found.rejected += range.end - range.start;
        self.found.rejected_but_logged += logged;
        if logged > 0 {
            let first = seen.first(&range).unwrap_or(range.start);
            self.found.example(format!(
                "answered with an error, yet there: connection {conn}, message {first}"
            ));
        }
    }
}
