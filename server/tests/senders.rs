//! Real senders: some frame messages in other ways, and most never read a reply.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::process::{Command, Stdio};

use test_support::client::Client;
use test_support::programs::can;
use test_support::records::received_from;
use test_support::server::Server;

/// Sends everything at once and half-closes; returns the replies and the client's name.
fn exchange(server: &Server, input: &[u8]) -> (String, String) {
    let mut client = server.connect();
    client.send(input);
    client.end();
    (client.rest(), client.name())
}

#[test]
fn nul_ends_messages_and_replies() {
    let server = Server::start(&["-framing", "nul", "-max-message", "8"]);
    let (replies, peer) = exchange(&server, b"a\nb\r\0\x00123456789\0last");
    let expected = "ok\0ok\0error too-long: the message is longer than 8 bytes\0ok\0";
    assert_eq!(replies, expected);
    let log = server.stop().log();
    assert_eq!(received_from(&log, &peer), [r"a\x0ab\x0d", "", "last"]);
}

#[test]
fn counted_messages_may_hold_anything() {
    let server = Server::start(&["-framing", "octet"]);
    let long = "x".repeat(65_536);
    let input = format!("5 a\nb\0c0 1 z65536 {long}");
    let (replies, peer) = exchange(&server, input.as_bytes());
    assert_eq!(replies, "ok\n".repeat(4));
    let records = server.stop().log();
    let messages = received_from(&records, &peer);
    assert_eq!(messages, [r"a\x0ab\x00c", "", "z", &long]);
}

#[test]
fn a_wrong_length_is_answered_once_and_the_connection_closed() {
    for wrong in ["x 1", "65537 ", "-1 a", " 1 a", "\n2 bc", "12345678901", "3 ab"] {
        let server = Server::start(&["-framing", "octet"]);
        let mut client = server.connect();
        client.send(format!("2 ab{wrong}"));
        if wrong == "3 ab" {
            // Fewer bytes than the length says: only the end of input shows it.
            client.end();
        } else {
            // The bytes after an invalid length are ignored.
            client.send("2 cd");
        }
        let expected =
            "ok\nerror length: expected the message's length (0 to 65536) and a space before it\n";
        assert_eq!(client.rest(), expected, "{wrong:?}");
        let peer = client.name();
        let log = server.stop().log();
        assert_eq!(received_from(&log, &peer), ["ab"], "{wrong:?}");
        let records = log.lines().filter(|record| record.starts_with("WARNING"));
        assert_eq!(records.count(), 1, "{log}");
    }
}

#[test]
fn nothing_is_answered_where_nothing_is_to_be() {
    let server = Server::start(&["-replies", "none", "-max-message", "8"]);
    let (replies, peer) = exchange(&server, b"one\n123456789\ntwo");
    assert_eq!(replies, "");
    let ended = server.stop();
    assert_eq!(received_from(&ended.log(), &peer), ["one", "two"]);
    assert_eq!(ended.log().lines().count(), 2, "no record of a reply");
    assert_eq!(ended.count_said("no sender learns what is in the log"), 1);
    assert_eq!(ended.count_said("a message is not kept, longer than 8 bytes"), 1);
    assert_eq!(ended.count_said("2 messages kept, none acknowledged, 1 error"), 1);
}

/// Sends lines and closes the connection without reading replies.
fn send_and_close(server: &Server, lines: usize) -> String {
    let mut client = server.connect();
    let text: String = (0..lines).map(|n| format!("line {n}\n")).collect();
    client.send(text);
    client.name()
}

#[test]
fn whoever_never_reads_loses_nothing_where_nothing_is_answered() {
    let server = Server::start(&["-replies", "none", "-quiet"]);
    let lines = 200_000;
    let peer = send_and_close(&server, lines);
    let expected = format!("--{peer} recieved: line {}\n", lines - 1);
    let log = server.wait_for_log(|log| log.contains(&expected));
    assert_eq!(received_from(&log, &peer).len(), lines);
    let messages = received_from(&log, &peer);
    assert!((0..lines).all(|n| messages[n] == format!("line {n}")));
    let ended = server.stop();
    assert_eq!(ended.count_said("without reading"), 0);
}

#[test]
fn whoever_closes_without_reading_is_told_of() {
    let mut server = Server::start(&["-quiet"]);
    // Its kernel resets the connection, since there is unread data.
    let mut client = server.connect();
    client.send("one\n");
    let mut reply = [0; 1];
    client.stream().read_exact(&mut reply).unwrap();
    drop(client);
    let said = server.wait_for_line("without reading");
    assert!(said.contains("1 client closed without reading its replies"), "{said}");
    assert!(said.contains("-replies none"), "{said}");
    server.stop();
}

#[test]
fn whoever_reads_is_not() {
    let server = Server::start(&["-quiet"]);
    for _ in 0..3 {
        let mut client = server.connect();
        assert_eq!(client.ask("a"), "ok");
        client.stream().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), "");
    }
    assert_eq!(server.stop().count_said("without reading"), 0);
}

/// Runs a script with a common program that sends to the server; false if it is not installed.
fn runs(what: &str, server: &Server, script: &str) -> bool {
    if !can(what, &format!("command -v {what}")) {
        return false;
    }
    let done = Command::new("bash")
        .args(["-c", script])
        .env("PORT", server.address().port().to_string())
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    assert!(done.status.success(), "{done:?}");
    true
}

#[test]
fn a_shell_that_echoes_into_a_socket() {
    let server = Server::start(&["-replies", "none", "-quiet"]);
    let script =
        "exec 3>/dev/tcp/127.0.0.1/$PORT; for n in $(seq 3000); do echo shell $n >&3; done";
    if runs("bash", &server, script) {
        server.wait_for_log(|log| log.contains("shell 3000\n"));
        assert_eq!(server.stop().log().lines().count(), 3000);
    }
}

#[test]
fn logger_over_tcp() {
    for (framing, option) in [("line", ""), ("octet", "--octet-count")] {
        let server = Server::start(&["-replies", "none", "-framing", framing, "-quiet"]);
        let script = format!("seq 2000 | logger -T {option} -n 127.0.0.1 -P $PORT -t test");
        if runs("logger", &server, &script) {
            server.wait_for_log(|log| log.contains(" 2000\n"));
            let log = server.stop().log();
            assert_eq!(log.lines().count(), 2000, "{framing}");
            let last = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
            assert!((1..=2000).eq(log.lines().map(|line| last(line).parse::<usize>().unwrap())));
        }
    }
}

#[test]
fn pythons_syslog_handler() {
    let server = Server::start(&["-replies", "none", "-framing", "nul", "-quiet"]);
    let script = "python3 -c '
import logging, logging.handlers, os, socket
handler = logging.handlers.SysLogHandler((\"127.0.0.1\", int(os.environ[\"PORT\"])), socktype=socket.SOCK_STREAM)
log = logging.getLogger(); log.addHandler(handler)
for n in range(2000): log.warning(\"line %d\", n)
'";
    if runs("python3", &server, script) {
        server.wait_for_log(|log| log.contains("line 1999\n"));
        let log = server.stop().log();
        assert_eq!(log.lines().count(), 2000);
        assert!(log.lines().zip(0..).all(|(line, n)| line.ends_with(&format!(">line {n}"))));
    }
}

#[test]
fn a_client_over_the_limit_is_only_closed() {
    let server = Server::start(&["-replies", "none", "-max-clients", "1"]);
    let first = server.connect();
    let mut second = Client::connect(server.address());
    assert_eq!(second.rest(), "");
    drop(first);
}

#[test]
fn the_python_example_resends() {
    if !can("python3", "command -v python3") {
        return;
    }
    let server = Server::start(&["-append"]);
    let port = server.address().port().to_string();
    let mut sender = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/resend.py"))
        .args(["127.0.0.1", &port])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = sender.stdin.take().unwrap();
    let input: String = (0..2500).map(|n| format!("line {n}\n")).collect();
    lines.write_all(input.as_bytes()).unwrap();
    server.wait_for_log(|log| log.contains(": line 2499\n"));
    // The server is killed; lines sent meanwhile go to the next server, at the same port.
    let folder = server.kill().into_folder();
    lines.write_all(b"after\n").unwrap();
    let mut command = test_support::programs::server();
    command.args(["-append", "-port", &port]);
    let server = Server::start_command(folder, command);
    // The input has not ended: the sender may not wait for more of it.
    server.wait_for_log(|log| log.contains(": after\n"));
    lines.write_all(b"last").unwrap();
    drop(lines);
    let ended = sender.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("trying again: "), "{said}");
    let log = server.stop().log();
    for line in input.lines().chain(["after", "last"]) {
        assert!(log.contains(&format!(" recieved: {line}\n")), "{line}");
    }
}
