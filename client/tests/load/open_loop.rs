//! Tests of the open loop, whose latency counts from the planned time.

use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Fake, answer_lines, count, number};
use test_support::commands::{end, signal};

const MS: f64 = 1e6;
const STALL: Duration = Duration::from_millis(200);

/// A server that stalls all connections for [`STALL`] when it has received `at` messages.
fn stalling(at: u64) -> Fake {
    let gate = Mutex::new(());
    let received = AtomicU64::new(0);
    Fake::answering(move |_, _| {
        let _open = gate.lock().unwrap();
        if received.fetch_add(1, Ordering::Relaxed) == at {
            thread::sleep(STALL);
        }
        "ok\n".to_owned()
    })
}

#[test]
fn a_stall_shows_in_the_open_loops_p99() {
    // In 200 ms a fifth of a second's messages are planned.
    let args = ["-rate", "500", "-duration", "1s", "-connections", "4"];
    let (json, code) = stalling(200).measure(&args);
    assert_eq!(code, 0);
    assert_eq!(json["settings"]["loop"], "open");
    assert!(number(&json, "/latency_ns/p99") >= 150.0 * MS, "{json}");
    assert!(number(&json, "/latency_ns/max") >= 199.0 * MS, "{json}");
    // Four connections have room for one message each. The other messages waited.
    assert!(count(&json, "/open_loop/held") >= 50, "{json}");
}

#[test]
fn a_stall_shows_in_the_closed_loops_max() {
    let args = ["-messages", "2000", "-connections", "4"];
    let (json, code) = stalling(1000).measure(&args);
    assert_eq!(code, 0);
    assert_eq!(json["settings"]["loop"], "closed");
    assert_eq!(json["open_loop"], serde_json::Value::Null);
    assert!(number(&json, "/latency_ns/max") >= 199.0 * MS, "{json}");
    assert!(number(&json, "/latency_ns/p50") < 199.0 * MS, "{json}");
}

#[test]
fn as_many_are_sent_as_were_planned() {
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    let plan = ["-rate", "2000", "-connections", "10", "-pipeline", "100", "-nt", "2"];
    let (json, _) = server.measure(&[&plan[..], &["-duration", "500ms"]].concat());
    let sent = count(&json, "/messages/sent") + count(&json, "/open_loop/never_sent");
    assert_eq!(sent, 1000, "{json}");
    let (json, _) = server.measure(&[&plan[..], &["-messages", "300", "-warmup", "50ms"]].concat());
    assert_eq!(count(&json, "/messages/acknowledged"), 300);
    assert!(number(&json, "/measured_s") >= 0.149, "300 messages are spread over 150 ms");
}

#[test]
fn what_cannot_be_sent_in_time_is_said() {
    let server = Fake::answering(|_, _| {
        thread::sleep(Duration::from_millis(50));
        "ok\n".to_owned()
    });
    let args = ["-rate", "1000", "-duration", "300ms", "-connections", "1"];
    let (json, _) = server.measure(&args);
    assert!(count(&json, "/open_loop/never_sent") >= 250, "{json}");
    let warnings = json["warnings"].to_string();
    assert!(warnings.contains("the rate was not reached"), "{warnings}");
    // The few messages that were sent had waited longer and longer.
    assert!(number(&json, "/latency_ns/max") >= 200.0 * MS, "{json}");
}

/// A server that answers at once, but closes connection 0 after `answers` replies.
fn loses_one(answers: u64) -> Fake {
    Fake::serving(move |stream, number| {
        let closing = stream.try_clone().unwrap();
        answer_lines(stream, |_, n| {
            if number == 0 && n == answers {
                closing.shutdown(Shutdown::Both).unwrap();
            }
            "ok\n".to_owned()
        });
    })
}

#[test]
fn a_lost_connection_loses_no_plan() {
    let plan = ["-rate", "2000", "-duration", "1s", "-connections", "2", "-pipeline", "100"];
    for threads in ["1", "2"] {
        let server = loses_one(50);
        let (json, code) = server.measure(&[&plan[..], &["-nt", threads]].concat());
        assert_eq!((code, json["ended_by"].as_str()), (0, Some("duration")));
        assert_eq!(count(&json, "/connections/lost"), 1);
        let planned = count(&json, "/messages/sent") + count(&json, "/messages/never_sent");
        assert_eq!(planned, 2000, "{json}");
        let acknowledged = count(&json, "/messages/acknowledged");
        assert!(acknowledged > 1800, "the other sends what was planned: {json}");
    }
}

#[test]
fn a_lost_connection_leaves_its_messages_to_the_others() {
    for threads in ["1", "2"] {
        let server = loses_one(50);
        let args = ["-messages", "20000", "-connections", "2", "-nt", threads];
        let (json, code) = server.measure(&args);
        assert_eq!((code, json["ended_by"].as_str()), (0, Some("messages")));
        assert_eq!(count(&json, "/messages/sent"), 20_000);
        assert_eq!(count(&json, "/messages/never_sent"), 0);
    }
}

#[test]
fn messages_that_no_connection_is_left_to_send_are_reported() {
    for threads in ["1", "2"] {
        let server = Fake::serving(|stream, _| {
            let closing = stream.try_clone().unwrap();
            answer_lines(stream, |_, n| {
                if n == 50 {
                    closing.shutdown(Shutdown::Both).unwrap();
                }
                "ok\n".to_owned()
            });
        });
        let both = ["-connections", "2", "-nt", threads];
        let open = ["-rate", "1000", "-duration", "2s"];
        let (json, code) = server.measure(&[&open[..], &both].concat());
        assert_eq!((code, json["ended_by"].as_str()), (1, Some("connections-lost")));
        let planned = count(&json, "/messages/sent") + count(&json, "/messages/never_sent");
        assert_eq!(planned, 2000, "{json}");
        assert_eq!(warning(&json, "rate-not-reached"), 1, "{json}");
        let (json, code) = server.measure(&[&["-messages", "5000"][..], &both].concat());
        assert_eq!((code, json["ended_by"].as_str()), (1, Some("connections-lost")));
        let planned = count(&json, "/messages/sent") + count(&json, "/messages/never_sent");
        assert_eq!(planned, 5000, "{json}");
        assert_eq!(warning(&json, "fell-short"), 1, "{json}");
    }
}

/// How many warnings have this name.
fn warning(json: &serde_json::Value, name: &str) -> usize {
    let names = json["warning_names"].as_array().unwrap();
    assert_eq!(names.len(), json["warnings"].as_array().unwrap().len());
    names.iter().filter(|given| *given == name).count()
}

#[test]
fn waiting_for_a_stalled_server_is_not_lateness() {
    let server = Fake::answering(|_, number| {
        if number == 100 {
            thread::sleep(Duration::from_millis(700));
        }
        "ok\n".to_owned()
    });
    let args = ["-connections", "1", "-pipeline", "50", "-rate", "1000", "-duration", "2s"];
    let (json, _) = server.measure(&args);
    assert!(count(&json, "/open_loop/held") > 500, "{json}");
    // The latency includes the stall, the lag does not.
    let (lag, latency) = ("/open_loop/lag_ns/p99", "/latency_ns/max");
    assert!(number(&json, latency) > 600.0 * MS, "{json}");
    assert!(number(&json, lag) < number(&json, latency) / 2.0, "{json}");
}

#[test]
fn a_pause_of_the_load_generator_is_lateness_and_no_timeout() {
    let (sender, receiver) = mpsc::channel();
    let server = Fake::answering(move |_, number| {
        if number == 10 {
            sender.send(()).unwrap();
            // The reply comes while the load generator is stopped.
            thread::sleep(Duration::from_millis(200));
        }
        "ok\n".to_owned()
    });
    let args = ["-connections", "1", "-rate", "100", "-duration", "3s", "-timeout", "1s", "-json"];
    let child = server.load(&args).spawn().unwrap();
    receiver.recv().unwrap();
    signal(&child, Signal::STOP);
    // Longer than `-timeout`, which is the fault under test.
    thread::sleep(Duration::from_millis(1500));
    signal(&child, Signal::CONT);
    let output = end(child);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(count(&json, "/messages/timeouts"), 0, "{json}");
    assert_eq!(count(&json, "/messages/acknowledged"), 300, "{json}");
    assert!(number(&json, "/open_loop/lag_ns/max") > 800.0 * MS, "{json}");
}
