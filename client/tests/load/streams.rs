//! Tests of `client load -stream` and `client verify -stream`, with a server that publishes its
//! messages.

use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Fake, answer_lines, arg, count};
use test_support::commands::{client, end, finish, text};
use test_support::publisher::Publisher;
use test_support::stream_log::{STREAM, nodes};
use test_support::wait::wait_until;

/// What the server does wrong with message 5 of each connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// It acknowledges the message without storing it.
    Lies,
    Repeats,
    /// It rejects the message but stores it.
    Denies,
}

/// A server that publishes each message and then answers ok. It rejects every seventh of a
/// connection.
fn publishing(urls: &str, fault: Fault) -> Fake {
    let publisher = Mutex::new(Publisher::to(urls));
    Fake::serving(move |stream, _| {
        let peer = stream.peer_addr().unwrap();
        answer_lines(stream, |line, number| {
            if number % 7 == 6 {
                return "error log: full\n".to_owned();
            }
            let record = format!("INFO\t| 2019-02-24 15:10:14 --{peer} recieved: {line}\n");
            let mut publisher = publisher.lock().unwrap();
            let is_hit = number == 5;
            if !(is_hit && fault == Fault::Lies) {
                publisher.publish(record.as_bytes());
            }
            if is_hit && fault == Fault::Repeats {
                publisher.publish(record.as_bytes());
            }
            if is_hit && fault == Fault::Denies {
                return "error log: full\n".to_owned();
            }
            "ok\n".to_owned()
        });
    })
}

const RUN: [&str; 4] = ["-connections", "3", "-messages", "150"];

#[test]
fn a_run_is_held_against_what_came_into_the_stream() {
    let Some(cluster) = nodes(1) else { return };
    let urls = cluster.urls();
    let directory = TempDir::new().unwrap();
    let run = directory.path().join("run.json");
    let at = ["-stream", STREAM, "-nats", &urls];
    for (fault, finding) in [
        (Fault::None, None),
        (Fault::Lies, Some("missing")),
        (Fault::Repeats, Some("repeated")),
        (Fault::Denies, Some("rejected_but_logged")),
    ] {
        let server = publishing(&urls, fault);
        let save = ["-save", arg(&run)];
        let (json, code) = server.measure(&[&RUN[..], &at, &save].concat());
        let found = &json["verification"];
        assert_eq!(found["passed"], fault == Fault::None, "{found}");
        assert_eq!(found["logs"], serde_json::json!(["stream LOG"]));
        if let Some(finding) = finding {
            // A slow connection may not have sent that message.
            let hits = count(found, &format!("/{finding}"));
            assert!((1..=3).contains(&hits) && code == 4, "{found}");
        } else {
            assert_eq!((&found["records"], code), (&json["messages"]["acknowledged"], 0));
        }
        // A later verification, with the messages of other runs in the stream, gives the same
        // result.
        let later = finish(&mut client(&[&["verify", "-json"], &at[..], &[arg(&run)]].concat()));
        assert_eq!(later.status.code(), Some(code), "{later:?}");
        let later: Value = serde_json::from_slice(&later.stdout).unwrap();
        assert_eq!(
            (&later["records"], &later["examples"]),
            (&found["records"], &found["examples"])
        );
    }
}

#[test]
fn the_node_may_be_killed_meanwhile() {
    let Some(mut cluster) = nodes(1) else { return };
    let urls = cluster.urls();
    let server = publishing(&urls, Fault::None);
    let at = ["-stream", STREAM, "-nats", &urls, "-timeout", "60s"];
    let load = server.load(&[&RUN[..], &at, &["-json"]].concat()).spawn().unwrap();
    for stored in [30, 60, 90] {
        let messages = || cluster.stream(STREAM).info().unwrap().state.messages;
        wait_until("progress", || messages() >= stored);
        cluster.nodes[0].kill().unwrap();
        cluster.nodes[0].start().unwrap();
    }
    let output = end(load);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let code = output.status.code().unwrap();
    assert_eq!((&json["verification"]["passed"], code), (&true.into(), 0), "{output:?}");
}

#[test]
fn a_stream_that_cannot_be_read_is_said_before_the_run() {
    let Some(cluster) = nodes(1) else { return };
    let urls = cluster.urls();
    let server = Fake::answering(|_, _| panic!("nothing is sent"));
    let output = finish(&mut server.load(&["-stream", "OTHER", "-nats", &urls]));
    let expected = format!("client load: there is no stream OTHER at {urls}\n");
    assert_eq!((text(&output.stderr), output.status.code()), (&*expected, Some(1)));
    for (args, expected) in [
        (
            &["load", "-stream", "A", "-verify", "b"][..],
            "client load: -stream and -verify are two logs: give one\n",
        ),
        (
            &["load", "-nats", "a"],
            "client load: -nats and its kind are about a stream: -stream names it\n",
        ),
        (
            &["verify", "run", "-stream", "A", "b"],
            "client verify: -stream and LOG are two logs: give one\n",
        ),
    ] {
        let output = finish(&mut client(args));
        assert_eq!((text(&output.stderr), output.status.code()), (expected, Some(2)));
    }
}
