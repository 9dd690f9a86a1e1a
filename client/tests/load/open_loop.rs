//! The open loop: latency counts from the planned time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Fake, count, number};

const MS: f64 = 1e6;
const STALL: Duration = Duration::from_millis(200);

/// Stalls all connections for [`STALL`] when it has received `at` messages.
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
    // 200 ms are a fifth of a second's messages.
    let args = ["-rate", "500", "-duration", "1s", "-connections", "4"];
    let (json, code) = stalling(200).measure(&args);
    assert_eq!(code, 0);
    assert_eq!(json["settings"]["loop"], "open");
    assert!(number(&json, "/latency_ns/p99") >= 150.0 * MS, "{json}");
    assert!(number(&json, "/latency_ns/max") >= 199.0 * MS, "{json}");
    // Four connections with room for one message each: the others were held back.
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
    let plan = [
        "-rate",
        "2000",
        "-connections",
        "10",
        "-pipeline",
        "100",
        "-nt",
        "2",
    ];
    let (json, _) = server.measure(&[&plan[..], &["-duration", "500ms"]].concat());
    let sent = count(&json, "/messages/sent") + count(&json, "/open_loop/never_sent");
    assert_eq!(sent, 1000, "{json}");
    let (json, _) = server.measure(&[&plan[..], &["-messages", "300", "-warmup", "50ms"]].concat());
    assert_eq!(count(&json, "/messages/acknowledged"), 300);
    assert!(
        number(&json, "/measured_s") >= 0.149,
        "300 messages are spread over 150 ms"
    );
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
    // The few that were sent had waited ever longer.
    assert!(number(&json, "/latency_ns/max") >= 200.0 * MS, "{json}");
}
