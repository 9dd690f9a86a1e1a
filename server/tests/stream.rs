//! The log as a stream of one node: its messages, rejections, and replies to clients.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use test_support::nodes::{Cluster, json};
use test_support::numbered::Load;
use test_support::programs;
use test_support::server::Server;
use test_support::stream_log::{judge, log, messages, nodes, refused, serve, serve_as, setup};
use test_support::wait::{DEADLINE, wait_until};

#[test]
fn what_is_answered_is_in_the_stream() {
    let Some(cluster) = nodes(1) else { return };
    let server = serve(&cluster, &["-utc", "-max-message", "20"]);
    let mut client = server.connect();
    client.send(b"one\ntwo\x07\n\nfar too long for this server\nfour\n");
    let replies: Vec<_> = (0..5).map(|_| client.reply()).collect();
    assert_eq!(replies[..3], ["ok", "ok", "ok"]);
    assert!(replies[3].starts_with("error too-long: "), "{replies:?}");
    assert_eq!(replies[4], "ok");
    let name = client.name();
    let written = log(&cluster);
    let records: Vec<_> = written.lines().collect();
    let texts = ["one", r"two\x07", "", "four"];
    assert_eq!(records.len(), texts.len(), "no records of replies: {written}");
    for (record, text) in records.iter().zip(texts) {
        assert!(record.starts_with("INFO\t| 20"), "{record}");
        assert!(record.ends_with(&format!(" --{name} recieved: {text}")), "{record}");
    }
    let mut count = 0;
    for message in messages(&cluster) {
        assert_eq!(message.subject, "LOG.me");
        assert_eq!(message.header("Line-Log-Format"), Some("original"));
        let lines = message.payload.split(|byte| *byte == b'\n').count() - 1;
        assert_eq!(message.header("Line-Log-Count"), Some(lines.to_string().as_str()));
        count += lines;
    }
    assert_eq!(count, texts.len());
    assert!(server.stop().status.success());
}

#[test]
fn json_is_in_it_as_in_a_file_and_a_subject_can_be_chosen() {
    let Some(cluster) = setup(1) else { return };
    let cluster = cluster.start().unwrap();
    cluster.stream("LOG").create(&json!({"subjects": ["logs.web.*"]})).unwrap();
    let options = ["-format", "json", "-subject", "logs.web"];
    let server = serve(&cluster, &options);
    let mut client = server.connect();
    client.send(b"a \"b\"\n\xff\n");
    assert_eq!([client.reply(), client.reply()], ["ok", "ok"]);
    let written = log(&cluster);
    assert!(written.contains(r#""message":"a \"b\""}"#), "{written}");
    assert!(written.contains(r#""bytes":"/w=="}"#), "{written}");
    let first = &messages(&cluster)[0];
    assert_eq!(
        (first.subject.as_str(), first.header("line-log-format")),
        ("logs.web.me", Some("json"))
    );
}

#[test]
fn a_stream_that_cannot_keep_what_it_acknowledges_is_refused() {
    let Some(cluster) = setup(1) else { return };
    let cluster = cluster.start().unwrap();
    let urls = cluster.urls();
    let refused = |stream: &str, more: &[&str]| {
        let mut options = vec!["-stream", stream, "-nats", &urls, "-id", "me"];
        options.extend(more);
        refused(&options)
    };
    let add = "nats stream add NONE --subjects 'NONE.*' --storage file --replicas 3";
    let said = refused("NONE", &[]);
    assert!(said.starts_with("server: there is no stream NONE; this would make it: "), "{said}");
    assert!(said.contains(add), "{said}");
    for (name, config, expected) in [
        ("MEMORY", json!({"storage": "memory"}), "is kept in memory: no 'ok' would outlive"),
        ("SILENT", json!({"no_ack": true}), "acknowledges nothing (no_ack)"),
        ("QUEUE", json!({"retention": "workqueue"}), "drops what was read (retention workqueue)"),
        ("ELSEWHERE", json!({"subjects": ["else.*"]}), "does not store ELSEWHERE.me, but else.*"),
    ] {
        cluster.stream(name).create(&config).unwrap();
        let said = refused(name, &[]);
        assert!(said.starts_with(&format!("server: the stream {name} {expected}")), "{said}");
        assert!(said.contains(&format!("nats stream add {name} ")), "{said}");
    }
    cluster.stream("SMALL").create(&json!({"max_msg_size": 10_000})).unwrap();
    let said = refused("SMALL", &[]);
    assert!(said.contains("can take 264192 bytes, and the stream takes 10000 at once"), "{said}");
    let options = ["-max-message", "900"];
    let urls = ["-stream", "SMALL", "-nats", &urls, "-id", "me"];
    assert!(Server::start(&[&urls[..], &options].concat()).stop().status.success());
}

#[test]
fn what_may_surprise_is_said_at_the_start() {
    let Some(cluster) = setup(1) else { return };
    let cluster = cluster.start().unwrap();
    cluster.stream("LOG").create(&json!({"discard": "old", "max_bytes": 1 << 20})).unwrap();
    let ended = serve(&cluster, &[]).stop();
    assert!(ended.status.success());
    let server = serve(&cluster, &[]);
    server.said("the stream LOG is kept by 1 server: what was acknowledged is lost with it");
    server.said("has a limit (max_bytes): lines that were acknowledged vanish when it is reached");
    server.said("sync_interval: always");
}

#[test]
fn an_unusable_node_is_not_used() {
    let Some(mut with_password) = setup(1) else {
        return;
    };
    with_password.config = "authorization { user: log, password: \"s3c:ret\" }".to_owned();
    with_password.login = Some(nats::address::Login::User("log".to_owned(), "s3c:ret".to_owned()));
    let cluster = with_password.start().unwrap();
    cluster.stream("LOG").create(&json!({})).unwrap();
    let address = cluster.nodes[0].address();
    let said = refused(&["-stream", "LOG", "-nats", &format!("log:wrong@{address}")]);
    assert!(
        said.contains(&format!("nats://{address}: it refuses the login (Authorization Violation)")),
        "{said}"
    );
    assert!(!said.contains("wrong"), "no password is shown: {said}");
    let url = format!("nats://log:s3c%3Aret@{address}");
    let server = Server::start(&["-stream", "LOG", "-nats", &url, "-id", "me"]);
    let mut client = server.connect();
    client.send(b"in\n");
    assert_eq!(client.reply(), "ok");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = refused(&["-stream", "LOG", "-nats", &closed.to_string()]);
    assert!(said.starts_with("server: cannot use NATS: nats://127.0.0.1:"), "{said}");
    assert!(said.contains("refused"), "{said}");
}

/// A listener that sends `words` on each connection, and answers everything with PONG.
fn say_to_everybody(words: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            _ = stream.write_all(words.as_bytes());
            let mut heard = [0; 4096];
            // CONNECT and PING arrive in one read or two.
            while let Ok(1..) = stream.read(&mut heard) {
                _ = stream.write_all(b"PONG\r\n");
            }
        }
    });
    address.to_string()
}

#[test]
fn a_node_that_is_old_or_no_nats_server_is_reported() {
    for (words, expected) in [
        (
            "INFO {\"version\":\"2.9.10\",\"headers\":true,\"jetstream\":true}\r\n",
            "is nats-server 2.9.10, whose check of sequences is not sound: 2.10.25 is the first that will do",
        ),
        (
            "INFO {\"version\":\"2.15.1\",\"headers\":true}\r\n",
            "keeps no streams: 'jetstream {}' in its configuration switches them on",
        ),
        (
            "220 smtp.example ESMTP\r\n",
            "that is not NATS: '220 smtp.example ESMTP' is not understood",
        ),
        (
            "INFO {\"version\":\"\\u001b[2J\\nx\",\"headers\":true,\"jetstream\":true}\r\n",
            r"is nats-server \x1b[2J\x0ax",
        ),
        (
            "INFO {\"headers\":true}\r\n-ERR 'no \u{1b}]0;x\u{7}\u{202e}\u{9b}'\r\n",
            r"it refuses us: no \x1b]0;x\x07\u{202e}\u{009b}",
        ),
        ("", "it says nothing"),
    ] {
        let address = say_to_everybody(words);
        let said = refused(&["-stream", "LOG", "-nats", &address]);
        assert!(said.contains(&address) && said.contains(expected), "{said}");
    }
}

#[test]
fn options_of_a_file_are_refused() {
    for option in [&["-log", "x"][..], &["-append"], &["-sync"], &["-rotate-size", "1M"]] {
        let output = programs::server().args(["-stream", "LOG"]).args(option).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let expected = format!("server: {}: the log is a stream (-stream), not a file", option[0]);
        assert!(said.starts_with(&expected), "{said}");
    }
}

#[test]
fn a_second_server_of_the_same_id_is_refused() {
    let Some(cluster) = nodes(1) else { return };
    let mut first = serve(&cluster, &[]);
    let urls = cluster.urls();
    let said = refused(&["-stream", "LOG", "-nats", &urls, "-id", "me"]);
    let pid = first.pid();
    assert!(
        said.starts_with(&format!("server: another server has the id me (process {pid} on ")),
        "{said}"
    );
    assert!(said.ends_with(": give each its own with -id"), "{said}");
    let other = serve_as("other", &cluster, &[]);
    assert!(other.stop().status.success());
    // A server that is paused does not answer. When it is resumed, it detects the other one.
    first.signal(Signal::STOP);
    wait_until("the pause", || first.is_stopped().then_some(()));
    let second = serve(&cluster, &[]);
    let mut client = second.connect();
    client.send(b"of the second\n");
    assert_eq!(client.reply(), "ok");
    first.signal(Signal::CONT);
    let mut client = first.connect();
    client.send(b"of the first\n");
    assert_eq!(client.rest(), "", "no answer is better than a false one");
    first.wait_for_line("server: another server publishes to LOG.me as me: ");
    assert_eq!(first.wait().status.code(), Some(1));
    let written = log(&cluster);
    assert!(written.contains("of the second") && !written.contains("of the first"), "{written}");
}

#[test]
fn a_stream_that_is_full_gone_or_sealed_refuses_and_can_take_again() {
    let Some(cluster) = nodes(1) else { return };
    let mut server = serve(&cluster, &[]);
    let mut client = server.connect();
    let stream = cluster.stream("LOG");
    let mut ask = |text: &str| {
        client.send(format!("{text}\n").as_bytes());
        client.reply()
    };
    assert_eq!(ask("first"), "ok");
    stream.update(&json!({"max_msgs": 1})).unwrap();
    assert_eq!(ask("too many"), "error log: the stream is full (10077)");
    server.wait_for_line(
        "stream LOG takes nothing: maximum messages exceeded (10077); 1 message not kept",
    );
    stream.update(&json!({"max_msgs": -1})).unwrap();
    assert_eq!(ask("second"), "ok");
    server.wait_for_line("stream LOG: messages are kept again");
    assert_eq!(texts(&cluster), ["first", "second"]);
    stream.delete().unwrap();
    assert_eq!(ask("lost"), "error log: no stream takes it (503)");
    stream.create(&json!({"discard": "new"})).unwrap();
    assert_eq!(ask("third"), "ok");
    assert_eq!(ask("fourth"), "ok");
    assert_eq!(texts(&cluster), ["third", "fourth"]);
    stream.purge().unwrap();
    assert_eq!(ask("fifth"), "ok");
    assert_eq!(texts(&cluster), ["fifth"]);
    // The server does not use another stream that has taken the subject.
    stream.delete().unwrap();
    cluster.stream("THIEF").create(&json!({"subjects": ["LOG.*"]})).unwrap();
    assert_eq!(ask("stolen"), "error log: another stream has its subject (10060)");
    assert!(cluster.stream("THIEF").messages().unwrap().is_empty());
    assert!(server.stop().status.success());
}

/// The texts of the messages in the stream.
fn texts(cluster: &Cluster) -> Vec<String> {
    let log = log(cluster);
    let text = |line: &str| line.split_once(" recieved: ").unwrap().1.to_owned();
    log.lines().map(text).collect()
}

#[test]
fn what_is_not_allowed_is_said_loudly_and_never_answered() {
    let Some(mut setup) = setup(1) else { return };
    setup.config = r#"authorization { users: [
        { user: admin, password: admin }
        { user: log, password: log, permissions: {
            publish: ["$JS.API.STREAM.INFO.LOG", "$JS.API.STREAM.MSG.GET.LOG"], subscribe: "_INBOX.>" } }
    ] }"#
    .to_owned();
    setup.login = Some(nats::address::Login::User("admin".to_owned(), "admin".to_owned()));
    let cluster = setup.start().unwrap();
    cluster.stream("LOG").create(&json!({"discard": "new"})).unwrap();
    let url = format!("log:log@{}", cluster.nodes[0].address());
    let options = ["-stream", "LOG", "-nats", &url, "-id", "me", "-ack-wait", "3s"];
    let mut server = Server::start(&options);
    let mut client = server.connect();
    client.send(b"not allowed\n");
    server.wait_for_line("the NATS server says: Permissions Violation for Publish to \"LOG.me\"");
    server.wait_for_line("1 message may or may not be stored; connections closed without a reply");
    assert_eq!(client.rest(), "", "an unknown outcome gets no reply");
    assert!(messages(&cluster).is_empty());
    // Reading another stream's configuration is not allowed either.
    let url = format!("log:log@{}", cluster.nodes[0].address());
    let said = refused(&["-stream", "OTHER", "-nats", &url]);
    assert!(said.contains("cannot ask $JS.API.STREAM.INFO.OTHER: "), "{said}");
    assert!(said.contains("Permissions Violation"), "{said}");
}

#[test]
fn a_node_that_is_away_keeps_clients_waiting_and_no_longer_than_was_said() {
    let Some(mut cluster) = nodes(1) else { return };
    let mut server = serve(&cluster, &["-ack-wait", "4s"]);
    let mut client = server.connect();
    client.send(b"before\n");
    assert_eq!(client.reply(), "ok");
    cluster.nodes[0].kill().unwrap();
    server.wait_for_line("stream LOG: lost nats://");
    client.send(b"meanwhile\n");
    let mut waiting = server.connect();
    waiting.send(b"also\n");
    cluster.nodes[0].start().unwrap();
    cluster.wait_until_healthy().unwrap();
    assert_eq!((client.reply(), waiting.reply()), ("ok".to_owned(), "ok".to_owned()));
    server.wait_for_line("stream LOG: messages are kept again, after ");
    cluster.nodes[0].kill().unwrap();
    client.send(b"in vain\n");
    assert_eq!(client.rest(), "", "what is unknown is not answered");
    server.wait_for_line("no conclusive answer within 4 s");
    cluster.nodes[0].start().unwrap();
    cluster.wait_until_healthy().unwrap();
    waiting.send(b"after\n");
    assert_eq!(waiting.reply(), "ok");
    assert_eq!(texts(&cluster), ["before", "meanwhile", "also", "after"]);
    assert!(server.stop().status.success());
}

#[test]
fn a_stop_waits_for_the_batch_under_way_but_not_for_ever() {
    let Some(mut cluster) = nodes(1) else { return };
    let mut server = serve(&cluster, &[]);
    let mut client = server.connect();
    client.send(b"before\n");
    assert_eq!(client.reply(), "ok");
    cluster.nodes[0].pause().unwrap();
    client.send(b"under way\n");
    server.wait_for_line("stream LOG: lost nats://");
    let begun = Instant::now();
    let ended = server.stop();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        ended.count_said("stopped while 1 message waited for the log: they were never answered"),
        1
    );
    assert_eq!(client.rest(), "");
    cluster.nodes[0].resume().unwrap();

    let mut server = serve(&cluster, &[]);
    let mut client = server.connect();
    assert_eq!(client.ask("first"), "ok");
    cluster.nodes[0].pause().unwrap();
    client.send(b"in time\n");
    server.wait_for_line("stream LOG: lost nats://");
    server.signal(Signal::TERM);
    cluster.nodes[0].resume().unwrap();
    assert_eq!(client.reply(), "ok");
    assert!(server.wait().status.success());
}

#[test]
fn a_server_that_was_killed_goes_on_where_it_was() {
    let Some(cluster) = nodes(1) else { return };
    for round in 0..3 {
        let server = serve(&cluster, &[]);
        let mut client = server.connect();
        client.send(format!("round {round}\n").as_bytes());
        assert_eq!(client.reply(), "ok");
        server.kill();
    }
    assert_eq!(texts(&cluster), ["round 0", "round 1", "round 2"]);
}

#[test]
fn while_the_stream_is_away_memory_is_bounded_and_the_loop_sleeps() {
    let Some(mut cluster) = nodes(1) else { return };
    let options = ["-ack-wait", "12s", "-metrics", "127.0.0.1:0"];
    let mut server = serve(&cluster, &options);
    assert!(curl(&server, "/health").starts_with("HTTP/1.1 200 "));
    let load = Load::start(server.address(), 50, 500).unwrap();
    wait_until("some load", || (load.acknowledged() > 10_000).then_some(()));
    cluster.nodes[0].pause().unwrap();
    server.wait_for_line("stream LOG: lost nats://");
    let before = server.cpu_time();
    server.wait_for_line("no conclusive answer within 12 s");
    let spent = server.cpu_time().saturating_sub(before);
    assert!(spent < Duration::from_secs(1), "{spent:?} in ten seconds");
    assert!(server.peak_memory() < 64 << 20, "{} bytes", server.peak_memory());
    let health = curl(&server, "/health");
    assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
    assert!(health.contains("the log cannot be written: "), "{health}");
    cluster.nodes[0].resume().unwrap();
    server.wait_for_line("stream LOG: messages are kept again");
    assert!(curl(&server, "/health").starts_with("HTTP/1.1 200 "));
    let verification = judge(&cluster, &load.finish().unwrap());
    assert_eq!(verification.errors, 0);
    assert!(verification.unanswered > 0, "{verification:?}");
    assert!(server.stop().status.success());
}

/// The response of its HTTP endpoint.
fn curl(server: &Server, path: &str) -> String {
    let line = server.said("metrics at http://");
    let address = line.trim_start_matches("metrics at http://").trim_end_matches("/metrics");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
