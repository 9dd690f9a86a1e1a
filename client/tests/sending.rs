//! Tests of `client send` and `client read` with the real server, which is killed, cut off and
//! filled up.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::serve;
use tempfile::TempDir;
use test_support::commands::{client, end, finish, finish_with, signal, text};
use test_support::follow::Follow;
use test_support::programs;
use test_support::wait::wait_until;

fn send(address: SocketAddr, args: &[&str]) -> Command {
    client(&[&["send", "-nhost", &address.to_string()], args].concat())
}

/// The stdout, stderr and exit code of `client read`.
fn read(args: &[&str], logs: &[&Path]) -> (Vec<u8>, String, i32) {
    let mut command = client(&["read"]);
    let output = finish(command.args(args).args(logs));
    let said = text(&output.stderr).to_owned();
    (output.stdout, said, output.status.code().unwrap())
}

fn log(folder: &TempDir) -> PathBuf {
    folder.path().join("logging.log")
}

fn numbered(count: usize) -> Vec<u8> {
    let lines = (1..=count).map(|n| format!("line {n} of \\many\u{1b}\u{202e}\n"));
    lines.collect::<String>().into_bytes()
}

#[test]
fn every_line_is_kept_and_read_back_byte_for_byte() {
    let folder = TempDir::new().unwrap();
    let server = serve(&log(&folder), &[]);
    let mut input = numbered(20_000);
    input.extend_from_slice(b"\0\xff\r middle\n\nlast without end");
    let sent = finish_with(&mut send(server.address(), &["-json"]), &input);
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    let last = text(&sent.stderr).lines().last().unwrap();
    assert!(last.starts_with("client send: 20,003 lines acknowledged, in "), "{last}");
    let json: serde_json::Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!((&json["acknowledged"], &json["not_acknowledged"]), (&20_003.into(), &0.into()));
    input.push(b'\n');
    let (messages, said, code) = read(&[], &[&log(&folder)]);
    assert!(messages == input, "the bytes come back");
    assert_eq!((said.as_str(), code), ("", 0));
}

#[test]
fn files_are_sent_in_order_and_with_a_name_numbered() {
    let folder = TempDir::new().unwrap();
    let server = serve(&log(&folder), &[]);
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&a, "one\ntwo\n").unwrap();
    fs::write(&b, "three").unwrap();
    let args = ["-id", "shop-7", a.to_str().unwrap(), b.to_str().unwrap()];
    let sent = finish(&mut send(server.address(), &args));
    assert_eq!(sent.status.code(), Some(0), "{sent:?}");
    let (messages, said, code) = read(&["-once"], &[&log(&folder)]);
    assert_eq!((text(&messages), code), ("one\ntwo\nthree\n", 0));
    assert!(said.contains(": 3 lines, none missing"), "{said}");
    let (messages, ..) = read(&["-json", "-once"], &[&log(&folder)]);
    let first: serde_json::Value =
        serde_json::from_str(text(&messages).lines().next().unwrap()).unwrap();
    assert_eq!((&first["message"], &first["seq"]), (&"one".into(), &1.into()));
    assert!(first["id"].as_str().unwrap().starts_with("shop-7-"));
}

#[test]
fn lines_that_are_too_long_are_told_of_or_cut() {
    let folder = TempDir::new().unwrap();
    let server = serve(&log(&folder), &["-max-message", "12"]);
    let rejects = folder.path().join("rejects");
    let input = "short\näöüäöüäöü\nlast\n";
    let args = ["-max-message", "10", "-rejects", rejects.to_str().unwrap()];
    let sent = finish_with(&mut send(server.address(), &args), input.as_bytes());
    assert_eq!(sent.status.code(), Some(1));
    let said = text(&sent.stderr);
    assert!(said.contains("line 2 is not sent: longer than 10 bytes"), "{said}");
    assert!(said.contains("2 lines acknowledged, 1 refused"), "{said}");
    assert_eq!(fs::read_to_string(&rejects).unwrap(), "äöüäöüäöü\n");
    // The limit of the server differs from the client's.
    let sent = finish_with(
        &mut send(server.address(), &["-rejects", rejects.to_str().unwrap()]),
        b"0123456789abc\nx\n",
    );
    assert_eq!(sent.status.code(), Some(1));
    assert!(text(&sent.stderr).contains("a line was refused: error too-long"));
    let sent = finish_with(
        &mut send(server.address(), &["-max-message", "5", "-split"]),
        "äöüx\n".as_bytes(),
    );
    assert_eq!(sent.status.code(), Some(0));
    let (messages, ..) = read(&[], &[&log(&folder)]);
    assert_eq!(text(&messages), "short\nlast\nx\näö\nüx\n");
}

#[test]
fn other_framings_are_spoken() {
    for framing in ["nul", "octet"] {
        let folder = TempDir::new().unwrap();
        let server = serve(&log(&folder), &["-framing", framing]);
        let sent =
            finish_with(&mut send(server.address(), &["-framing", framing]), b"one\r\ntwo\n");
        assert_eq!(sent.status.code(), Some(0), "{sent:?}");
        let (messages, ..) = read(&[], &[&log(&folder)]);
        assert_eq!(text(&messages), "one\r\ntwo\n");
    }
}

/// A proxy between clients and a server. `fault` gives the fault of each connection.
fn proxy(server: SocketAddr, fault: impl Fn(usize) -> Fault + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                continue;
            };
            let fault = fault(number);
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass(from, to, usize::MAX, false));
            thread::spawn(move || pass(server, client, fault.replies, fault.half_close));
        }
    });
    address
}

/// The fault of a connection through the proxy.
struct Fault {
    /// How many bytes of replies pass before the connection ends.
    replies: usize,
    /// Whether it is half-closed, so that the client's data still passes.
    half_close: bool,
}

fn pass(mut from: TcpStream, mut to: TcpStream, most: usize, half_close: bool) {
    let mut left = most;
    let mut buffer = [0; 4096];
    while left > 0 {
        let room = left.min(buffer.len());
        let Ok(n @ 1..) = from.read(&mut buffer[..room]) else {
            break;
        };
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
        left -= n;
    }
    _ = to.shutdown(Shutdown::Write);
    if !half_close && most < usize::MAX {
        _ = to.shutdown(Shutdown::Both);
        _ = from.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_connection_that_is_cut_at_any_byte_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let server = serve(&log(&folder), &[]);
    let address = server.address();
    let input = numbered(40);
    let cut_at = &|cut: usize, half_close: bool| {
        let name = format!("cut-{cut}-{half_close}");
        // The first three connections are cut, at different bytes of the replies. The others are
        // not.
        let through = proxy(address, move |number| Fault {
            replies: if number < 3 { cut + number } else { usize::MAX },
            half_close,
        });
        let state = folder.path().join(&name);
        let args = ["-id", &name, "-state", state.to_str().unwrap(), "-begin"];
        let more = ["-pipeline", "7", "-timeout", "2s"];
        let sent = finish_with(&mut send(through, &[&args[..], &more].concat()), &input);
        assert_eq!(sent.status.code(), Some(0), "{name}: {}", text(&sent.stderr));
        let (messages, said, code) = read(&["-once", "-id", &name], &[&log(&folder)]);
        assert!(messages == input, "{name}: {said}");
        assert_eq!(code, 0, "{name}: {said}");
    };
    for cuts in (0..40).collect::<Vec<_>>().chunks(10) {
        thread::scope(|scope| {
            for &cut in cuts {
                scope.spawn(move || [false, true].map(|half_close| cut_at(cut, half_close)));
            }
        });
    }
}

#[test]
fn an_ok_that_never_comes_is_a_broken_connection() {
    let folder = TempDir::new().unwrap();
    let server = serve(&log(&folder), &[]);
    // All replies but the last byte come. Then the connection is silent but stays open.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let behind = server.address();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for (number, client) in listener.incoming().enumerate() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(behind).unwrap());
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass(from, to, usize::MAX, false));
            let mut replies = [0; 9];
            server.read_exact(&mut replies).unwrap();
            if number == 0 {
                client.write_all(&replies[..8]).unwrap();
                kept.push((client, server));
            } else {
                client.write_all(&replies).unwrap();
                thread::spawn(move || pass(server, client, usize::MAX, false));
            }
        }
    });
    let args = ["-id", "a", "-timeout", "500ms", "-pipeline", "3"];
    let sent = finish_with(&mut send(address, &args), b"1\n2\n3\n4\n5\n");
    let said = text(&sent.stderr);
    assert_eq!(sent.status.code(), Some(0), "{said}");
    assert!(said.contains("cannot send: ") && said.contains("takes lines again, after"), "{said}");
    assert!(said.contains(" sent again"), "{said}");
    let (messages, ..) = read(&["-once"], &[&log(&folder)]);
    assert_eq!(text(&messages), "1\n2\n3\n4\n5\n");
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_nothing() {
    programs::build(&["server"]);
    let mut follow = Follow::start("2s");
    // The file grows while the server is killed.
    for _ in 0..25 {
        let before = follow.log_size();
        follow.write_lines(12_000);
        wait_until("something new is logged", || follow.log_size() > before);
        follow.server.restart();
    }
    assert!(follow.finish().is_equal);
}

#[test]
fn a_sender_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    programs::build(&["server"]);
    let mut follow = Follow::start("10s");
    follow.write_lines(200_000);
    for round in 0..20 {
        let before = follow.log_size();
        wait_until("something new is logged", || follow.log_size() > before);
        if round == 10 {
            follow.rotate_source();
            follow.write_lines(1);
        }
        follow.restart_sender();
    }
    assert!(follow.finish().is_equal);
    // Each kill causes no more lines to be sent again than can be in flight.
    let (all, ..) = read(&[], &[&follow.server.log_path()]);
    let lines = memchr::memchr_iter(b'\n', &all).count();
    assert!(lines <= 200_001 + 20 * 1024, "{lines}");
}

#[test]
fn a_server_that_cannot_keep_a_line_gets_it_again() {
    let folder = TempDir::new().unwrap();
    // Two servers: the first rejects everything, the second accepts it.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let full = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                for (n, line) in lines.enumerate() {
                    let reply = if n % 2 == 0 { "error log: disk full\n" } else { "ok\n" };
                    if line.is_err() || stream.write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let server = serve(&log(&folder), &[]);
    let hosts = format!("{full},{}", server.address());
    let args = ["send", "-nhost", &hosts, "-id", "a", "-json"];
    let sent = finish_with(&mut client(&args), &numbered(100));
    let said = text(&sent.stderr);
    assert_eq!(sent.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("error log: disk full").count(), 1, "reported once: {said}");
    // The lines that the first server acknowledged are in its log. The rest is in order.
    let (messages, _, code) = read(&["-once"], &[&log(&folder)]);
    assert_eq!(code, 4, "half of the lines are in the other log");
    let shown = text(&messages).lines().count();
    assert!((50..100).contains(&shown), "{shown}");
}

#[test]
fn without_a_server_it_gives_up_when_it_is_told_to() {
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let sent = finish_with(&mut send(address, &["-retry", "0"]), b"one\ntwo\n");
    let said = text(&sent.stderr);
    assert_eq!(sent.status.code(), Some(1), "{said}");
    assert!(said.contains("gave up: ") && said.contains("2 not acknowledged"), "{said}");
    // Two interrupts end it at once, with lines left.
    let mut command = send(address, &[]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("cannot send: ") && line.contains("trying again"), "{line}");
    for _ in 0..2 {
        signal(&child, Signal::INT);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(end(child).status.code(), Some(130));
}

#[test]
fn a_state_is_never_made_by_accident() {
    let folder = TempDir::new().unwrap();
    let server = serve(&log(&folder), &[]);
    let state = folder.path().join("pos");
    let name = state.to_str().unwrap();
    let missing = finish_with(&mut send(server.address(), &["-state", name]), b"x\n");
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("is not there: with -begin"), "{missing:?}");
    let begun =
        finish_with(&mut send(server.address(), &["-state", name, "-begin", "-id", "a"]), b"one\n");
    assert_eq!(begun.status.code(), Some(0), "{begun:?}");
    let on = finish_with(&mut send(server.address(), &["-state", name, "-id", "a"]), b"two\n");
    assert_eq!(on.status.code(), Some(0), "{on:?}");
    let (messages, said, code) = read(&["-once", "-id", "a"], &[&log(&folder)]);
    assert_eq!((text(&messages), code), ("one\ntwo\n", 0), "{said}");
}

#[test]
fn messages_are_chosen_and_shown_as_asked() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("a.log");
    let records = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:1 recieved: one\n\
                   INFO\t| 2019-02-24 15:10:14 --127.0.0.1:1 send: ok\n\
                   INFO\t| 2019-02-24 15:10:15 --[::1]:2 recieved: two\\x0alines\n\
                   no record\n\
                   INFO\t| 2019-02-24 15:10:16 --127.0.0.1:1 recieved: three\n\
                   INFO\t| 2019-02-24 15:10:17 --127.0.0.1:1 recieved: torn";
    fs::write(&log, records).unwrap();
    for (args, expected) in [
        (&[][..], "one\ntwo\nlines\nthree\n"),
        (&["-null"], "one\0two\nlines\0three\0"),
        (&["-last", "2"], "two\nlines\nthree\n"),
        (&["-peer", "::1"], "two\nlines\n"),
        (&["-peer", "127.0.0.1:1", "-last", "1"], "three\n"),
        (&["-with-time", "-with-peer", "-last", "1"], "2019-02-24 15:10:16 127.0.0.1:1 three\n"),
        (&["-utc", "-since", "2019-02-24T15:10:15Z"], "two\nlines\nthree\n"),
        (&["-utc", "-until", "2019-02-24T16:10:14+01:00"], "one\n"),
        (&["-since", "10m"], ""),
    ] {
        let (messages, said, code) = read(args, &[&log]);
        assert_eq!((text(&messages), code), (expected, 0), "{args:?}: {said}");
        assert!(said.contains("no record: 'no record'") && said.contains("torn record"), "{said}");
    }
    assert_eq!(read(&["-strict"], &[&log]).2, 1);
    assert_eq!(read(&[], &[Path::new("/nonexistent")]).2, 1);
}

/// NULs in place of pages, as after a power cut. A damaged record is not a message and hides no
/// other one.
#[test]
fn a_damaged_record_is_no_message_and_swallows_none() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("a.log");
    let original = |text: &str| format!("INFO\t| 2019-02-24 15:10:14 --[::1]:2 recieved: {text}");
    let json = |text: &str| {
        format!(r#"{{"time":"2019-02-24T15:10:14Z","peer":"[::1]:2","message":"{text}"}}"#)
    };
    let nuls = "\0".repeat(5000);
    let records: [&dyn Fn(&str) -> String; 2] = [&original, &json];
    for record in records {
        let [one, two, three] = ["@a:1 one", "@a:2 two", "@a:3 three"].map(record);
        let damaged = record(&format!("@a:2 t{nuls}o"));
        let whole = format!("{one}\n{damaged}\n{nuls}{two}\n{}{three}\n", &one[..one.len() - 3]);
        fs::write(&log, whole).unwrap();
        let (messages, said, code) = read(&["-once"], &[&log]);
        assert_eq!((text(&messages), code), ("one\ntwo\nthree\n", 0), "{said}");
        assert!(said.contains("3 lines are no record"), "{said}");
        assert!(said.contains("a: 3 lines, none missing"), "{said}");
    }
    // A message in the original format may look like a JSON record. After lost pages it is not one.
    let forged = json("forged");
    let whole = format!("{}\n{nuls}{forged}\n", original("good"));
    fs::write(&log, whole).unwrap();
    let (messages, said, _) = read(&[], &[&log]);
    assert_eq!(text(&messages), "good\n", "{said}");
}

#[test]
fn a_followed_log_is_read_on_across_its_rotation() {
    let folder = TempDir::new().unwrap();
    let server = serve(&log(&folder), &[]);
    let mut command = client(&["read", "-follow"]);
    let mut reader = command.arg(log(&folder)).spawn().unwrap();
    let mut shown = BufReader::new(reader.stdout.take().unwrap()).lines();
    for (round, rotate) in [(0, true), (1, true), (2, false)] {
        let line = format!("round {round}");
        let sent = finish_with(&mut send(server.address(), &[]), line.as_bytes());
        assert_eq!(sent.status.code(), Some(0));
        assert_eq!(shown.next().unwrap().unwrap(), line);
        if rotate {
            fs::rename(log(&folder), folder.path().join(format!("old.{round}"))).unwrap();
            server.signal(Signal::HUP);
            wait_until("the log is there again", || log(&folder).exists());
        }
    }
    signal(&reader, Signal::INT);
    assert!(reader.wait().unwrap().success());
}

/// The rotated files of a log, and the log, in the order of a shell.
fn with_pieces(log: &Path) -> Vec<PathBuf> {
    let pieces = common::rotated_files::RotatedFiles::of(log).unwrap().find().unwrap();
    let pieces = pieces.into_iter().map(|piece| piece.path);
    pieces.chain([log.to_owned()]).collect()
}

#[test]
fn a_log_that_the_server_rotates_is_read_in_any_order() {
    type Order = fn(&mut [PathBuf]);
    const ORDERS: [Order; 3] = [<[_]>::sort, <[_]>::reverse, |files| files.rotate_left(7)];
    for format in ["original", "json"] {
        let folder = TempDir::new().unwrap();
        let log = log(&folder);
        let server = serve(&log, &["-rotate-size", "50K", "-format", format]);
        let mut reader = client(&["read", "-follow"]).arg(&log).spawn().unwrap();
        let mut shown = BufReader::new(reader.stdout.take().unwrap()).lines();
        let sent = finish_with(&mut send(server.address(), &[]), b"line 0");
        assert_eq!(sent.status.code(), Some(0));
        assert_eq!(shown.next().unwrap().unwrap(), "line 0");
        let input = numbered(20_000);
        let sent = finish_with(&mut send(server.address(), &["-id", "a"]), &input);
        assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
        let is_shown = |line: &str| {
            let untagged = shown.next().unwrap().unwrap();
            untagged.split_once(' ').unwrap().1 == line
        };
        assert!(text(&input).lines().all(is_shown), "across all rotations");
        signal(&reader, Signal::INT);
        assert!(end(reader).status.success());
        drop(server);
        let expected = [b"line 0\n", input.as_slice()].concat();
        let mut files = with_pieces(&log);
        assert!(files.len() > 20, "{files:?}");
        for order in ORDERS {
            order(&mut files);
            let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
            let (lines, said, code) = read(&["-strict"], &files);
            let lines = text(&lines).lines().map(|line| {
                let tagged = line.strip_prefix('@').and_then(|line| line.split_once(' '));
                tagged.map_or(line, |(_, untagged)| untagged)
            });
            assert!(lines.eq(text(&expected).lines()) && code == 0, "{said}");
            // A small `-hold` is enough, as for one log.
            let (lines, said, code) = read(&["-once", "-strict", "-hold", "1"], &files);
            assert!(lines == expected && code == 0, "{said}");
        }
    }
}

/// The log is verified while the server rotates it, under any names. Files of an earlier rotation
/// are not read.
#[test]
fn a_log_that_the_server_rotates_is_verified() {
    let folder = TempDir::new().unwrap();
    let log = log(&folder);
    let server = serve(&log, &["-rotate-size", "50K"]);
    let port = server.address().port().to_string();
    let run_file = folder.path().join("run.json");
    let (run_file, log_name) = (run_file.to_str().unwrap(), log.to_str().unwrap());
    let load = ["load", "-host", "127.0.0.1", "-port", &port, "-connections", "5", "-json"];
    let more = ["-messages", "20000", "-pipeline", "16", "-verify", log_name, "-save", run_file];
    for _ in 0..2 {
        let before = with_pieces(&log).len();
        let load = finish(&mut client(&[&load[..], &more].concat()));
        assert_eq!(load.status.code(), Some(0), "{load:?}");
        let json: serde_json::Value = serde_json::from_slice(&load.stdout).unwrap();
        let found = &json["verification"];
        assert_eq!(found["records"], 20_000);
        let read = found["logs"].as_array().unwrap().len();
        assert!(read > 20 && read <= with_pieces(&log).len() + 1 - before, "{found}");
    }
    drop(server);
    let mut files = with_pieces(&log);
    files.reverse();
    let mut verify = client(&["verify", run_file]);
    let verified = finish(verify.args(&files));
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    let shown = text(&verified.stdout);
    assert!(
        shown.contains(&format!(" files, {} to {log_name}", with_pieces(&log)[0].display())),
        "{shown}"
    );
    // One of the files is missing.
    let mut verify = client(&["verify", run_file]);
    let verified = finish(verify.args(&files[..5]));
    assert_eq!(verified.status.code(), Some(4), "{verified:?}");
}

#[test]
fn a_log_in_json_is_read_and_verified_like_the_other() {
    let folder = TempDir::new().unwrap();
    let server = serve(&log(&folder), &["-format", "json"]);
    let mut input = numbered(2000);
    input.extend_from_slice(b"\0\xff \"quoted\" middle\n");
    let sent = finish_with(&mut send(server.address(), &["-id", "a"]), &input);
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    let (messages, said, code) = read(&["-once", "-strict"], &[&log(&folder)]);
    assert!(messages == input, "{said}");
    assert_eq!(code, 0, "{said}");
    let (last, ..) = read(&["-json", "-last", "1"], &[&log(&folder)]);
    let last: serde_json::Value = serde_json::from_slice(&last).unwrap();
    assert!(last["bytes"].is_string() && last["time"].as_str().unwrap().contains('T'), "{last}");
    let (none, ..) = read(&["-until", "1h"], &[&log(&folder)]);
    assert_eq!(text(&none), "");
    let port = server.address().port().to_string();
    let path = log(&folder);
    let args = ["load", "-host", "127.0.0.1", "-port", &port, "-messages", "500"];
    let more = ["-connections", "3", "-verify", path.to_str().unwrap(), "-json"];
    let load = finish(&mut client(&[&args[..], &more].concat()));
    assert_eq!(load.status.code(), Some(0), "{load:?}");
    let json: serde_json::Value = serde_json::from_slice(&load.stdout).unwrap();
    assert_eq!(json["verification"]["records"], 500);
}

#[test]
fn a_file_that_is_renamed_before_anything_is_acknowledged_is_found_again() {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("app.log");
    fs::write(&source, "first\n").unwrap();
    let state = folder.path().join("pos");
    let names = [&source, &state].map(|path| path.to_str().unwrap());
    let args = ["-follow", names[0], "-state", names[1], "-id", "a"];
    // This server reads lines and never replies.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let mut sender = send(address, &[&args[..], &["-begin"]].concat()).spawn().unwrap();
    let (mut stream, _) = silent.accept().unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    sender.kill().unwrap();
    sender.wait().unwrap();
    fs::rename(&source, folder.path().join("app.log.1")).unwrap();
    fs::write(&source, "second\n").unwrap();
    let server = serve(&log(&folder), &[]);
    let sender = send(server.address(), &args).spawn().unwrap();
    wait_until("the last line is logged", || {
        fs::read_to_string(log(&folder)).unwrap().contains("@a:2 second\n")
    });
    signal(&sender, Signal::INT);
    assert_eq!(end(sender).status.code(), Some(0));
    let (messages, ..) = read(&["-once"], &[&log(&folder)]);
    assert_eq!(text(&messages), "first\nsecond\n");
}
