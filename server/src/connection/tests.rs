//! Connections over sockets whose reads and writes go as planned.

use std::collections::VecDeque;

use common::protocol::Framing;

use super::*;

const KEY: usize = 7;
const TIME: &str = "2019-02-24 15:10:14";

/// A socket whose reads and writes go as planned. Reads that are not planned would block;
/// writes that are not take everything.
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

/// A connection with what the loop lends it.
struct Bench {
    connection: Connection<Planned>,
    work: Workspace,
    batch: Batch,
}

impl Bench {
    fn new(reads: impl IntoIterator<Item = io::Result<&'static [u8]>>) -> Self {
        let rules = Rules {
            framing: Framing::Line,
            max_message: 8,
        };
        let mut socket = Planned::default();
        socket.reads.extend(reads);
        let mut connection = Connection::new(socket, ([127, 0, 0, 1], 5).into(), 0);
        connection.flags |= Flags::READABLE;
        Self {
            connection,
            work: Workspace::new(rules),
            batch: Batch::default(),
        }
    }

    fn read(&mut self) {
        self.connection
            .read(KEY, &mut self.work, TIME, &mut self.batch);
    }

    /// Makes the staged replies due, as a commit does; returns the messages it recorded.
    fn commit(&mut self) -> Vec<String> {
        for run in self.batch.replies() {
            assert_eq!(run.key, KEY);
            self.connection.owe(run.reply, run.count);
        }
        let records = String::from_utf8(self.batch.records().to_vec()).unwrap();
        self.batch.clear();
        let text = |line: &str| line.split_once("127.0.0.1:5 ").unwrap().1.to_owned();
        records.lines().map(text).collect()
    }

    fn write(&mut self) -> Sent {
        self.connection.write(&mut self.work, TIME, &mut self.batch)
    }

    fn has(&self, flags: Flags) -> bool {
        self.connection.flags.contains(flags)
    }
}

fn error<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

#[test]
fn an_idle_client_is_small() {
    // A socket is its descriptor; mio's is larger in debug builds only.
    type Client = Connection<std::os::fd::OwnedFd>;
    assert!(size_of::<Client>() <= 64, "{}", size_of::<Client>());
}

#[test]
fn a_short_read_ends_the_reading_unless_the_end_was_announced() {
    let mut bench = Bench::new([Ok(&b"a\n"[..]), Ok(b"b\n"), Ok(b"")]);
    bench.read();
    assert_eq!(bench.commit(), ["recieved: a"]);
    assert!(!bench.has(Flags::READABLE));
    bench.connection.expect_end();
    bench.read();
    assert_eq!(bench.commit(), ["recieved: b"]);
    assert!(bench.has(Flags::INPUT_ENDED));
}

#[test]
fn nothing_is_owed_before_the_commit_and_nothing_is_done_before_the_reply() {
    let mut bench = Bench::new([Ok(&b"a\nb"[..]), Ok(b"")]);
    bench.connection.expect_end();
    bench.read();
    assert!(bench.has(Flags::INPUT_ENDED));
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
    assert!(!bench.has(Flags::WRITABLE));
    bench.connection.flags |= Flags::WRITABLE;
    assert_eq!(bench.write(), Sent::default());
    assert!(!bench.has(Flags::WRITABLE));
    bench.connection.flags |= Flags::WRITABLE;
    assert_eq!(bench.write(), Sent { oks: 1, errors: 0 });
    assert_eq!(bench.commit(), ["send: ok"]);
    bench.connection.flags |= Flags::WRITABLE;
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
    assert!(bench.has(Flags::FAILED) && !bench.connection.is_done());
    assert_eq!(bench.commit(), ["recieved: whole"]);
    assert!(bench.connection.is_done() && !bench.connection.wants_write());
}

#[test]
fn a_client_that_takes_no_replies_is_still_read_to_its_end() {
    let mut bench = Bench::new([Ok(&b"a\n"[..]), Ok(b"b\n"), Ok(b"")]);
    bench.read();
    bench.commit();
    bench
        .connection
        .socket
        .writes
        .push_back(error(io::ErrorKind::BrokenPipe));
    bench.write();
    assert!(bench.connection.wants_read());
    bench.read();
    assert_eq!(bench.commit(), ["recieved: b"]);
    assert!(bench.connection.is_done());
}

#[test]
fn a_client_that_is_owed_too_much_waits_and_goes_on_when_it_has_taken_some() {
    let mut bench = Bench::new([]);
    bench.connection.owe_unasked(Reply::Ok, MAX_OWED as u32);
    assert!(!bench.connection.wants_read());
    bench.connection.socket.writes.push_back(Ok(3));
    bench.write();
    assert!(bench.connection.wants_read());
}

#[test]
fn a_failed_commit_is_answered_with_its_error() {
    let mut bench = Bench::new([Ok(&b"a\n123456789\nb\n"[..])]);
    bench.read();
    for run in bench.batch.replies() {
        let reply = match run.reply {
            Reply::Ok => Reply::Log(28),
            reply => reply,
        };
        bench.connection.owe(reply, run.count);
    }
    bench.batch.clear();
    assert_eq!(bench.write(), Sent { oks: 0, errors: 3 });
    let sent = String::from_utf8(bench.connection.socket.sent.clone()).unwrap();
    let codes: Vec<_> = sent
        .lines()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(codes, ["error log", "error too-long", "error log"]);
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
    assert!(bench.batch.is_empty() && bench.connection.is_done());
}

#[test]
fn one_client_gets_a_share_of_a_turn_and_no_more() {
    let line: &'static [u8] = b"1234567\n1234567\n1234567\n1234567\n";
    let mut bench = Bench::new((0..10_000).map(|_| Ok(line)));
    bench.connection.expect_end();
    bench.read();
    assert!(bench.has(Flags::READABLE), "there is more");
    let staged = bench.batch.records().len();
    assert!(
        (READ_BUDGET / 2..2 * READ_BUDGET).contains(&staged),
        "{staged}"
    );
}
