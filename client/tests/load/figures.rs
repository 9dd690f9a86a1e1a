//! Tests of the figures, against servers with known behaviour.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Fake, answer_lines, count, number};
use test_support::commands::{finish, text};

const MS: f64 = 1e6;

#[test]
fn latency_is_at_least_the_servers_delay() {
    let server = Fake::answering(|_, _| {
        thread::sleep(Duration::from_millis(20));
        "ok\n".to_owned()
    });
    let (json, code) = server.measure(&["-connections", "3", "-messages", "12"]);
    assert_eq!(code, 0);
    assert_eq!(json["ended_by"], "messages");
    assert_eq!(count(&json, "/messages/acknowledged"), 12);
    for figure in ["min", "mean", "p50", "p99_99", "max"] {
        let ns = number(&json, &format!("/latency_ns/{figure}"));
        assert!(ns >= 19.9 * MS, "{figure} {ns}");
    }
    // Four messages of 20 ms one after the other on each connection.
    assert!(number(&json, "/measured_s") >= 0.0799, "{json}");
    let rate = number(&json, "/throughput/messages_per_s");
    assert!((rate - 12.0 / number(&json, "/measured_s")).abs() < 1e-6);
}

#[test]
fn the_slowest_tenth_shows_in_p99_and_not_in_p50() {
    let server = Fake::answering(|_, number| {
        if number % 10 == 9 {
            thread::sleep(Duration::from_millis(100));
        }
        "ok\n".to_owned()
    });
    let (json, _) = server.measure(&["-connections", "1", "-messages", "50"]);
    assert!(number(&json, "/latency_ns/p99") >= 99.0 * MS, "{json}");
    assert!(number(&json, "/latency_ns/p50") < 99.0 * MS, "{json}");
    assert_eq!(json["curve"].as_array().unwrap().last().unwrap()[0], 100.0);
}

#[test]
fn every_thread_and_connection_sends_its_share_exactly() {
    let server = Fake::serving(|stream, _| answer_lines(stream, |_, _| "ok\n".to_owned()));
    for (threads, connections, pipeline, messages) in
        [(1, 1, 1, 1), (2, 3, 1, 7), (3, 5, 16, 1000), (2, 2, 1000, 5)]
    {
        let args = [
            format!("-nt={threads}"),
            format!("-connections={connections}"),
            format!("-pipeline={pipeline}"),
            format!("-messages={messages}"),
        ];
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let (json, code) = server.measure(&args);
        assert_eq!(code, 0, "{args:?}");
        assert_eq!(count(&json, "/messages/acknowledged"), messages, "{args:?}");
        assert_eq!(count(&json, "/connections/made"), connections);
        assert_eq!(json["instrument"]["threads"].as_array().unwrap().len(), threads);
    }
}

#[test]
fn messages_say_their_run_connection_and_number() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = Fake::answering(move |line, number| {
        sender.send((line.to_owned(), number)).unwrap();
        "ok\n".to_owned()
    });
    let template = "{run}/{conn:2}/{seq}/{pad:3}\\x21\\r\\n";
    let args = ["-connections", "2", "-nt", "2", "-messages", "6", "-message", template];
    let (json, _) = server.measure(&args);
    let run = json["run"].as_str().unwrap();
    let lines: Vec<_> = receiver.try_iter().collect();
    assert_eq!(lines.len(), 6);
    for (line, number) in lines {
        let rest = line.strip_prefix(run).unwrap();
        let is_expected = |conn| rest == format!("/{conn:02}/{number}/xxx!");
        assert!(is_expected(0) || is_expected(1), "{line} as message {number}");
    }
}

#[test]
fn the_warm_up_is_left_out() {
    let received = Arc::new(AtomicU64::new(0));
    let counter = received.clone();
    let server = Fake::answering(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
        "ok\n".to_owned()
    });
    let (json, code) =
        server.measure(&["-connections", "1", "-warmup", "100ms", "-messages", "20"]);
    assert_eq!(code, 0);
    assert_eq!(count(&json, "/messages/sent"), 20);
    assert!(received.load(Ordering::Relaxed) > 20, "there was a warm-up");
}

#[test]
fn a_run_lasts_as_long_as_it_was_told() {
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    let (json, code) = server.measure(&["-connections", "2", "-duration", "1200ms"]);
    assert_eq!((code, json["ended_by"].as_str()), (0, Some("duration")));
    assert!(number(&json, "/measured_s") >= 1.2);
    // A second, and a remainder that is too short for its own interval.
    let series = json["series"].as_array().unwrap();
    assert_eq!(series[0]["from_s"], 0.0);
    let last = series.last().unwrap();
    assert_eq!(last["to_s"], json["measured_s"]);
    assert!(number(&json, "/instrument/cpu_s") > 0.0);
}

#[test]
fn redis_nats_and_replies_of_several_lines_can_be_driven() {
    // This server greets, answers the hello, and sends PING now and then, as NATS does.
    let server = Fake::serving(|mut stream, _| {
        use std::io::Write as _;
        stream.write_all(b"INFO {}\r\n").unwrap();
        answer_lines(stream, |line, number| match (line, number) {
            ("PUB s 2", n) if n % 2 == 1 => String::new(),
            ("hi", n) if n % 10 == 2 => "PING\r\n+OK\r\n".to_owned(),
            ("CONNECT {\"verbose\":true}", 0) | ("hi", _) => "+OK\r\n".to_owned(),
            other => panic!("{other:?}"),
        });
    });
    let nats = [
        "-hello=CONNECT {\"verbose\":true}\\r\\n",
        "-hello-lines=2",
        "-message=PUB s 2\\r\\nhi\\r\\n",
        "-reply=+OK",
        "-ignore=PING",
        "-connections=2",
        "-pipeline=4",
        "-messages=100",
    ];
    let (json, code) = server.measure(&nats);
    assert_eq!(code, 0);
    assert_eq!(count(&json, "/messages/acknowledged"), 100);
    assert_eq!(count(&json, "/messages/unasked_replies"), 0);

    let server = Fake::answering(|_, number| match number % 5 {
        4 => "-ERR gone\r\n".to_owned(),
        _ => "$2\r\nhi\r\n".to_owned(),
    });
    let redis = ["-message=GET k\\r\\n", "-reply=$", "-reply-lines=2", "-pipeline=4"];
    let (json, code) = server.measure(&[&redis[..], &["-connections=1", "-messages=50"]].concat());
    assert_eq!(code, 0);
    assert_eq!(count(&json, "/messages/acknowledged"), 40);
    assert_eq!(json["errors"][0]["kind"], "-ERR");
    assert_eq!(json["errors"][0]["count"], 10);
}

#[test]
fn thresholds_decide_about_the_exit_code_and_are_printed() {
    let server = Fake::answering(|_, _| {
        thread::sleep(Duration::from_millis(5));
        "ok\n".to_owned()
    });
    let run = |args: &[&str]| {
        let common = ["-connections", "1", "-messages", "5"];
        let output = finish(&mut server.load(&[&common[..], args].concat()));
        (output.status.code(), text(&output.stdout).to_owned())
    };
    let (code, out) = run(&["-fail-if", "p99>10h", "-fail-if", "errors > 0"]);
    assert_eq!(code, None.or(Some(2)), "an hour is no unit of latency: {out}");
    let (code, out) = run(&["-fail-if", "p50<1us", "-fail-if", "errors > 0"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("passed: fail if errors > 0: it is 0"), "{out}");
    let (code, out) = run(&["-fail-if", "p99>1ms", "-fail-if", "rate>1000000"]);
    assert_eq!(code, Some(3), "{out}");
    assert!(out.contains("FAILED: fail if p99>1ms: it is "), "{out}");
    assert!(out.contains("passed: fail if rate>1000000: it is "), "{out}");
}
