//! Tests of the turn-taking client with correct and faulty servers.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::summary::Summary;
use socket2::{Domain, SockRef, Socket, Type};
use test_support::commands;
use test_support::wait::DEADLINE;

/// Runs `serve` on the first connection to a new port. Returns the port.
fn fake_server(serve: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    port
}

/// A server that answers the first messages with these replies, then is silent until the client
/// ends.
fn answering(replies: impl IntoIterator<Item = &'static str, IntoIter: Send + 'static>) -> u16 {
    let mut replies = replies.into_iter();
    fake_server(move |mut stream| {
        stream.set_nodelay(true).unwrap();
        let mut messages = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(_)) = messages.next() {
            let reply = replies.next().unwrap_or_default();
            if stream.write_all(reply.as_bytes()).is_err() {
                break;
            }
        }
    })
}

fn client(port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    let host = Ipv4Addr::LOCALHOST.to_string();
    command.args(["-host", &host, "-port", &port.to_string()]);
    command.stdin(Stdio::null());
    command
}

/// The stdout, stderr and exit code of a client that ends in time.
fn run(command: &mut Command) -> (String, String, i32) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let Output { stdout, stderr, status } = commands::finish(command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = status.code().unwrap_or_else(|| panic!("{status}"));
    (text(stdout), text(stderr), code)
}

/// The one line on stderr of a failing client, without `client: ADDRESS: `.
fn failure(command: &mut Command) -> String {
    let (_, stderr, code) = run(command);
    assert_eq!(code, 1, "{stderr}");
    let line = stderr.strip_suffix('\n').unwrap();
    assert_eq!(line.lines().count(), 1, "{stderr}");
    let line = line.strip_prefix("client: ").unwrap();
    match line.split_once(": ") {
        Some((peer, what)) if peer.parse::<SocketAddr>().is_ok() => what.to_owned(),
        _ => line.to_owned(),
    }
}

fn summary(stderr: &str) -> Summary {
    let line = stderr.strip_suffix('\n').unwrap();
    line.strip_prefix("client: ").unwrap().parse().unwrap()
}

#[test]
fn threads_write_strictly_one_after_another() {
    let (sender, received) = mpsc::channel();
    let port = fake_server(move |mut stream| {
        let mut messages = BufReader::new(stream.try_clone().unwrap());
        let mut all = String::new();
        while messages.read_line(&mut all).unwrap() > 0 {
            assert!(messages.buffer().is_empty(), "sent before the reply");
            stream.write_all(b"ok\n").unwrap();
        }
        sender.send(all).unwrap();
    });
    let (stdout, stderr, code) = run(client(port).args(["-nt", "3", "-ni", "4"]));
    let rounds = [1, 2, 5, 10].into_iter();
    let lines = rounds.flat_map(|v| (0..3).map(move |k| format!("Thread {k}, iteration {v}\n")));
    let expected: String = lines.collect();
    assert_eq!((stdout, code), (expected.clone(), 0));
    assert_eq!(received.recv_timeout(DEADLINE).as_ref(), Ok(&expected));
    let Summary { messages, time, median, worst } = summary(&stderr);
    assert_eq!(messages, 12);
    // A round trip through two processes takes at least a microsecond.
    let order = [Duration::from_micros(1), median, worst, time];
    assert!(order.is_sorted(), "{stderr}");
}

#[test]
fn formula_and_quiet() {
    for (formula, expected) in [("i^2+i", "0 2 6"), ("i+1", "1 2 3"), ("i^2+1", "1 2 5")] {
        let port = answering(["ok\n"; 3]);
        let (stdout, _, code) = run(client(port).args(["-nt=1", "-ni=3", "-formula", formula]));
        let lines = stdout.lines();
        let numbers: Vec<_> = lines.map(|l| l.rsplit(' ').next().unwrap()).collect();
        assert_eq!((numbers.join(" "), code), (expected.to_owned(), 0));
    }
    let port = answering(["ok\n"; 3]);
    let (stdout, stderr, code) = run(client(port).args(["-nt=3", "-ni=1", "-quiet"]));
    assert_eq!((stdout.as_str(), code), ("", 0));
    assert_eq!(summary(&stderr).messages, 3);
}

#[test]
fn without_framing_neither_message_nor_reply_has_a_line_end() {
    let port = fake_server(|mut stream| {
        for expected in ["Thread 0, iteration 1", "Thread 1, iteration 1"] {
            let mut message = vec![0; expected.len() + 1];
            // One read is one message, as in the original server.
            let len = stream.read(&mut message).unwrap();
            assert_eq!(String::from_utf8_lossy(&message[..len]), expected);
            stream.write_all(b"o").unwrap();
            stream.write_all(b"k").unwrap();
        }
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    let (stdout, stderr, code) = run(client(port).args(["-framing", "none", "-nt=2", "-ni=1"]));
    let expected = "Thread 0, iteration 1\nThread 1, iteration 1\n";
    assert_eq!((stdout.as_str(), code), (expected, 0), "{stderr}");
}

#[test]
fn a_thousand_threads_take_their_turns() {
    let port = answering(vec!["ok\n"; 10_000]);
    let (stdout, stderr, code) = run(client(port).args(["-nt", "1000", "-ni", "10"]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(summary(&stderr).messages, 10_000);
    for (at, line) in stdout.lines().enumerate() {
        assert!(line.starts_with(&format!("Thread {}, ", at % 1000)));
    }
}

#[test]
fn a_port_without_a_listener() {
    // The socket is bound, so that the port stays free, but it does not listen.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let why = failure(&mut client(address.port()));
    let expected = format!(
        "cannot connect to 127.0.0.1 port {}: {address}: Connection refused (os error 111); \
         is the server running?",
        address.port()
    );
    assert_eq!(why, expected);
}

#[test]
fn every_address_of_a_name_is_tried() {
    // 127.0.0.1 is one of the addresses of localhost.
    let port = answering(["ok\n"; 1]);
    let (_, stderr, code) = run(client(port).args(["-nhost", "localhost", "-nt=1", "-ni=1"]));
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn a_name_that_does_not_exist() {
    for host in ["no-such-host.invalid", "", "a b"] {
        let why = failure(client(1).args(["-host", host, "-timeout", "5"]));
        let expected = format!("cannot find the address of '{host}': ");
        assert!(why.starts_with(&expected), "{why}");
    }
}

#[test]
fn a_wrong_reply_is_shown_safely() {
    for (reply, shown) in [
        ("error log: full\n", "error log: full"),
        ("\x1b[2Jok\n", r"\x1b[2Jok"),
        ("\n", ""),
        ("OK\n", "OK"),
    ] {
        let port = answering(["ok\n", "ok\n", reply]);
        let why = failure(&mut client(port));
        let expected = format!(
            "expected the reply 'ok', got '{shown}' (at 'Thread 2, iteration 1', 2 acknowledged \
             before)"
        );
        assert_eq!(why, expected);
    }
}

#[test]
fn unsolicited_replies() {
    for (replies, shown) in [
        (vec!["ok\nok\n"], r"ok\x0a"),
        (vec!["ok\n", "ok\nerror x: y\n"], r"error x: y\x0a"),
        // At the end, too.
        (vec!["ok\n", "ok\n", "ok\nok\n"], r"ok\x0a"),
    ] {
        let port = answering(replies);
        let why = failure(client(port).args(["-nt=3", "-ni=1"]));
        let expected = format!("an unsolicited reply, '{shown}'");
        assert!(why.starts_with(&expected), "{why}");
    }
}

#[test]
fn a_reply_after_the_last_message() {
    let port = fake_server(|mut stream| {
        _ = stream.read(&mut [0; 100]);
        stream.write_all(b"ok\n").unwrap();
        _ = stream.read(&mut [0; 100]);
        stream.write_all(b"ok\n").unwrap();
    });
    let why = failure(client(port).args(["-nt=1", "-ni=1"]));
    let expected = r"an unsolicited reply, 'ok\x0a' (at the end, 1 acknowledged before)";
    assert_eq!(why, expected);
}

#[test]
fn a_reply_before_the_first_message() {
    let port = fake_server(|mut stream| {
        _ = stream.write_all(b"error too-many-clients: 1 are connected, try later\n");
    });
    // The reply may come before or after the client has sent.
    let why = failure(&mut client(port));
    assert!(why.contains("error too-many-clients: 1 are"), "{why}");
}

#[test]
fn silence() {
    let port = answering(["ok\n"; 3]);
    let why = failure(client(port).args(["-timeout", "0.2"]));
    let expected = "no reply within 0.2 s (at 'Thread 3, iteration 1', 3 acknowledged before)";
    assert_eq!(why, expected);
}

#[test]
fn half_a_reply_and_silence() {
    let port = answering(["ok\n", "ok"]);
    let why = failure(client(port).args(["-timeout", "0.2"]));
    let expected = "only part of a reply within 0.2 s, 'ok'; does it need -framing none? (at \
                    'Thread 1, iteration 1', 1 acknowledged before)";
    assert_eq!(why, expected);
}

#[test]
fn trickling_bytes_do_not_extend_the_time() {
    let port = fake_server(|mut stream| {
        stream.set_nodelay(true).unwrap();
        // Each byte comes well within the timeout.
        while stream.write_all(b"o").is_ok() {
            thread::park_timeout(Duration::from_millis(20));
        }
    });
    let mut command = client(port);
    let why = failure(command.args(["-nt", "1", "-ni", "1", "-timeout", "0.3"]));
    // The first byte may come before the client has sent.
    let unasked = why.starts_with("an unsolicited reply");
    let late = why.starts_with("only part of a reply within 0.3 s, 'oo");
    assert!(unasked || late, "{why}");
}

#[test]
fn a_reply_without_end_is_bounded() {
    let port = fake_server(|mut stream| {
        _ = stream.read(&mut [0; 100]);
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let why = failure(&mut client(port));
    assert!(why.starts_with("a reply longer than 1024 bytes, 'xxx"), "{why}");
    assert!(why.len() < 250, "{why}");
}

#[test]
fn a_closed_connection() {
    for answered in [0, 1, 7] {
        let port = fake_server(move |mut stream| {
            let mut messages = BufReader::new(stream.try_clone().unwrap());
            for _ in 0..answered {
                messages.read_line(&mut String::new()).unwrap();
                stream.write_all(b"ok\n").unwrap();
            }
        });
        let why = failure(&mut client(port));
        let closed = why.starts_with("the server closed the connection (at 'Thread ");
        // The client sent to a closed connection.
        let broke = why.starts_with("the connection broke: ");
        assert!(closed || broke, "{why}");
        let expected = format!("{answered} acknowledged before)");
        assert!(why.ends_with(&expected), "{why}");
    }
}

#[test]
fn half_a_reply_and_a_closed_connection() {
    let port = fake_server(|mut stream| {
        _ = stream.read(&mut [0; 100]);
        stream.write_all(b"error l").unwrap();
    });
    let why = failure(&mut client(port));
    let expected = "the server closed the connection within a reply, 'error l' (at ";
    assert!(why.starts_with(expected), "{why}");
}

#[test]
fn a_reset_connection() {
    let port = fake_server(|mut stream| {
        _ = stream.read(&mut [0; 100]);
        let reset = Some(Duration::ZERO);
        SockRef::from(&stream).set_linger(reset).unwrap();
    });
    let why = failure(&mut client(port));
    let expected = "the connection broke: Connection reset by peer (os error 104) (at ";
    assert!(why.starts_with(expected), "{why}");
}

#[test]
fn a_server_that_never_closes_does_not_keep_the_client() {
    let (ended, end) = mpsc::channel::<()>();
    let port = fake_server(move |mut stream| {
        _ = stream.read(&mut [0; 100]);
        stream.write_all(b"ok\n").unwrap();
        _ = end.recv();
    });
    let (_, stderr, code) = run(client(port).args(["-nt=1", "-ni=1"]));
    assert_eq!(code, 0, "{stderr}");
    drop(ended);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let port = answering(["ok\n"].into_iter().cycle());
    let mut command = client(port);
    command.args(["-ni", "1000000"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "Thread 0, iteration 1\n");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((stderr.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}

#[test]
fn a_full_disk_under_stdout() {
    let port = answering(["ok\n"].into_iter().cycle());
    let mut command = client(port);
    command.stdout(std::fs::File::create("/dev/full").unwrap());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let expected = "client: cannot write to stdout: No space left on device (os error 28)\n";
    assert_eq!((&*stderr, output.status.code()), (expected, Some(1)));
}

#[test]
fn a_closed_stderr_changes_nothing() {
    let port = answering(["ok\n"; 50]);
    let mut child = client(port).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn bad_options_and_help() {
    for (args, expected) in [
        (&["-nt", "x"][..], "client: -nt: expected a number of threads (1 to 100000), got 'x'\n"),
        (&["-pot", "1"], "client: unknown option '-pot': did you mean '-port'?\n"),
        (
            &["loud"],
            "client: unexpected argument 'loud': 'client load' is typed before all options\n",
        ),
    ] {
        let (stdout, stderr, code) = run(client(1).args(args));
        assert_eq!((stdout.as_str(), stderr.as_str(), code), ("", expected, 2));
    }
    let mut mistyped = Command::new(env!("CARGO_BIN_EXE_client"));
    let (stdout, stderr, code) = run(mistyped.arg("lod"));
    let expected = "client: unknown command 'lod': did you mean 'load'?\n";
    assert_eq!((stdout.as_str(), stderr.as_str(), code), ("", expected, 2));
    for help in ["-h", "-help", "--help"] {
        let (stdout, stderr, code) = run(client(1).arg(help));
        assert!(stdout.starts_with("Usage: client [options]\n"));
        assert_eq!((stderr.as_str(), code), ("", 0));
    }
}

#[test]
fn a_launcher_that_is_not_the_parent_is_ignored_and_told_of() {
    let port = answering(["ok\n"; 1]);
    let mut command = client(port);
    command.args(["-nt", "1", "-ni", "1"]).env("LAUNCHER_PID", "1");
    let (stdout, stderr, code) = run(&mut command);
    assert_eq!((stdout.as_str(), code), ("Thread 0, iteration 1\n", 0));
    let (warning, rest) = stderr.split_once('\n').unwrap();
    let expected =
        "client: LAUNCHER_PID=1 in the environment names no launcher of this client: ignored";
    assert_eq!(warning, expected);
    assert_eq!(summary(rest).messages, 1);
}

#[test]
fn a_pause_is_no_timeout_while_the_reply_is_there() {
    let (sender, receiver) = mpsc::channel();
    let port = fake_server(move |mut stream| {
        let mut messages = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(_)) = messages.next() {
            sender.send(()).unwrap();
            // The reply comes while the client is stopped, in two parts.
            thread::sleep(Duration::from_millis(200));
            stream.write_all(b"o").unwrap();
            stream.write_all(b"k\n").unwrap();
        }
    });
    let mut command = client(port);
    command.args(["-nt", "1", "-ni", "1", "-timeout", "700ms"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    receiver.recv_timeout(DEADLINE).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // Longer than `-timeout`, which is the fault under test.
    thread::sleep(Duration::from_millis(1200));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_interrupt_tells_what_was_done() {
    let (sender, receiver) = mpsc::channel();
    let port = fake_server(move |mut stream| {
        let mut messages = BufReader::new(stream.try_clone().unwrap()).lines();
        for n in 0.. {
            if !matches!(messages.next(), Some(Ok(_))) {
                break;
            }
            // Three messages are answered, the fourth is not.
            if n < 3 {
                stream.write_all(b"ok\n").unwrap();
            } else {
                sender.send(()).unwrap();
            }
        }
    });
    let mut command = client(port);
    command.args(["-nt", "2", "-ni", "10", "-timeout", "1h"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    receiver.recv_timeout(DEADLINE).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let summary = said.strip_prefix("client: interrupted: ").unwrap().trim();
    assert_eq!(summary.parse::<Summary>().unwrap().messages, 3);
}

/// A shell or a supervisor may have started the client with blocked signals, whatever its command.
#[test]
fn signals_that_were_blocked_at_start_are_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let record = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: a line\n";
    std::fs::write(&log, record).unwrap();
    let log = log.to_str().unwrap();
    for command in [
        "-nt 1 -ni 1 -timeout 1h",
        "load -connections 1 -duration 1h -timeout 1h",
        "send -timeout 1h",
        "read -follow",
    ] {
        // The client has started once a message arrives or a line is printed.
        let (sender, started) = mpsc::channel();
        let said = sender.clone();
        let port = fake_server(move |stream| {
            for _ in BufReader::new(stream).lines() {
                _ = said.send(());
            }
        });
        let (port, reads) = (port.to_string(), command.starts_with("read"));
        let mut client = Command::new("env");
        client.args(["--block-signal=INT,TERM,HUP,QUIT,PIPE", env!("CARGO_BIN_EXE_client")]);
        client.args(command.split(' '));
        if reads {
            client.arg(log);
        } else {
            client.args(["-host", "127.0.0.1", "-port", &port]);
        }
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = client.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        _ = stdin.write_all(b"a line\n");
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || {
            for _ in BufReader::new(stdout).lines() {
                _ = reads.then(|| sender.send(()));
            }
        });
        started.recv_timeout(DEADLINE).expect(command);
        let (pid, begun) = (rustix::process::Pid::from_child(&child), Instant::now());
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            // The second signal ends it at once.
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            thread::sleep(Duration::from_millis(20));
            if begun.elapsed() > DEADLINE {
                child.kill().unwrap();
                panic!("{command} goes on");
            }
        };
        assert!(status.code().is_some(), "{command}: {status}");
    }
}

#[test]
fn more_threads_than_the_system_allows_are_refused_with_advice() {
    let (stdout, stderr, code) = run(client(1).args(["-nt", "100000", "-ni", "1"]));
    assert_eq!((stdout.as_str(), code), ("", 1));
    // On a machine that allows this many threads, the client fails since no server listens at port
    // 1.
    let expected = "client: -nt 100,000 is more than the ";
    assert!(stderr.starts_with(expected) || stderr.contains("port 1"), "{stderr}");
    assert!(stderr.contains("ask for fewer, or ") || stderr.contains("port 1"), "{stderr}");
}

#[test]
fn input_that_is_not_read_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    std::fs::write(&file, "precious\n").unwrap();
    let piped = || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"precious\n").unwrap();
        Stdio::from(reader)
    };
    let from_file = || Stdio::from(std::fs::File::open(&file).unwrap());
    for (stdin, times) in [(piped(), 1), (from_file(), 1), (Stdio::null(), 0)] {
        let mut command = client(answering(["ok\n"]));
        let (_, stderr, code) = run(command.args(["-nt", "1", "-ni", "1"]).stdin(stdin));
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(stderr.matches("it is not sent").count(), times, "{stderr}");
    }
}
