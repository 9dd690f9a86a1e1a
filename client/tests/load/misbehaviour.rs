//! Tests with servers that answer wrongly, late, in parts, or not at all.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex, mpsc};

use rustix::process::Signal;

use crate::support::{Fake, answer_lines, count, number};
use test_support::commands::{client, end, finish, signal, text};

#[test]
fn wrong_replies_are_counted_by_kind() {
    let server = Fake::answering(|_, number| match number % 4 {
        1 => "error too-long: the message is longer than 9 bytes\n".to_owned(),
        3 => "\x1b[2Jwhat\n".to_owned(),
        _ => "ok\n".to_owned(),
    });
    let args = ["-connections", "1", "-pipeline", "3", "-messages", "80"];
    let (json, code) = server.measure(&args);
    assert_eq!(code, 0, "errors are counted, unless -fail-if says more");
    assert_eq!(count(&json, "/messages/acknowledged"), 40);
    assert_eq!(count(&json, "/messages/errors"), 40);
    let kinds: Vec<_> = json["errors"].as_array().unwrap().iter().collect();
    assert_eq!(kinds.len(), 2);
    assert_eq!((&kinds[0]["kind"], &kinds[0]["count"]), (&"\\x1b[2Jwhat".into(), &20.into()));
    assert_eq!((&kinds[1]["kind"], &kinds[1]["count"]), (&"error too-long".into(), &20.into()));
    let report = finish(&mut server.load(&args));
    let report = text(&report.stdout);
    assert!(report.contains("error too-long: the message is longer than 9 bytes"), "{report}");
    assert!(!report.contains('\x1b'), "{report}");
}

#[test]
fn on_error_stop_ends_the_run() {
    let server = Fake::answering(|_, number| match number {
        20 => "error log: full\n".to_owned(),
        _ => "ok\n".to_owned(),
    });
    let (json, code) = server.measure(&["-nt", "2", "-connections", "2", "-on-error", "stop"]);
    assert_eq!((code, json["ended_by"].as_str()), (1, Some("error")));
    assert!(count(&json, "/messages/errors") >= 1);
}

#[test]
fn silence_is_given_up_after_the_timeout() {
    let server = Fake::answering(|_, number| match number {
        0..3 => "ok\n".to_owned(),
        _ => String::new(),
    });
    let args = ["-connections", "2", "-pipeline", "2", "-timeout", "1s"];
    let (json, code) = server.measure(&args);
    assert_eq!((code, json["ended_by"].as_str()), (1, Some("connections-lost")));
    assert_eq!(count(&json, "/messages/acknowledged"), 6);
    assert_eq!(count(&json, "/messages/timeouts"), 4);
    assert_eq!(count(&json, "/connections/lost"), 2);
    assert_eq!(json["connections"]["losses"][0]["kind"], "no reply in time");
}

#[test]
fn one_silent_connection_does_not_end_the_run() {
    let server = Fake::serving(|stream, number| {
        answer_lines(stream, |_, _| match number {
            0 => String::new(),
            _ => "ok\n".to_owned(),
        });
    });
    let (json, code) =
        server.measure(&["-connections", "3", "-timeout", "1s", "-duration", "1500ms"]);
    assert_eq!((code, json["ended_by"].as_str()), (0, Some("duration")));
    assert_eq!(count(&json, "/messages/timeouts"), 1);
    assert!(count(&json, "/messages/acknowledged") > 10);
}

#[test]
fn a_server_that_dies_ends_the_run_with_a_report() {
    // The server answers some messages, then closes with unread input, which causes a reset.
    let server = Fake::serving(|mut stream, _| {
        let mut input = [0; 4096];
        for _ in 0..5 {
            let n = stream.read(&mut input).unwrap();
            let lines = text(&input[..n]).matches('\n').count();
            stream.write_all("ok\n".repeat(lines).as_bytes()).unwrap();
        }
        stream.peek(&mut input).unwrap();
    });
    let (json, code) = server.measure(&["-connections", "3", "-pipeline", "2"]);
    assert_eq!((code, json["ended_by"].as_str()), (1, Some("connections-lost")));
    assert_eq!(count(&json, "/connections/lost"), 3);
    assert!(count(&json, "/messages/unanswered") > 0);
    assert!(number(&json, "/measured_s") < 9.0, "it does not wait for the duration");
}

#[test]
fn the_last_replies_before_a_close_count() {
    // The server answers ten messages in all, and closes its side after the last reply.
    let server = Fake::serving(|stream, _| {
        let mut out = stream.try_clone().unwrap();
        let left = Mutex::new(10);
        answer_lines(stream, |_, _| {
            let mut left = left.lock().unwrap();
            if *left == 1 {
                out.try_clone().unwrap().write_all(b"ok\n").unwrap();
                out.shutdown(std::net::Shutdown::Write).unwrap();
            }
            *left -= 1;
            if *left > 0 { "ok\n".to_owned() } else { String::new() }
        });
        _ = out.flush();
    });
    let (json, code) = server.measure(&["-connections", "2", "-pipeline", "1"]);
    assert_eq!(code, 1);
    assert_eq!(count(&json, "/messages/acknowledged"), 20);
}

#[test]
fn replies_in_pieces_and_together_are_told_apart() {
    // The first two replies come as `o`, `k\nok`, `\n`, each part after the one before was sent.
    let server = Fake::serving(|stream, _| {
        let mut out = stream.try_clone().unwrap();
        out.set_nodelay(true).unwrap();
        answer_lines(stream, |_, number| {
            if number % 2 == 0 {
                return String::new();
            }
            for piece in ["o", "k\nok", "\n"] {
                out.try_clone().unwrap().write_all(piece.as_bytes()).unwrap();
                std::thread::yield_now();
            }
            String::new()
        });
        _ = out.flush();
    });
    let args = ["-connections", "1", "-pipeline", "2", "-messages", "200"];
    let (json, code) = server.measure(&args);
    assert_eq!(code, 0);
    assert_eq!(count(&json, "/messages/acknowledged"), 200);
    assert_eq!(count(&json, "/throughput/received_bytes"), 600);
}

#[test]
fn unsolicited_replies_are_reported() {
    let server = Fake::answering(|_, _| "ok\nok\n".to_owned());
    let (json, code) = server.measure(&["-connections", "1", "-messages", "10"]);
    assert_eq!(code, 0);
    assert!(count(&json, "/messages/unasked_replies") >= 1);
    let warning = json["warnings"].to_string();
    assert!(warning.contains("no message was waiting for"), "{warning}");
}

#[test]
fn a_flood_of_replies_does_not_keep_a_run_from_ending() {
    let server = Fake::serving(|mut stream, _| {
        let flood = "error what\n".repeat(10_000);
        while stream.write_all(flood.as_bytes()).is_ok() {}
    });
    let (json, code) = server.measure(&["-connections", "2", "-duration", "300ms"]);
    // The exit code is not 0, since nothing was acknowledged.
    assert_eq!((code, json["ended_by"].as_str()), (1, Some("duration")));
}

#[test]
fn a_server_that_is_not_there_is_an_error_of_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let output = finish(&mut client(&["load", "-host", "127.0.0.1", "-port", &port]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let expected = format!("client load: cannot connect to 127.0.0.1 port {port}: ");
    let error = text(&output.stderr);
    assert!(error.starts_with(&expected) && error.lines().count() == 1, "{error}");
}

#[test]
fn too_many_connections_are_refused_before_anything_is_sent() {
    let server = Fake::serving(|_, _| {});
    let output = finish(&mut server.load(&["-connections", "1000000"]));
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("descriptors") && error.contains("ulimit"), "{error}");
}

#[test]
fn connections_that_the_server_refuses_are_counted() {
    // The fourth is refused long before the tenth is tried.
    let server = Fake::serving(|mut stream: TcpStream, number| match number {
        3 => stream.write_all(b"error too-many-clients: 3 are connected\n").unwrap(),
        _ => answer_lines(stream, |_, _| "ok\n".to_owned()),
    });
    let output = finish(&mut server.load(&["-connections", "10", "-connect-rate", "10"]));
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains(" of 10 to 127.0.0.1:"), "{error}");
    assert!(error.contains("it said 'error too-many-clients: 3 are connected'"), "{error}");
}

#[test]
fn a_greeting_that_does_not_come_is_waited_for_no_longer_than_the_timeout() {
    let server = Fake::answering(|_, _| String::new());
    let output = finish(&mut server.load(&["-hello", "HELLO", "-timeout", "200ms"]));
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("no greeting (-hello-lines) within 200 ms"), "{error}");
}

#[test]
fn an_interrupt_ends_the_run_and_still_reports() {
    let (sender, receiver) = mpsc::channel();
    let sender = Arc::new(sender);
    let server = Fake::answering(move |_, number| {
        if number == 10 {
            sender.send(()).unwrap();
        }
        "ok\n".to_owned()
    });
    let child = server.load(&["-connections", "1", "-duration", "1h", "-json"]).spawn().unwrap();
    receiver.recv().unwrap();
    signal(&child, Signal::INT);
    let output = end(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ended_by"], "interrupt");
    assert!(count(&json, "/messages/acknowledged") >= 10);
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let (sender, receiver) = mpsc::channel();
    let server = Fake::answering(move |_, _| {
        sender.send(()).unwrap();
        String::new()
    });
    let args = ["-connections", "1", "-duration", "1h", "-timeout", "1h"];
    let child = server.load(&args).spawn().unwrap();
    receiver.recv().unwrap();
    signal(&child, Signal::INT);
    signal(&child, Signal::INT);
    let output = end(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    for json in [&[][..], &["-json"]] {
        let mut command = server.load(&["-connections", "1", "-messages", "5"]);
        let mut child = command.args(json).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = end(child);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(text(&output.stderr), "");
    }
}

/// A server that closes a connection after three replies.
fn moody() -> Fake {
    Fake::serving(|stream, _| {
        let closing = stream.try_clone().unwrap();
        answer_lines(stream, |_, number| {
            if number == 3 {
                closing.shutdown(std::net::Shutdown::Both).unwrap();
            }
            "ok\n".to_owned()
        });
    })
}

#[test]
fn lost_connections_are_made_anew_if_asked_for() {
    let args = ["-connections", "2", "-messages", "40", "-reconnect"];
    for threads in ["1", "2"] {
        let (json, code) = moody().measure(&[&args[..], &["-nt", threads]].concat());
        assert_eq!((code, json["ended_by"].as_str()), (0, Some("messages")));
        assert_eq!(count(&json, "/messages/sent"), 40);
        let lost = count(&json, "/connections/lost");
        let anew = count(&json, "/connections/reconnected");
        assert!(anew > 5 && anew <= lost, "{json}");
        assert_eq!(count(&json, "/connections/made"), 2);
    }
    let (json, code) = moody().measure(&args[..4]);
    assert_eq!((code, json["ended_by"].as_str()), (1, Some("connections-lost")));
}

#[test]
fn a_server_that_does_not_come_back_is_waited_for_no_longer_than_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let args = ["load", "-host", "127.0.0.1", "-port", &port, "-connections", "1"];
    let more = ["-messages", "9", "-reconnect", "-timeout", "500ms", "-json"];
    let child = client(&[&args[..], &more].concat()).spawn().unwrap();
    let (stream, _) = listener.accept().unwrap();
    drop(listener);
    stream.peek(&mut [0]).unwrap();
    drop(stream);
    let output = end(child);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ended_by"], "connections-lost");
    assert_eq!(count(&json, "/messages/never_sent"), 8);
}

#[test]
fn a_run_in_which_nothing_was_acknowledged_is_no_success() {
    let server = Fake::answering(|_, _| "error log: full\n".to_owned());
    let args = ["-connections", "1", "-messages", "5"];
    let (json, code) = server.measure(&args);
    assert_eq!((code, json["ended_by"].as_str()), (1, Some("messages")));
    // A `-fail-if` condition takes precedence.
    let (_, code) = server.measure(&[&args[..], &["-fail-if", "errors>0"]].concat());
    assert_eq!(code, 3);
    let (_, code) = server.measure(&[&args[..], &["-fail-if", "errors<5"]].concat());
    assert_eq!(code, 1);
}

#[test]
fn a_reply_that_came_in_part_is_said_to_be_that() {
    for (reply, expected) in [
        ("$2\r\n", "no reply in time: 1 of 2 lines came"),
        ("$2", "no reply in time: a line came without its end"),
        ("", "no reply in time"),
    ] {
        let server = Fake::answering(move |_, _| reply.to_owned());
        let args = ["-connections", "1", "-reply", "$", "-reply-lines", "2"];
        let (json, code) = server.measure(&[&args[..], &["-timeout", "300ms"]].concat());
        assert_eq!(code, 1);
        assert_eq!(json["connections"]["losses"][0]["kind"], expected, "{json}");
    }
}

#[test]
fn a_pause_is_no_timeout_while_the_greeting_is_there() {
    let (sender, receiver) = mpsc::channel();
    let server = Fake::serving(move |mut stream, _| {
        let mut hello = [0; 6];
        stream.read_exact(&mut hello).unwrap();
        sender.send(()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        stream.write_all(b"welcome\n").unwrap();
        answer_lines(stream, |_, _| "ok\n".to_owned());
    });
    let args = ["-connections", "1", "-messages", "3", "-hello", "HELLO", "-timeout", "1s"];
    let child = server.load(&args).spawn().unwrap();
    receiver.recv().unwrap();
    signal(&child, Signal::STOP);
    // Longer than `-timeout`, which is the fault under test.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    signal(&child, Signal::CONT);
    let output = end(child);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn the_series_ends_with_the_measurement() {
    let server = Fake::serving(|stream, number| {
        answer_lines(stream, |_, n| match (number, n) {
            (0, 5..) => String::new(),
            _ => "ok\n".to_owned(),
        });
    });
    let args = ["-connections", "2", "-duration", "1300ms", "-timeout", "3s"];
    let (json, _) = server.measure(&args);
    let series = json["series"].as_array().unwrap();
    assert_eq!(series.len(), 1, "a rest of 300 ms is no row of its own: {json}");
    assert_eq!(series[0]["to_s"], json["measured_s"]);
}
