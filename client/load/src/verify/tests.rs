//! Tests of the verification with whole logs.

use std::io::{self, Read};
use std::sync::atomic::AtomicBool;

use super::findings::Verification;
use super::read::BUFFER;
use super::sent::Sent;
use super::verifier::Verifier;
use crate::message::ack_log::AckLog;
use crate::message::pattern::Pattern;
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
    let parse = |text| Template::parse(text).unwrap().framed(common::protocol::Framing::Line);
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
    assert_eq!((found.records, found.acknowledged, found.rejected), (6, 5, 1));
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
    ("twice in a row", |log| log.insert(1, record(0, 0)), [0, 1, 0, 0, 0, 0]),
    ("twice, later", |log| log.push(record(0, 0)), [0, 1, 0, 0, 0, 0]),
    ("swapped", |log| log.swap(1, 4), [0, 0, 1, 0, 0, 0]),
    ("swapped between connections", |log| log.swap(1, 2), [0; 6]),
    ("a byte changed", |log| log[1] = log[1].replace(" 0;", " 0,"), [1, 0, 0, 1, 0, 0]),
    ("a byte more", |log| log[1] = log[1].replace(';', ";;"), [1, 0, 0, 1, 0, 0]),
    ("a byte less", |log| log[1] = log[1].replace(';', ""), [1, 0, 0, 0, 0, 1]),
    ("an unanswered one cut", |log| log[8] = log[8].replace(" 4;", ""), [0, 0, 0, 0, 0, 1]),
    ("another level", |log| log[1] = log[1].replace("INFO", "WARN"), [1, 0, 0, 1, 0, 0]),
    ("another time", |log| log[1] = log[1].replace("15:1", "15 1"), [1, 0, 0, 1, 0, 0]),
    ("no peer", |log| log[1] = log[1].replace("127.0.0.1:49030", ""), [1, 0, 0, 1, 0, 0]),
    ("as a reply", |log| log[1] = log[1].replace("recieved", "send"), [1, 0, 0, 1, 0, 0]),
    ("two in a line", |log| log[1] = log[1].replace('\n', ""), [1, 0, 0, 1, 0, 0]),
    ("rejected, yet there", |log| log.insert(5, record(0, 2)), [0, 0, 0, 0, 1, 0]),
    ("never sent", |log| log.push(record(1, 2)), [0, 0, 0, 1, 0, 0]),
    ("never connected", |log| log.push(record(2, 0)), [0, 0, 0, 1, 0, 0]),
    ("no line end at the end", |log| _ = log[8].pop(), [0, 0, 0, 0, 0, 1]),
    ("empty", Vec::clear, [5, 0, 0, 0, 0, 0]),
    ("a hello", |log| log.insert(0, hello("I am cafe/01")), [0; 6]),
    ("cut, and mended", |log| log[8] = log[8].replace(" 4;", "\\"), [0, 0, 0, 0, 0, 1]),
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
    ("a hello cut", |log| log.insert(0, hello("I am cafe/0")), [0, 0, 0, 0, 0, 1]),
    ("a hello of no connection", |log| log.insert(0, hello("I am cafe/02")), [0, 0, 0, 1, 0, 0]),
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
struct Chunks<'a>(&'a [u8], usize);

impl Read for Chunks<'_> {
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
        let mut chunks = Chunks(log.as_bytes(), len);
        assert!(verifier.read(&mut chunks, &NEVER).unwrap());
        assert_eq!(verifier.finish(), whole, "in chunks of {len}");
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
