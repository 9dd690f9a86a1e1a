//! The contract on the wire and in the log, with the real server over loopback.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;
use test_support::client::Client;
use test_support::records::{received_from, without_time};
use test_support::server::Server;

#[test]
fn a_tiny_run_byte_for_byte() {
    let server = Server::start(&[]);
    let mut clients = [server.connect(), server.connect(), server.connect()];
    let mut expected = Vec::new();
    for (k, client) in clients.iter_mut().enumerate() {
        let message = format!("Thread {k}, iteration 1");
        client.send(format!("{message}\n"));
        let mut reply = [0; 3];
        std::io::Read::read_exact(&mut client.stream(), &mut reply).unwrap();
        assert_eq!(&reply, b"ok\n");
        let peer = client.name();
        expected.push(format!("INFO {peer} recieved: {message}"));
        expected.push(format!("INFO {peer} send: ok"));
        server.wait_for_log(|log| log.lines().count() == expected.len());
    }
    let log = server.stop().log();
    assert!(log.ends_with('\n'));
    let records: Vec<_> = log.lines().map(without_time).collect();
    assert_eq!(records, expected);
}

#[test]
fn what_is_sent_by_nc_telnet_and_python() {
    let server = Server::start(&[]);
    for (input, messages) in [
        (&b"hello"[..], &["hello"][..]),
        (b"a\r\nb\n", &["a", "b"]),
        (b"a\r\n\r\nb\r", &["a", "", r"b\x0d"]),
        (b"\n", &[""]),
        (b"", &[]),
        (b"nul\0 esc\x1b \xff\xe9 \\ \xc2\x85\n", &[r"nul\x00 esc\x1b \xff\xe9 \\ \u{0085}"]),
    ] {
        let mut client = server.connect();
        // Data and FIN may share a segment: the server must look for the end itself.
        client.send(input);
        client.end();
        let replies = client.rest();
        assert_eq!(replies, "ok\n".repeat(messages.len()), "{input:?}");
        let log = server.log();
        assert_eq!(received_from(&log, &client.name()), messages, "{input:?}");
    }
}

#[test]
fn an_overlong_message_leaves_the_stream_in_step() {
    let server = Server::start(&["-max-message", "10"]);
    let mut client = server.connect();
    let huge = "x".repeat(300_000);
    client.send(format!("one\n{huge}\r\n0123456789\r\n01234567890\nlast"));
    client.end();
    let too_long = "error too-long: the message is longer than 10 bytes\n";
    assert_eq!(client.rest(), format!("ok\n{too_long}ok\n{too_long}ok\n"));
    let peer = client.name();
    let log = server.stop().log();
    assert_eq!(received_from(&log, &peer), ["one", "0123456789", "last"]);
    let warned = format!("WARNING {peer} send: {}", too_long.trim_end());
    let warnings = log.lines().filter(|line| without_time(line) == warned);
    assert_eq!(warnings.count(), 2);
}

#[test]
fn the_default_limit_is_65536_bytes_without_the_line_end() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let most = "x".repeat(65_536);
    client.send(format!("{most}\r\n{most}x\n"));
    assert_eq!(client.reply(), "ok");
    assert_eq!(client.reply(), "error too-long: the message is longer than 65536 bytes");
}

#[test]
fn a_burst_of_100_000_messages_is_answered_in_order() {
    const N: usize = 100_000;
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut writer = client.stream().try_clone().unwrap();
    let sender = thread::spawn(move || {
        let burst: String = (0..N).map(|n| format!("message {n}\n")).collect();
        writer.write_all(burst.as_bytes()).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert_eq!(client.rest(), "ok\n".repeat(N));
    sender.join().unwrap();
    let peer = client.name();
    let log = server.stop().log();
    let expected = (0..N).map(|n| format!("message {n}"));
    assert!(received_from(&log, &peer).into_iter().eq(expected));
    assert_eq!(log.lines().filter(|line| line.ends_with(" send: ok")).count(), N);
}

#[test]
fn a_half_closed_client_gets_every_reply() {
    const N: usize = 200_000;
    let server = Server::start(&[]);
    let mut client = server.connect();
    // Replies are outstanding at the half-close: the client reads nothing before it.
    client.send("\n".repeat(N));
    client.end();
    assert_eq!(client.rest(), "ok\n".repeat(N));
}

#[test]
fn a_thousand_clients_at_once() {
    const N: usize = 1000;
    let server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..N).map(|_| server.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(format!("from {n}\n"));
    }
    for client in &mut clients {
        assert_eq!(client.reply(), "ok");
    }
    let names: Vec<_> = clients.iter().map(Client::name).collect();
    drop(clients);
    let ended = server.stop();
    assert!(ended.status.success());
    let log = ended.log();
    for (n, name) in names.iter().enumerate() {
        assert_eq!(received_from(&log, name), [format!("from {n}")]);
    }
}

#[test]
fn every_record_of_a_message_stands_before_that_of_its_ok() {
    let server = Server::start(&[]);
    thread::scope(|scope| {
        for _ in 0..5 {
            let mut client = server.connect();
            scope.spawn(move || {
                for n in 0..200 {
                    assert_eq!(client.ask(&format!("message {n}")), "ok");
                }
            });
        }
    });
    let log = server.stop().log();
    let mut outstanding: HashMap<&str, i32> = HashMap::new();
    for line in log.lines() {
        let (peer, what) = line.split_once(" --").unwrap().1.split_once(' ').unwrap();
        let outstanding = outstanding.entry(peer).or_default();
        *outstanding += if what == "send: ok" { -1 } else { 1 };
        assert!((0..=1).contains(outstanding), "{line}");
    }
    assert_eq!(log.lines().count(), 5 * 200 * 2);
    assert!(outstanding.values().all(|&n| n == 0));
}

#[test]
fn a_quiet_client_is_answered_beside_a_flooding_one() {
    let server = Server::start(&[]);
    let mut flooder = server.connect();
    let mut writer = flooder.stream().try_clone().unwrap();
    let flood = thread::spawn(move || {
        let lines = "flood\n".repeat(10_000);
        while writer.write_all(lines.as_bytes()).is_ok() {}
    });
    assert_eq!(flooder.reply(), "ok", "the flood has begun");
    let mut reader = flooder.stream().try_clone().unwrap();
    let drain = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let mut quiet = server.connect();
    for n in 0..100 {
        assert_eq!(quiet.ask(&format!("quiet {n}")), "ok");
    }
    // Only one side: replies that came after the end of both would turn it into a reset.
    flooder.stream().shutdown(std::net::Shutdown::Write).unwrap();
    flood.join().unwrap();
    drain.join().unwrap().unwrap();
}

#[test]
fn the_unframed_dialect_of_the_original_client() {
    let server = Server::start(&["-framing", "none"]);
    let mut client = server.connect();
    for n in 0..3 {
        client.send(format!("Thread {n}, iteration 1"));
        let mut reply = [0; 2];
        std::io::Read::read_exact(&mut client.stream(), &mut reply).unwrap();
        assert_eq!(&reply, b"ok");
    }
    client.send("two\nlines\r\n");
    client.end();
    assert_eq!(client.rest(), "ok");
    let log = server.log();
    let expected = [
        "Thread 0, iteration 1",
        "Thread 1, iteration 1",
        "Thread 2, iteration 1",
        r"two\x0alines\x0d\x0a",
    ];
    assert_eq!(received_from(&log, &client.name()), expected);
}

#[test]
fn records_go_to_standard_output_too() {
    let mut command = test_support::programs::server();
    command.args(["-port", "0"]).stdout(Stdio::piped());
    let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let shown = test_support::commands::lines(server.take_stdout());
    let mut client = server.connect();
    assert_eq!(client.ask("shown"), "ok");
    let log = server.wait_for_log(|log| log.lines().count() == 2);
    let shown: Vec<_> = shown.iter().take(2).collect();
    assert!(log.lines().eq(shown));
}

#[test]
fn ipv6_and_all_addresses_of_a_name() {
    let mut server = Server::start(&["-host", "localhost"]);
    let first = server.address();
    let mut addresses = vec![first];
    // The other address family is skipped if the machine lacks it.
    let ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let ipv6_named = std::net::ToSocketAddrs::to_socket_addrs("localhost:0")
        .is_ok_and(|mut all| all.any(|address| address.is_ipv6()));
    if ipv6 && ipv6_named {
        let line = server.wait_for_line("listening on ");
        addresses.push(line["listening on ".len()..].parse().unwrap());
    }
    for address in addresses {
        assert_eq!(address.port(), first.port(), "all on one port");
        let mut client = Client::connect(address);
        assert_eq!(client.ask("hello"), "ok");
        assert_eq!(received_from(&server.log(), &client.name()), ["hello"]);
    }
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Server::start(&["-idle-timeout", "1"]);
    let mut idle = server.connect();
    assert_eq!(idle.ask("then silence"), "ok");
    idle.send("unfinished");
    let mut busy = server.connect();
    let (closed, idle_is_closed) = mpsc::channel();
    let waiting = thread::spawn(move || closed.send(idle.rest()));
    let rest = loop {
        assert_eq!(busy.ask("busy"), "ok");
        match idle_is_closed.try_recv() {
            Ok(rest) => break rest,
            Err(error) => assert_eq!(error, mpsc::TryRecvError::Empty),
        }
    };
    waiting.join().unwrap().unwrap();
    assert_eq!(rest, "", "closed without another word");
    assert_eq!(busy.ask("still here"), "ok");
    let log = server.stop().log();
    assert!(!log.contains("unfinished"), "an idle close drops an unfinished message");
}

#[test]
fn local_time_and_utc() {
    // A zone five and a half hours ahead of UTC, written so that no zone database is needed.
    let record_time = |zone: &str, options: &[&str]| {
        let mut command = test_support::programs::server();
        command.args(["-quiet", "-port", "0"]).args(options);
        command.env("TZ", zone);
        let server = Server::start_command(tempfile::tempdir().unwrap(), command);
        assert_eq!(server.connect().ask("when"), "ok");
        let log = server.log();
        log.split_once("\t| ").unwrap().1[11..16].to_owned()
    };
    let minutes = |time: &str| {
        let (hours, minutes) = time.split_once(':').unwrap();
        hours.parse::<i32>().unwrap() * 60 + minutes.parse::<i32>().unwrap()
    };
    let utc = minutes(&record_time("IST-5:30", &["-utc"]));
    let local = minutes(&record_time("IST-5:30", &[]));
    let ahead = (local - utc).rem_euclid(24 * 60);
    assert!((330..=331).contains(&ahead), "{ahead} minutes ahead");
}

#[test]
fn stopping_says_what_was_done() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.ask("one"), "ok");
    drop(client);
    server.wait_for_log(|log| log.contains("send: ok"));
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0));
    let bytes = ended.log().len();
    let line = ended.said.last().unwrap();
    let expected = format!(
        "stopped: 1 client served, 1 message acknowledged, 0 errors, {bytes} bytes logged in "
    );
    assert!(line.starts_with(&expected), "{line}");
}

#[test]
fn one_line_of_figures_for_sigusr1() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.ask("one"), "ok");
    server.signal(Signal::USR1);
    let line = server.wait_for_line("connected");
    let expected = "1 client connected, 1 client served, 1 message acknowledged, 0 errors, ";
    assert!(line.starts_with(expected), "{line}");
}
