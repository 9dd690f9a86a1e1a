//! Tests of `client read` with a stream, under failures of its nodes.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::ops::RangeInclusive;
use std::process::{Child, Command, Output};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use nats::address::Login;
use nats::client::Client;
use nats::options::Options;
use rustix::process::Signal;
use tempfile::TempDir;
use test_support::ca::TestCa;
use test_support::commands::{self, client, end, finish, text};
use test_support::nodes::{Cluster, Node, Setup, json};
use test_support::publisher::Publisher;
use test_support::stream_log::{STREAM, nodes, setup};
use test_support::wait::{DEADLINE, wait_until};

/// Records of the lines with these numbers.
fn records(numbers: RangeInclusive<u64>) -> Vec<u8> {
    let record = |n| {
        format!("INFO\t| 2026-11-25 15:10:14 --127.0.0.1:49030 recieved: @shop-1:{n} line {n}\n")
    };
    numbers.map(record).collect::<String>().into_bytes()
}

/// The lines with these numbers, as sent.
fn lines(numbers: RangeInclusive<u64>) -> String {
    let line = |n| format!("@shop-1:{n} line {n}\n");
    numbers.map(line).collect()
}

fn read(cluster: &Cluster, args: &[&str]) -> Command {
    read_at(&cluster.urls(), args)
}

fn read_at(urls: &str, args: &[&str]) -> Command {
    client(&[&["read", "-stream", STREAM, "-nats", urls], args].concat())
}

/// The stdout, stderr and exit code of a command.
fn done(mut command: Command) -> (String, String, i32) {
    let output = finish(&mut command);
    let said = text(&output.stderr).to_owned();
    (text(&output.stdout).to_owned(), said, output.status.code().unwrap())
}

/// A reader with `-follow`.
struct Follower {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Follower {
    fn of(mut command: Command) -> Self {
        let mut child = command.arg("-follow").spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&shown);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Self { child, shown }
    }

    fn shows(&self, expected: &str) {
        let is_long_enough = || self.shown.lock().unwrap().len() >= expected.len();
        wait_until("all lines", is_long_enough);
        let shown = self.shown.lock().unwrap();
        assert!(*shown == expected.as_bytes(), "in order, and once");
    }

    fn signal(&self, signal: Signal) {
        commands::signal(&self.child, signal);
    }

    /// Ends it with SIGINT. Returns its stderr.
    fn stop(self) -> String {
        self.signal(Signal::INT);
        let output = self.end();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stderr).to_owned()
    }

    fn end(self) -> Output {
        end(self.child)
    }
}

#[test]
fn a_stream_is_read_in_order_and_chosen_from() {
    let Some(cluster) = nodes(1) else { return };
    let mut publisher = Publisher::to(&cluster.urls());
    let (nothing, said, code) = done(read(&cluster, &[]));
    assert_eq!((nothing.as_str(), said.as_str(), code), ("", "", 0));
    for batch in 0..600 {
        publisher.publish(&records(10 * batch + 1..=10 * batch + 10));
    }
    let (all, said, code) = done(read(&cluster, &[]));
    assert!(all == lines(1..=6000), "all lines come back");
    assert_eq!((said.as_str(), code), ("", 0));
    let (last, ..) = done(read(&cluster, &["-last", "15"]));
    assert_eq!(last, lines(5986..=6000));
    let (last, ..) = done(read(&cluster, &["-last", "1", "-id", "shop-1", "-json"]));
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    let expected = ("2026-11-25 15:10:14", "@shop-1:6000 line 6000");
    assert_eq!((&last["time"], &last["message"]), (&expected.0.into(), &expected.1.into()));
    // Records may have any time. Messages that were stored long before are not requested.
    for (since, count) in [("2026-11-25T15:10:14Z", 6000), ("2026-11-25T15:10:15Z", 0)] {
        let (since, ..) = done(read(&cluster, &["-utc", "-since", since]));
        assert_eq!(since.lines().count(), count);
    }
    let follower = Follower::of(read(&cluster, &["-last", "5"]));
    follower.shows(&lines(5996..=6000));
    publisher.publish(&records(6001..=6003));
    follower.shows(&lines(5996..=6003));
    assert_eq!(follower.stop(), "");
    wait_until("no consumer", || consumers(&cluster).is_empty());
}

#[test]
fn what_is_missing_is_named_and_what_is_no_record_is_counted() {
    let Some(cluster) = nodes(1) else { return };
    let mut publisher = Publisher::to(&cluster.urls());
    // As two servers record a sender that switched between them.
    publisher.publish(&records(3..=5));
    publisher.publish(&records(1..=4));
    let (shown, said, code) = done(read(&cluster, &["-once"]));
    let expected: String = (1..=5).map(|n| format!("line {n}\n")).collect();
    assert_eq!((shown.as_str(), code), (expected.as_str(), 0));
    assert!(said.contains("shop-1: 5 lines, 2 repeats removed, none missing"), "{said}");
    publisher.publish(&records(8..=9));
    publisher.publish(b"hello\nINFO\t| cut");
    let (shown, said, code) = done(read(&cluster, &["-once"]));
    assert_eq!((shown.lines().count(), code), (7, 4));
    assert!(said.contains(": 7 lines, 2 repeats removed, 2 MISSING: 6-7"), "{said}");
    assert!(said.contains("message 4 ends with a torn record"), "{said}");
    assert!(said.contains("2 lines are no record"), "{said}");
    let (_, _, code) = done(read(&cluster, &["-strict"]));
    assert_eq!(code, 1);
}

#[test]
fn a_node_that_is_killed_costs_no_line() {
    let Some(mut cluster) = nodes(1) else { return };
    let mut publisher = Publisher::to(&cluster.urls());
    publisher.publish(&records(1..=10));
    let follower = Follower::of(read(&cluster, &[]));
    follower.shows(&lines(1..=10));
    for round in 1..=3 {
        cluster.nodes[0].kill().unwrap();
        cluster.nodes[0].start().unwrap();
        publisher.publish(&records(10 * round + 1..=10 * round + 10));
        follower.shows(&lines(1..=10 * round + 10));
    }
    follower.stop();
    let (all, said, code) = done(read(&cluster, &[]));
    assert_eq!((all, said.as_str(), code), (lines(1..=40), "", 0));
}

#[test]
fn every_node_of_a_cluster_may_die_under_a_reader() {
    let Some(mut cluster) = nodes(3) else { return };
    let mut publisher = Publisher::to(&cluster.urls());
    publisher.publish(&records(1..=10));
    // One reader is connected to the node that will be killed, whichever it is.
    let urls: Vec<_> = cluster.nodes.iter().map(Node::url).collect();
    let followers: Vec<_> = (0..3)
        .map(|first| {
            let mut urls = urls.clone();
            urls.rotate_left(first);
            Follower::of(read_at(&urls.join(","), &[]))
        })
        .collect();
    for killed in 0..3 {
        let last = 10 * (killed as u64 + 1);
        for follower in &followers {
            follower.shows(&lines(1..=last));
        }
        cluster.nodes[killed].kill().unwrap();
        publisher.publish(&records(last + 1..=last + 10));
        for follower in &followers {
            follower.shows(&lines(1..=last + 10));
        }
        cluster.nodes[killed].start().unwrap();
        cluster.wait_until_healthy().unwrap();
    }
    for follower in followers {
        follower.stop();
    }
    let (all, said, code) = done(read(&cluster, &[]));
    assert_eq!((all, said.as_str(), code), (lines(1..=40), "", 0));
}

#[test]
fn a_node_that_hangs_is_left_though_its_connection_stays() {
    let Some(mut cluster) = nodes(3) else { return };
    let mut publisher = Publisher::to(&cluster.urls());
    publisher.publish(&records(1..=10));
    let leader = cluster.stream(STREAM).leader().unwrap();
    let (hangs, other) = (&cluster.nodes[leader], &cluster.nodes[(leader + 1) % 3]);
    let urls = format!("{},{}", hangs.url(), other.url());
    let follower = Follower::of(read_at(&urls, &[]));
    follower.shows(&lines(1..=10));
    cluster.nodes[leader].pause().unwrap();
    publisher.publish(&records(11..=20));
    follower.shows(&lines(1..=20));
    cluster.nodes[leader].resume().unwrap();
    follower.stop();
}

/// A reply of the `JetStream` API.
fn ask(cluster: &Cluster, subject: &str, json: &str) -> serde_json::Value {
    let urls = vec![cluster.nodes[0].url().parse().unwrap()];
    let options = Options { urls, ..Options::default() };
    let mut client = Client::connect(&options, "test").unwrap();
    let subject = format!("$JS.API.{subject}");
    let answer = client.request(&subject, b"", json.as_bytes(), DEADLINE);
    serde_json::from_slice(&answer.unwrap().payload).unwrap()
}

fn consumers(cluster: &Cluster) -> Vec<String> {
    let names = ask(cluster, &format!("CONSUMER.NAMES.{STREAM}"), "{}");
    serde_json::from_value(names["consumers"].clone()).unwrap()
}

/// Deletes the only consumer of the stream.
fn delete_consumer(cluster: &Cluster) {
    wait_until("one consumer", || consumers(cluster).len() == 1);
    let name = &consumers(cluster)[0];
    let deleted = ask(cluster, &format!("CONSUMER.DELETE.{STREAM}.{name}"), "");
    assert_eq!(deleted["success"], true, "{deleted}");
}

#[test]
fn a_consumer_that_is_deleted_is_made_again() {
    let Some(cluster) = nodes(1) else { return };
    let mut publisher = Publisher::to(&cluster.urls());
    let follower = Follower::of(read(&cluster, &[]));
    for round in 0..5 {
        publisher.publish(&records(10 * round + 1..=10 * round + 10));
        follower.shows(&lines(1..=10 * round + 10));
        delete_consumer(&cluster);
    }
    assert_eq!(follower.stop(), "", "it is not worth a word");
}

#[test]
fn messages_that_were_removed_unread_are_told_of() {
    let Some(cluster) = nodes(1) else { return };
    let mut publisher = Publisher::to(&cluster.urls());
    for n in 1..=5 {
        publisher.publish(&records(n..=n));
    }
    for sequence in [2, 5] {
        let json = json!({ "seq": sequence }).to_string();
        let deleted = ask(&cluster, &format!("STREAM.MSG.DELETE.{STREAM}"), &json);
        assert_eq!(deleted["success"], true, "{deleted}");
    }
    let (shown, said, code) = done(read(&cluster, &[]));
    assert_eq!((shown, code), (lines(1..=1) + &lines(3..=4), 0));
    let removed = |which| format!("client read: {which} of stream LOG were removed unread\n");
    let one = |which| removed(which).replace("were", "was");
    assert_eq!(said, one("message 2") + &one("message 5"));

    let follower = Follower::of(read(&cluster, &["-last", "1", "-id", "shop-1"]));
    follower.shows(&lines(4..=4));
    follower.signal(Signal::STOP);
    // No message is on its way to the consumer any more.
    delete_consumer(&cluster);
    publisher.publish(&records(6..=6));
    publisher.publish(&records(7..=7));
    cluster.stream(STREAM).purge().unwrap();
    publisher.publish(&records(8..=8));
    follower.signal(Signal::CONT);
    follower.shows(&(lines(4..=4) + &lines(8..=8)));
    let said = follower.stop();
    assert!(said.ends_with(&removed("messages 6 to 7")), "{said}");
}

#[test]
fn another_stream_of_the_same_name_is_another_log() {
    let Some(cluster) = nodes(1) else { return };
    let mut publisher = Publisher::to(&cluster.urls());
    publisher.publish(&records(1..=1));
    for (is_made_again, expected) in [
        (true, "stream LOG was deleted and made again: what it holds now is another log"),
        (false, "stream LOG was deleted"),
    ] {
        let follower = Follower::of(read(&cluster, &["-last", "1"]));
        follower.shows(&lines(1..=1));
        follower.signal(Signal::STOP);
        cluster.stream(STREAM).delete().unwrap();
        if is_made_again {
            cluster.stream(STREAM).create(&json!({})).unwrap();
            Publisher::to(&cluster.urls()).publish(&records(1..=1));
        }
        follower.signal(Signal::CONT);
        let output = follower.end();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr), format!("client read: {expected}\n"));
    }
}

#[test]
fn what_cannot_be_read_is_one_line() {
    let Some(setup) = setup(1) else { return };
    let config = r#"accounts {
        A: { jetstream: enabled, users: [
            { user: admin, password: x },
            { user: blind, password: x, permissions: { publish: "none" } },
            { user: idle, password: x, permissions: { publish: { deny: "$JS.API.CONSUMER.MSG.NEXT.>" } } }
        ] },
        B: { users: [ { user: poor, password: x } ] }
    }"#;
    let login = Some(Login::User("admin".to_owned(), "x".to_owned()));
    let config = config.to_owned();
    let cluster = Setup { config, login, ..setup }.start().unwrap();
    let place = cluster.nodes[0].address();
    let said = |user: &str, stream: &str| {
        let url = format!("nats://{user}@{place}");
        let (shown, said, code) = done(client(&["read", "-stream", stream, "-nats", &url]));
        assert_eq!((shown.as_str(), code, said.lines().count()), ("", 1, 1), "{said}");
        said
    };
    let missing = format!("client read: there is no stream LOG at nats://{place}\n");
    assert_eq!(said("admin:x", STREAM), missing);
    cluster.stream(STREAM).create(&json!({})).unwrap();
    Publisher::to(&format!("nats://admin:x@{place}")).publish(&records(1..=1));
    for (user, expected) in [
        ("blind:x", "Permissions Violation for Publish to \"$JS.API.STREAM.INFO.LOG\""),
        ("idle:x", "Permissions Violation for Publish to \"$JS.API.CONSUMER.MSG.NEXT.LOG."),
        ("poor:x", "stream LOG cannot be read: JetStream not enabled for account (10039)"),
        ("admin:y", "it refuses the login (Authorization Violation)"),
    ] {
        let said = said(user, STREAM);
        assert!(said.contains(expected), "{user}: {said}");
    }
    let (_, said, code) = done(client(&["read", "-stream", STREAM, "a.log"]));
    assert_eq!(code, 2);
    assert_eq!(said, "client read: -stream and FILE are two logs: give one\n");
}

#[test]
fn a_stream_is_read_over_tls_with_a_password() {
    let Some(setup) = setup(1) else { return };
    let folder = TempDir::new().unwrap();
    let authority = TestCa::new("test").unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.certificate()).unwrap();
    let files = authority.issue(&["127.0.0.1"]).unwrap();
    let files = files.write(folder.path(), "nats").unwrap();
    let config = format!(
        "tls {{ cert_file: '{}', key_file: '{}' }}\nauthorization {{ user: a, password: b }}",
        files.certificate.display(),
        files.key.display()
    );
    let mut admin = Options::default();
    admin.tls.ca = Some(ca.clone());
    let login = Some(Login::User("a".to_owned(), "b".to_owned()));
    let cluster = Setup { config, login, admin, ..setup };
    let cluster = cluster.start().unwrap();
    cluster.stream(STREAM).create(&json!({})).unwrap();
    let url = format!("tls://a:b@{}", cluster.nodes[0].address());
    let ca = ca.to_str().unwrap();
    let mut publisher = Publisher::to(&url);
    publisher.trust(ca);
    publisher.publish(&records(1..=100));
    let (all, said, code) = done(read_at(&url, &["-nats-ca", ca]));
    assert_eq!((all, said.as_str(), code), (lines(1..=100), "", 0));
}
