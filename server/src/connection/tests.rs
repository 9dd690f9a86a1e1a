//! Tests of connections over sockets with planned reads and writes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Instant;

use common::protocol::Reply;
use net::Socket;

use super::reading::READ_BUDGET;
use super::*;
use crate::admission::Admission;
use crate::batch::Batch;
use crate::channel::Channel;
use crate::options::Config;
use crate::replies::Replies;
use crate::stats::Stats;
use crate::warnings::Warnings;

const KEY: u32 = 7;
const SERIAL: u32 = 70;
const TIME: &str = "2019-02-24 15:10:14";

#[cfg(feature = "tls")]
mod first_bytes;

/// A socket with planned reads and writes. Reads beyond the plan would block; writes beyond it take
/// everything.
#[derive(Default)]
struct Planned {
    reads: VecDeque<io::Result<&'static [u8]>>,
    writes: VecDeque<io::Result<usize>>,
    sent: Vec<u8>,
    ended: bool,
}

impl Read for Planned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let would_block = || Err(io::ErrorKind::WouldBlock.into());
        let bytes = self.reads.pop_front().unwrap_or_else(would_block)?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Planned {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.writes.pop_front().unwrap_or(Ok(bytes.len()))?;
        self.sent.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Planned {
    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        Ok(())
    }
}

/// What connections borrow from the loop.
struct Lender {
    policy: Policy,
    buffers: Buffers,
    stats: Stats,
    warnings: Warnings,
    batch: Batch,
    now: Instant,
}

impl Lender {
    fn new(policy: Policy) -> Self {
        let now = Instant::now();
        Self {
            buffers: Buffers::new(&policy),
            policy,
            stats: Stats::new(now),
            warnings: Warnings::default(),
            batch: Batch::default(),
            now,
        }
    }

    fn context(&mut self) -> Context<'_> {
        Context {
            policy: &self.policy,
            buffers: &mut self.buffers,
            stats: &mut self.stats,
            warnings: &mut self.warnings,
            batch: &mut self.batch,
            now: self.now,
            now_ms: 0,
            time: TIME,
        }
    }
}

/// How many replies a write has sent completely.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sent {
    oks: u64,
    errors: u64,
}

/// The default policy, with this limit of messages.
fn policy(max_message: usize) -> Policy {
    let config = Config { max_message, ..Config::default() };
    Policy::new(&config, Admission::new(&config, None), true)
}

/// A connection and what it borrows from the loop.
struct Bench {
    connection: Connection<Planned>,
    lender: Lender,
}

impl Bench {
    fn new(reads: impl IntoIterator<Item = io::Result<&'static [u8]>>) -> Self {
        Self::with_limit(8, reads)
    }

    fn with_limit(
        max_message: usize,
        reads: impl IntoIterator<Item = io::Result<&'static [u8]>>,
    ) -> Self {
        let mut socket = Planned::default();
        socket.reads.extend(reads);
        let peer = ([127, 0, 0, 1], 5).into();
        let mut connection = Connection::new(socket, Channel::default(), peer, SERIAL, 0);
        connection.ready |= Ready::READABLE;
        Self { connection, lender: Lender::new(policy(max_message)) }
    }

    fn read(&mut self) -> usize {
        self.read_into(usize::MAX)
    }

    fn read_into(&mut self, batch_bytes: usize) -> usize {
        let context = &mut self.lender.context();
        self.connection.read(KEY, context, batch_bytes)
    }

    /// Makes the staged replies due, as a commit does. Returns the text of the records.
    fn commit(&mut self) -> Vec<String> {
        for run in self.lender.batch.replies() {
            assert_eq!((run.client.key, run.client.serial), (KEY, SERIAL));
            self.connection.complete(run.reply, run.count);
        }
        let records = String::from_utf8(self.lender.batch.records().to_vec()).unwrap();
        self.lender.batch.clear();
        let text = |line: &str| line.split_once("127.0.0.1:5 ").unwrap().1.to_owned();
        records.lines().map(text).collect()
    }

    fn write(&mut self) -> Sent {
        let before = self.sent();
        self.connection.write(&mut self.lender.context());
        let after = self.sent();
        Sent { oks: after.oks - before.oks, errors: after.errors - before.errors }
    }

    /// All that was sent so far.
    fn sent(&self) -> Sent {
        let stats = &self.lender.stats;
        Sent { oks: stats.acknowledged, errors: stats.errors.total() }
    }

    fn has(&self, ready: Ready) -> bool {
        self.connection.ready.contains(ready)
    }

    fn life(&self) -> Life {
        self.connection.life()
    }
}

fn error<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

#[test]
fn an_idle_client_is_small() {
    // A socket is its descriptor; mio's is larger in debug builds only.
    type Client = Connection<std::os::fd::OwnedFd>;
    assert!(size_of::<Client>() <= 72, "{}", size_of::<Client>());
}

#[test]
fn a_short_read_ends_the_reading_unless_the_end_was_announced() {
    let mut bench = Bench::new([Ok(&b"a\n"[..]), Ok(b"b\n"), Ok(b"")]);
    bench.read();
    assert_eq!(bench.commit(), ["recieved: a"]);
    assert!(!bench.has(Ready::READABLE));
    bench.connection.expect_end();
    bench.read();
    assert_eq!(bench.commit(), ["recieved: b"]);
    assert_eq!(bench.life(), Life::ReadClosed);
}

#[test]
fn nothing_is_owed_before_the_commit_and_nothing_is_done_before_the_reply() {
    let mut bench = Bench::new([Ok(&b"a\nb"[..]), Ok(b"")]);
    bench.connection.expect_end();
    bench.read();
    assert_eq!(bench.life(), Life::ReadClosed);
    assert!(!bench.connection.wants_write() && !bench.connection.is_done());
    assert_eq!(bench.commit(), ["recieved: a", "recieved: b"]);
    assert!(bench.connection.wants_write() && !bench.connection.is_done());
    assert_eq!(bench.write(), Sent { oks: 2, errors: 0 });
    assert!(bench.connection.is_done());
    assert_eq!(bench.connection.socket.sent, b"ok\nok\n");
}

#[test]
fn a_reply_is_recorded_when_all_of_it_was_taken() {
    let mut bench = Bench::new([Ok(&b"a\n123456789\nb\n"[..])]);
    bench.read();
    bench.commit();
    let too_long = "error too-long: the message is longer than 8 bytes\n";
    bench.connection.socket.writes.extend([
        Ok(2),
        error(io::ErrorKind::WouldBlock),
        Ok(1 + too_long.len() - 1),
    ]);
    assert_eq!(bench.write(), Sent::default());
    assert!(!bench.has(Ready::WRITABLE));
    bench.connection.ready |= Ready::WRITABLE;
    assert_eq!(bench.write(), Sent::default());
    assert!(!bench.has(Ready::WRITABLE));
    bench.connection.ready |= Ready::WRITABLE;
    assert_eq!(bench.write(), Sent { oks: 1, errors: 0 });
    assert_eq!(bench.commit(), ["send: ok"]);
    bench.connection.ready |= Ready::WRITABLE;
    assert_eq!(bench.write(), Sent { oks: 1, errors: 1 });
    let expected = [&format!("send: {}", too_long.trim_end()), "send: ok"];
    assert_eq!(bench.commit(), expected);
    let sent = String::from_utf8(bench.connection.socket.sent.clone()).unwrap();
    assert_eq!(sent, format!("ok\n{too_long}ok\n"));
    assert!(bench.connection.is_settled());
}

#[test]
fn a_reset_drops_the_unfinished_message_and_keeps_the_whole_ones() {
    let reset = error(io::ErrorKind::ConnectionReset);
    let mut bench = Bench::new([Ok(&b"whole\nunfin"[..]), reset]);
    bench.connection.expect_end();
    bench.read();
    assert!(bench.connection.is_done(), "it need not wait for the commit");
    assert_eq!(bench.commit(), ["recieved: whole"]);
    assert!(bench.connection.is_done() && !bench.connection.wants_write());
}

#[test]
fn a_client_that_takes_no_replies_is_still_read_to_its_end() {
    let mut bench = Bench::new([Ok(&b"a\n"[..]), Ok(b"b\n"), Ok(b"")]);
    bench.read();
    bench.commit();
    bench.connection.socket.writes.push_back(error(io::ErrorKind::BrokenPipe));
    bench.write();
    assert!(bench.connection.wants_read());
    bench.read();
    assert_eq!(bench.commit(), ["recieved: b"]);
    assert!(bench.connection.is_done());
}

/// The kernel reports a reset once. If a write received it, the next read returns an end
/// of the input.
#[test]
fn a_reset_that_a_write_received_drops_the_unfinished_message() {
    for (fate, expected) in [
        (io::ErrorKind::ConnectionReset, &["recieved: b"][..]),
        (io::ErrorKind::TimedOut, &["recieved: b"]),
        // The error after a FIN: the end of the input is real.
        (io::ErrorKind::BrokenPipe, &["recieved: b", "recieved: end"]),
    ] {
        // The rest of an earlier message may still be in the socket.
        let mut bench = Bench::new([Ok(&b"a\nunf"[..]), Ok(b"inished\nb\nend"), Ok(b"")]);
        bench.read();
        assert_eq!(bench.commit(), ["recieved: a"]);
        bench.connection.socket.writes.push_back(error(fate));
        bench.write();
        assert!(bench.connection.wants_read() && !bench.connection.wants_write());
        bench.read();
        // The message that was split has ten bytes, which is over the limit, so it has no record.
        assert_eq!(bench.commit(), expected, "{fate:?}");
        assert_eq!(bench.life(), Life::Closed);
    }
}

#[test]
fn a_client_that_is_owed_too_much_waits_and_goes_on_when_it_has_taken_some() {
    let line: &'static [u8] = &[b'\n'; 4096];
    let mut bench = Bench::with_limit(4096, (0..100).map(|_| Ok(line)));
    bench.connection.expect_end();
    let mut messages = 0;
    while bench.connection.wants_read() {
        bench.read();
        messages += bench.commit().len();
    }
    assert_eq!(messages, Replies::MAX, "not one more");
    assert!(bench.has(Ready::READABLE), "there is more");
    bench.connection.socket.writes.push_back(Ok(3));
    bench.write();
    assert!(bench.connection.wants_read());
}

/// Until the commit is finished, staged replies count like due ones.
#[test]
fn replies_owed_are_bounded_during_a_slow_commit() {
    let line: &'static [u8] = &[b'\n'; 4096];
    let mut bench = Bench::with_limit(4096, (0..100).map(|_| Ok(line)));
    bench.connection.expect_end();
    while bench.connection.wants_read() {
        bench.read();
    }
    assert_eq!(bench.connection.owed(), Replies::MAX);
}

#[test]
fn good_and_bad_messages_in_turns_are_owed_in_few_runs() {
    let line: &'static [u8] = b"a\n123456789\n";
    let mut bench = Bench::new((0..1000).map(|_| Ok(line)));
    bench.connection.expect_end();
    while bench.connection.wants_read() {
        bench.read();
        bench.commit();
    }
    assert_eq!(bench.connection.owed(), Replies::MAX_RUNS);
    bench.write();
    assert!(bench.connection.wants_read());
}

#[test]
fn an_unknown_outcome_closes_the_connection_without_a_reply() {
    let mut bench = Bench::new([Ok(&b"known\n"[..]), Ok(b"unknown\n")]);
    bench.read();
    bench.commit();
    bench.connection.expect_end();
    bench.read();
    bench.connection.close_unanswered(SERIAL + 1);
    assert_eq!(bench.connection.owed(), 1, "what was decided before is answered");
    assert!(!bench.connection.wants_end());
    bench.write();
    assert_eq!(bench.connection.socket.sent, b"ok\n");
    assert!(bench.connection.wants_end());
}

#[test]
fn a_failed_commit_is_answered_with_its_error() {
    let mut bench = Bench::new([Ok(&b"a\n123456789\nb\n"[..])]);
    bench.read();
    for run in bench.lender.batch.replies() {
        let reply = match run.reply {
            Reply::Ok => Reply::Log(28),
            reply => reply,
        };
        bench.connection.complete(reply, run.count);
    }
    bench.lender.batch.clear();
    assert_eq!(bench.write(), Sent { oks: 0, errors: 3 });
    let sent = String::from_utf8(bench.connection.socket.sent.clone()).unwrap();
    let codes: Vec<_> = sent.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(codes, ["error log", "error too-long", "error log"]);
}

/// The channel's own output waits for a writable event, as replies do.
#[test]
fn an_alert_that_the_kernel_takes_in_part_does_not_make_the_loop_spin() {
    let mut bench = Bench::with_limit(64, [Ok(&b"\x16\x03\x01\x02\x00\x01"[..])]);
    bench.read();
    assert!(bench.connection.wants_write());
    bench.connection.socket.writes.push_back(Ok(3));
    bench.write();
    assert!(!bench.connection.wants_write() && !bench.connection.wants_end());
    bench.connection.ready |= Ready::WRITABLE;
    bench.write();
    assert_eq!(bench.connection.socket.sent, opening::NO_TLS_ALERT);
    assert!(bench.connection.wants_end());
}

#[test]
fn closing_waits_for_the_replies_then_forgets_what_comes() {
    let mut bench = Bench::new([Ok(&b"a\n"[..]), Ok(b"late\n"), Ok(b"")]);
    bench.read();
    bench.connection.close();
    assert!(!bench.connection.wants_end(), "a reply is staged");
    bench.commit();
    assert!(!bench.connection.wants_end(), "a reply is due");
    bench.write();
    bench.commit();
    assert!(bench.connection.wants_end());
    bench.connection.linger(1);
    assert!(bench.connection.socket.ended && !bench.connection.is_done());
    bench.read();
    assert!(bench.lender.batch.is_empty() && bench.connection.is_done());
}

#[test]
fn one_client_gets_a_share_of_a_turn_and_no_more() {
    static BARE: [u8; 64 << 10] = [b'\n'; 64 << 10];
    let lines: &'static [u8] = b"1234567\n1234567\n1234567\n1234567\n";
    for read in [&BARE[..], lines] {
        let mut bench = Bench::with_limit(64 << 10, (0..10_000).map(|_| Ok(read)));
        bench.connection.expect_end();
        while bench.connection.wants_read() {
            let spent = bench.read();
            // One record or one read may exceed it.
            assert!(spent < READ_BUDGET + (64 << 10) + 100, "{spent}");
            assert!(spent >= READ_BUDGET || !bench.connection.wants_read());
            let grown = bench.lender.batch.size();
            assert!(grown < READ_BUDGET + 100, "{grown}");
            bench.commit();
        }
        assert!(bench.has(Ready::READABLE), "there is more");
    }
}

#[test]
fn a_full_batch_ends_the_reading() {
    let lines: &'static [u8] = b"1\n2\n3\n4\n";
    let mut bench = Bench::new([Ok(lines)]);
    bench.read_into(1);
    assert_eq!(bench.lender.batch.messages(), 1);
    assert!(bench.connection.has_unread() && bench.connection.wants_read());
    assert_eq!(bench.commit(), ["recieved: 1"]);
    bench.read_into(usize::MAX);
    assert_eq!(bench.commit(), ["recieved: 2", "recieved: 3", "recieved: 4"]);
    assert!(!bench.connection.has_unread());
}

/// A message completed by the end of the input counts against the budget, too.
#[test]
fn the_last_line_counts() {
    static LINE: [u8; 8 << 10] = [1; 8 << 10];
    let mut bench = Bench::with_limit(8 << 10, [Ok(&LINE[..]), Ok(b"")]);
    bench.connection.expect_end();
    let spent = bench.read();
    assert_eq!(bench.life(), Life::ReadClosed);
    assert!(spent > 5 * LINE.len(), "each byte is escaped to four: {spent}");
}

#[test]
fn unsearched_input_is_bounded_by_the_longest_message() {
    for (max_message, most) in [(1, 4 << 10), (10 << 10, (10 << 10) + 1), (1 << 20, (1 << 20) + 1)]
    {
        let policy = policy(max_message);
        let buffers = Buffers::new(&policy);
        assert_eq!(buffers.most_held_bytes(policy.rules), most);
    }
}

#[test]
fn unsearched_messages_are_refused_one_by_one() {
    let lines: &'static [u8] = b"1\n2\n3\n4";
    let mut bench = Bench::new([Ok(lines), Ok(b"")]);
    bench.read_into(1);
    assert_eq!(bench.commit(), ["recieved: 1"]);
    bench.connection.refuse();
    bench.connection.expect_end();
    bench.read();
    assert_eq!(bench.commit(), [""; 0]);
    bench.write();
    let sent = String::from_utf8(bench.connection.socket.sent.clone()).unwrap();
    assert_eq!(sent.matches("error shutting-down: ").count(), 3, "{sent}");
}
