//! Tests of `-verify`, `-save` and `client verify`, with a server that keeps a log.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Fake, answer_lines, arg, count};
use test_support::commands::{client, end, finish, signal, text};
use test_support::wait::wait_until;

/// A server that records each message in `log` and then answers ok. It rejects every seventh of a
/// connection.
fn logging(log: &Path) -> Fake {
    let log = Arc::new(Mutex::new(fs::File::create(log).unwrap()));
    Fake::serving(move |stream, _| {
        let peer = stream.peer_addr().unwrap();
        answer_lines(stream, |line, number| {
            let mut log = log.lock().unwrap();
            let mut record = |level: &str, what: &str| {
                writeln!(log, "{level}\t| 2019-02-24 15:10:14 --{peer} {what}").unwrap();
            };
            if number % 7 == 6 {
                record("WARNING", "send: error log: full");
                return "error log: full\n".to_owned();
            }
            record("INFO", &format!("recieved: {line}"));
            record("INFO", "send: ok");
            "ok\n".to_owned()
        });
    })
}

fn verify(run: &Path, log: &Path) -> (Value, i32) {
    let output = finish(&mut client(&["verify", "-json", arg(run), arg(log)]));
    let json = serde_json::from_slice(&output.stdout);
    (json.unwrap_or_else(|_| panic!("{output:?}")), output.status.code().unwrap())
}

#[test]
fn a_run_is_verified_at_once_and_later() {
    let directory = TempDir::new().unwrap();
    let (log, run) = (directory.path().join("a.log"), directory.path().join("run.json"));
    let server = logging(&log);
    let args = ["-connections", "3", "-nt", "2", "-pipeline", "4", "-messages", "500"];
    let keep = ["-verify", arg(&log), "-save", arg(&run)];
    let (json, code) = server.measure(&[&args[..], &keep].concat());
    assert_eq!(code, 0, "{json}");
    let found = &json["verification"];
    assert_eq!(found["passed"], true, "{found}");
    assert_eq!(found["records"], json["messages"]["acknowledged"]);
    assert_eq!(found["rejected"], json["messages"]["errors"]);
    assert!(count(found, "/rejected") >= 60);

    // A second run into the same log does not disturb the first.
    server.measure(&args);
    let (later, code) = verify(&run, &log);
    assert_eq!((code, &later["passed"]), (0, &Value::Bool(true)));
    assert_eq!(later["records"], found["records"]);

    let whole = fs::read_to_string(&log).unwrap();
    let name = json["run"].as_str().unwrap();
    let hits: Vec<_> = whole.lines().filter(|line| line.contains(name)).collect();
    let doctored: [(&str, &str, String); 5] = [
        ("missing", "1", whole.replacen(&format!("{}\n", hits[100]), "", 1)),
        ("repeated", "1", format!("{whole}{}\n", hits[100])),
        ("mangled", "1", whole.replacen(name, &format!("{name}x"), 1)),
        ("out_of_order", "1", swapped(&whole, name)),
        ("rejected_but_logged", "1", whole.clone() + &like(hits[0], name, 0, 6)),
    ];
    for (what, times, text) in doctored {
        let other = directory.path().join(what);
        fs::write(&other, text).unwrap();
        let (found, code) = verify(&run, &other);
        assert_eq!((code, found[what].to_string().as_str()), (4, times), "{what}: {found}");
        assert!(!found["examples"].as_array().unwrap().is_empty(), "{what}");
    }

    // A log in two files. In the wrong order, its messages are out of order.
    let (first, second) = whole.split_at(whole.find(hits[200]).unwrap());
    let parts = [directory.path().join("1"), directory.path().join("2")];
    fs::write(&parts[0], first).unwrap();
    fs::write(&parts[1], second).unwrap();
    let both = |a: &Path, b: &Path| finish(&mut client(&["verify", arg(&run), arg(a), arg(b)]));
    let output = both(&parts[0], &parts[1]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("verification passed"), "{output:?}");
    let output = both(&parts[1], &parts[0]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stdout).contains("verification FAILED"), "{output:?}");
}

/// The log with the first two records of connection 0 swapped.
fn swapped(log: &str, run: &str) -> String {
    let (first, second) = (format!("{run} 0 0;"), format!("{run} 0 1;"));
    log.replace(&first, "\0").replace(&second, &first).replace('\0', &second)
}

/// A record like this one, but of another message.
fn like(record: &str, run: &str, conn: u64, seq: u64) -> String {
    let (head, _) = record.split_once(run).unwrap();
    format!("{head}{run} {conn} {seq};\n")
}

#[test]
fn a_failed_verification_has_its_own_exit_code() {
    let directory = TempDir::new().unwrap();
    let empty = directory.path().join("empty.log");
    fs::write(&empty, "").unwrap();
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    let args = ["-connections", "1", "-messages", "10", "-verify", arg(&empty)];
    let output = finish(&mut server.load(&args));
    assert_eq!(output.status.code(), Some(4));
    let report = text(&output.stdout);
    assert!(report.contains("verification FAILED"), "{report}");
    assert!(report.contains("missing       10"), "{report}");
    assert!(report.contains("missing: connection 0, message 0 and 9 more of 0..10"), "{report}");
}

#[test]
fn a_failed_verification_wins_over_a_file_that_cannot_be_written() {
    let directory = TempDir::new().unwrap();
    let empty = directory.path().join("empty.log");
    fs::write(&empty, "").unwrap();
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    let args = ["-messages", "5", "-verify", arg(&empty)];
    let output = finish(server.load(&args).args(["-save", "/dev/full"]));
    assert_eq!(output.status.code(), Some(4));
    let error = text(&output.stderr);
    assert!(error.contains("cannot write /dev/full: "), "{error}");
    let report = text(&output.stdout);
    assert!(report.contains("verification FAILED"), "{report}");
}

#[test]
fn a_server_killed_in_between_leaves_a_run_that_can_be_verified() {
    let directory = TempDir::new().unwrap();
    let (log, run) = (directory.path().join("a.log"), directory.path().join("run.json"));
    // The server writes half of the eleventh record and dies.
    let file = Mutex::new(fs::File::create(&log).unwrap());
    let server = Fake::serving(move |stream, _| {
        let dying = stream.try_clone().unwrap();
        answer_lines(stream, |line, number| {
            let record = format!("INFO\t| 2019-02-24 15:10:14 --[::1]:4 recieved: {line}\n");
            let mut file = file.lock().unwrap();
            if number < 10 {
                file.write_all(record.as_bytes()).unwrap();
                return "ok\n".to_owned();
            }
            file.write_all(&record.as_bytes()[..record.len() - 4]).unwrap();
            dying.shutdown(std::net::Shutdown::Both).unwrap();
            String::new()
        });
    });
    let output = finish(&mut server.load(&["-connections", "1", "-save", arg(&run)]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (found, code) = verify(&run, &log);
    assert_eq!(code, 0, "{found}");
    assert_eq!(count(&found, "/acknowledged"), 10);
    assert_eq!(count(&found, "/unanswered"), 1);
    assert_eq!(count(&found, "/torn"), 1);

    // The next server ended the torn record and went on.
    let mut log_file = fs::OpenOptions::new().append(true).open(&log).unwrap();
    writeln!(log_file, "\nINFO\t| 2019-02-24 15:10:15 --[::1]:5 recieved: other").unwrap();
    let (found, code) = verify(&run, &log);
    assert_eq!((code, count(&found, "/torn")), (0, 1), "{found}");
}

#[test]
fn a_log_that_vanishes_does_not_cost_the_figures() {
    let directory = TempDir::new().unwrap();
    let (log, run) = (directory.path().join("a.log"), directory.path().join("run.json"));
    fs::write(&log, "").unwrap();
    let vanishing = log.clone();
    let server = Fake::answering(move |_, _| {
        _ = fs::remove_file(&vanishing);
        "ok\n".to_owned()
    });
    let args = ["-messages", "5", "-verify", arg(&log), "-save", arg(&run)];
    let output = finish(&mut server.load(&args));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("acknowledged  5"), "{output:?}");
    assert!(text(&output.stderr).contains("cannot read"), "{output:?}");
    fs::write(&log, "").unwrap();
    assert_eq!(verify(&run, &log).1, 4, "the run was saved");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    let missing = path("missing.log");
    let output = finish(&mut server.load(&["-verify", arg(&missing)]));
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("client load: cannot read {}: ", missing.display());
    assert!(text(&output.stderr).starts_with(&expected), "{output:?}");

    let log = path("a.log");
    fs::write(&log, "").unwrap();
    for (content, expected) in [
        ("", "not a run that -save wrote"),
        ("{\"format\":\"x\"}", "not a run that -save wrote"),
        (
            r#"{"format":"x","version":1,"run":"a","started":"","message":"","connections":[]}"#,
            "expected client-load-run version 1, found 'x' version 1",
        ),
        (
            r#"{"format":"client-load-run","version":1,"run":"a","started":"",
                "message":"{run} {conn} {seq};",
                "connections":[{"sent":1,"answered":2,"rejected":[]}]}"#,
            "its numbers contradict each other",
        ),
        (
            r#"{"format":"client-load-run","version":1,"run":"a","started":"",
                "message":"{run} {conn}","connections":[]}"#,
            "to be verified it needs {run}, {conn} and {seq}",
        ),
    ] {
        let run = path("run.json");
        fs::write(&run, content).unwrap();
        let output = finish(&mut client(&["verify", arg(&run), arg(&log)]));
        assert_eq!(output.status.code(), Some(1), "{content}");
        let error = text(&output.stderr);
        assert!(
            error.starts_with("client verify: cannot use ") && error.contains(expected),
            "{error}"
        );
    }
    let output = finish(&mut client(&["verify", "run.json"]));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_hello_that_is_logged_is_no_message() {
    let directory = TempDir::new().unwrap();
    let (log, run) = (directory.path().join("a.log"), directory.path().join("run.json"));
    let args = ["-connections", "2", "-messages", "10", "-verify", arg(&log)];
    let hello = ["-hello", "hello {run} {conn};", "-save", arg(&run)];
    let (json, code) = logging(&log).measure(&[&args[..], &hello].concat());
    assert_eq!(code, 0, "{json}");
    assert_eq!(count(&json, "/verification/mangled"), 0);
    assert_eq!(verify(&run, &log).1, 0, "the run file knows it");
}

#[test]
fn connections_made_anew_are_verified_each() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("a.log");
    let file = Arc::new(Mutex::new(fs::File::create(&log).unwrap()));
    let server = Fake::serving(move |stream, _| {
        let peer = stream.peer_addr().unwrap();
        let closing = stream.try_clone().unwrap();
        answer_lines(stream, |line, number| {
            writeln!(file.lock().unwrap(), "INFO\t| 2019-02-24 15:10:14 --{peer} recieved: {line}")
                .unwrap();
            if number == 3 {
                closing.shutdown(std::net::Shutdown::Both).unwrap();
            }
            "ok\n".to_owned()
        });
    });
    let args = ["-connections", "2", "-nt", "2", "-messages", "40", "-reconnect"];
    let (json, code) = server.measure(&[&args[..], &["-verify", arg(&log)]].concat());
    assert_eq!(code, 0, "{json}");
    let all = count(&json, "/verification/acknowledged") + count(&json, "/verification/unanswered");
    assert_eq!(all, 40);
    assert_eq!(count(&json, "/verification/records"), 40);
    assert!(count(&json, "/connections/reconnected") > 5);
}

#[test]
fn what_the_log_proves_wins_over_what_cannot_be_written() {
    let directory = TempDir::new().unwrap();
    let empty = directory.path().join("empty.log");
    fs::write(&empty, "").unwrap();
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    let args = ["-connections", "1", "-messages", "5", "-verify", arg(&empty)];
    let page = finish(&mut server.load(&[&args[..], &["-report", "/dev/full"]].concat()));
    assert_eq!(page.status.code(), Some(4), "{page:?}");
    assert!(text(&page.stderr).contains("cannot write /dev/full"));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let stdout = finish(server.load(&args).stdout(full));
    assert_eq!(stdout.status.code(), Some(4), "{stdout:?}");
    assert!(text(&stdout.stderr).contains("cannot write to stdout"));
}

#[test]
fn a_log_is_not_overwritten_by_what_is_made_of_it() {
    let directory = TempDir::new().unwrap();
    let (log, link) = (directory.path().join("a.log"), directory.path().join("b"));
    fs::write(&log, "precious\n").unwrap();
    fs::hard_link(&log, &link).unwrap();
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    for option in ["-report", "-save"] {
        for output in [&log, &link] {
            let args = ["-messages", "5", "-verify", arg(&log), option, arg(output)];
            let done = finish(&mut server.load(&args));
            assert_eq!(done.status.code(), Some(1), "{done:?}");
            assert!(text(&done.stderr).contains("would overwrite"), "{done:?}");
            assert_eq!(fs::read(&log).unwrap(), b"precious\n");
        }
    }
    let both = directory.path().join("both");
    let args = ["-messages", "5", "-save", arg(&both), "-report", arg(&both)];
    assert_eq!(finish(&mut server.load(&args)).status.code(), Some(1));
}

#[test]
fn devices_and_pipes_can_be_written_to() {
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    let args = ["-connections", "1", "-messages", "5", "-report", "/dev/null"];
    assert_eq!(finish(&mut server.load(&args)).status.code(), Some(0));
    let args = ["-connections", "1", "-messages", "5", "-save", "/dev/stdout"];
    let done = finish(&mut server.load(&args));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(text(&done.stdout).starts_with("{\"format\":\"client-load-run\""));
}

#[test]
fn an_interrupt_cuts_the_verification_short_and_not_the_report() {
    let directory = TempDir::new().unwrap();
    let (log, run) = (directory.path().join("a.log"), directory.path().join("run.json"));
    // A sparse file takes long to read, but no disk space.
    let hole = fs::File::create(&log).unwrap();
    hole.set_len(1 << 40).unwrap();
    let server = Fake::answering(|_, _| "ok\n".to_owned());
    let args = ["-connections", "1", "-messages", "5", "-verify", arg(&log)];
    let save = ["-save", arg(&run), "-json"];
    let child = server.load(&[&args[..], &save].concat()).spawn().unwrap();
    // The run file is saved between the run and the verification.
    wait_until("the run is saved", || fs::read(&run).is_ok_and(|run| run.ends_with(b"\n")));
    signal(&child, Signal::INT);
    let output = end(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["verification"], Value::Null);
    let warnings = json["warning_names"].as_array().unwrap();
    assert!(warnings.contains(&"verification-cut-short".into()), "{json}");
    assert_eq!(count(&json, "/messages/acknowledged"), 5);
}

#[test]
fn a_run_file_with_absurd_numbers_is_no_danger() {
    let directory = TempDir::new().unwrap();
    let (log, run) = (directory.path().join("a.log"), directory.path().join("run.json"));
    let saved = finish(&mut logging(&log).load(&["-messages", "5", "-save", arg(&run)]));
    assert_eq!(saved.status.code(), Some(0));
    let good: Value = serde_json::from_slice(&fs::read(&run).unwrap()).unwrap();
    let name = good["run"].as_str().unwrap().to_owned();
    let most = 1_u64 << 40;
    // The log also has the last message in the run file.
    let last =
        format!("INFO\t| 2019-02-24 15:10:14 --[::1]:1 recieved: load {name} 0 {};\n", most - 1);
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(last.as_bytes()).unwrap();
    let absurd: [(&str, Value, i32); 5] = [
        ("/connections/0/sent", most.into(), 0),
        ("/connections/0/sent", (most + 1).into(), 1),
        ("/connections/0/answered", most.into(), 1),
        ("/message", "{pad:67108864}{pad:67108864}{run}{conn};{seq};".into(), 1),
        ("/something_new", 1.into(), 4),
    ];
    for (path, value, code) in absurd {
        let mut json = good.clone();
        match json.pointer_mut(path) {
            Some(place) => *place = value,
            None => json[&path[1..]] = value,
        }
        fs::write(&run, json.to_string()).unwrap();
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -v 2000000; exec \"$@\"", "sh"]);
        limited.args([env!("CARGO_BIN_EXE_client"), "verify", arg(&run), arg(&log)]);
        let done = finish(limited.stdout(Stdio::piped()).stderr(Stdio::piped()));
        assert_eq!(done.status.code(), Some(code), "{path}: {done:?}");
    }
}

#[test]
fn other_framings_are_spoken_and_verified() {
    let directory = TempDir::new().unwrap();
    let (log, run) = (directory.path().join("a.log"), directory.path().join("run.json"));
    let file = Arc::new(Mutex::new(fs::File::create(&log).unwrap()));
    let server = Fake::serving(move |mut stream, _| {
        let peer = stream.peer_addr().unwrap();
        let mut input = BufReader::new(stream.try_clone().unwrap());
        let mut message = Vec::new();
        // The first connections use octet counting. The later ones end their messages with NUL.
        while input.read_until(b' ', &mut message).unwrap() > 0 {
            let length = text(&message).trim().parse::<usize>();
            let reply = if let Ok(length) = length {
                message.resize(length, 0);
                input.read_exact(&mut message).unwrap();
                "ok\n"
            } else {
                input.read_until(0, &mut message).unwrap();
                assert_eq!(message.pop(), Some(0));
                "ok\0"
            };
            let text = text(&message).replace('\n', "\\x0a");
            let mut file = file.lock().unwrap();
            writeln!(file, "INFO\t| 2019-02-24 15:10:14 --{peer} recieved: {text}").unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
            message.clear();
        }
    });
    for framing in ["octet", "nul"] {
        let args = ["-messages", "100", "-connections", "2", "-framing", framing];
        let template = ["-message", "two\\nlines {run} {conn} {seq};"];
        let verify_now = ["-verify", arg(&log), "-save", arg(&run)];
        let (json, code) = server.measure(&[&args[..], &template, &verify_now].concat());
        assert_eq!((code, count(&json, "/messages/acknowledged")), (0, 100));
        assert_eq!(count(&json, "/verification/records"), 100);
        assert_eq!(verify(&run, &log).1, 0, "the run file knows the framing");
    }
}
