//! Clients that misbehave.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::net::SendFlags;
use rustix::process::Signal;
use test_support::client::Client;
use test_support::programs::{can, script};
use test_support::records::received_from;
use test_support::server::Server;

/// The memory limit of the server in every test here, in bytes: the batches of two turns, the program
/// itself, and a message for each of the few clients.
const MEMORY: u64 = 64 << 20;

/// A server that takes no byte for this long has stopped reading.
const QUIET: Duration = Duration::from_millis(500);

/// Checks that the server answers other clients, and that its memory is within the limit.
fn check(server: &Server) {
    assert_eq!(server.connect().ask("another client"), "ok");
    let peak = server.peak_memory();
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
}

#[test]
fn a_client_that_does_not_read_is_not_read_and_loses_nothing() {
    let server = Server::start(&[]);
    let mut deaf = Client::connect_deaf(server.address());
    let whole = deaf.fill("never reads\n", QUIET);
    check(&server);
    // Once the client reads, every line is answered; the first reply is read byte by byte.
    let mut first = [0; 3];
    for byte in &mut first {
        deaf.stream().read_exact(std::slice::from_mut(byte)).unwrap();
    }
    assert_eq!(&first, b"ok\n");
    for _ in 1..whole {
        assert_eq!(deaf.reply(), "ok");
    }
    check(&server);
}

#[test]
fn a_paused_reader_that_hangs_up_is_noticed() {
    let mut server = Server::start(&[]);
    let deaf = Client::connect_deaf(server.address());
    deaf.fill("\n", QUIET);
    server.wait_for_clients(1);
    drop(deaf);
    server.wait_for_clients(0);
    check(&server);
}

#[test]
fn a_hundred_clients_that_send_bare_line_ends_and_read_nothing() {
    let server = Server::start(&[]);
    let clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    let lines = vec![b'\n'; 1 << 16];
    for client in &clients {
        // As much as both kernels buffer.
        client.stream().set_nonblocking(true).unwrap();
        while client.stream().write(&lines).is_ok() {}
    }
    check(&server);
}

#[test]
fn a_line_that_never_ends_costs_nothing() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..256 {
        client.send(&piece);
    }
    client.send("\nin step\n");
    assert!(client.reply().starts_with("error too-long: "));
    assert_eq!(client.reply(), "ok");
    assert_eq!(received_from(&server.log(), &client.name()), ["in step"]);
    check(&server);
}

#[test]
fn a_byte_at_a_time() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for message in ["slow", "slower\r", ""] {
        for byte in message.bytes().chain([b'\n']) {
            client.send([byte]);
        }
        assert_eq!(client.reply(), "ok");
    }
    assert_eq!(received_from(&server.log(), &client.name()), ["slow", "slower", ""]);
}

#[test]
fn a_reset_in_mid_message_drops_that_message_alone() {
    let mut server = Server::start(&[]);
    for n in 0..50 {
        let mut client = server.connect();
        assert_eq!(client.ask(&format!("whole {n}")), "ok");
        client.send("unfinished");
        reset(client);
    }
    server.wait_for_clients(0);
    let log = server.stop().log();
    assert_eq!(log.matches("recieved: whole ").count(), 50);
    assert!(!log.contains("unfinished"));
}

#[test]
fn resets_with_replies_in_flight() {
    let mut server = Server::start(&[]);
    for _ in 0..50 {
        let mut client = server.connect();
        client.send("\n".repeat(5_000));
        reset(client);
    }
    server.wait_for_clients(0);
    check(&server);
}

fn reset(client: Client) {
    // With a linger time of zero, a close sends a reset.
    let socket = socket2::SockRef::from(client.stream());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

#[test]
fn three_thousand_connections_in_a_row_leave_nothing_behind() {
    let mut server = Server::start(&[]);
    check(&server);
    server.wait_for_clients(0);
    let before = server.descriptors();
    for n in 0..3_000 {
        let mut client = server.connect();
        match n % 3 {
            0 => {}
            1 => client.send("unfinished"),
            _ => assert_eq!(client.ask("whole"), "ok"),
        }
    }
    server.wait_for_clients(0);
    assert_eq!(server.descriptors(), before);
    check(&server);
}

#[test]
fn a_thousand_silent_clients() {
    let mut server = Server::start(&[]);
    let silent: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    server.wait_for_clients(1000);
    let before = server.cpu_time();
    thread::sleep(Duration::from_millis(500));
    assert!(server.cpu_time().saturating_sub(before) < Duration::from_millis(50));
    check(&server);
    drop(silent);
    server.wait_for_clients(0);
}

/// No bytes can forge a record or reach the terminal raw.
#[test]
fn hostile_bytes_stay_in_their_record() {
    for framing in ["line", "none"] {
        let mut command = test_support::programs::server();
        command.args(["-port", "0", "-framing", framing]).stdout(Stdio::piped());
        let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
        let mut shown = server.take_stdout();
        let mut client = server.connect();
        let forged = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:1 recieved: forged";
        let mut hostile = vec![
            format!("x\r{forged}").into_bytes(),
            format!("x\u{85}{forged}\u{2028}{forged}").into_bytes(),
            b"\x1b]0;title\x07\x1b[2J\x9b31m\xc2\x9b31m".to_vec(),
            "\u{202e}gnp.exe \u{2066} \u{61c} \u{200f}".into(),
            (0..=255).filter(|&byte| byte != b'\n').collect(),
            b"\r\r\r".to_vec(),
            vec![0; 1000],
        ];
        if framing == "none" {
            hostile.push(format!("x\n{forged}\n").into());
        }
        for message in &hostile {
            client.send(message);
            if framing == "line" {
                client.send("\n");
            }
            let mut reply = [0; 2];
            client.stream().read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"ok");
            if framing == "line" {
                assert_eq!(client.reply(), "");
            }
        }
        let peer = client.name();
        drop(client);
        server.wait_for_clients(0);
        let log = server.stop().log();
        let mut text = String::new();
        shown.read_to_string(&mut text).unwrap();
        assert_eq!(text, log, "the terminal shows what the log holds");
        assert_eq!(received_from(&log, &peer).len(), hostile.len());
        assert!(log.lines().all(|line| line.contains(&format!(" --{peer} "))), "{log}");
        let raw = |c: char| {
            c.is_control() && c != '\n' && c != '\t'
                || matches!(c, '\u{2028}' | '\u{202e}' | '\u{2066}')
        };
        assert!(!log.contains(raw), "{log:?}");
    }
}

/// Linux ends a read at urgent data, even if more data follows it.
#[test]
fn urgent_data_does_not_hide_what_follows_it() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.ask("before"), "ok");
    server.signal(Signal::STOP);
    client.send("one\n");
    rustix::net::send(client.stream(), b"!", SendFlags::OOB).unwrap();
    client.send("two\n");
    server.signal(Signal::CONT);
    assert_eq!(client.reply(), "ok");
    assert_eq!(client.reply(), "ok");
}

/// The server's network namespace loses its interface under two clients, an idle one and one that is owed
/// a reply.
#[test]
fn clients_that_vanish_are_dropped() {
    if !can("a network namespace", "unshare -rn ip link set lo up") {
        return;
    }
    let command = script(
        "exec unshare -rn sh -c 'ip link set lo up && exec $SERVER -port 0 -quiet -keepalive 1'",
    );
    let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let client = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; while read line; do echo \"$line\" >&3; echo sent; done",
        server.address().port()
    );
    let mut clients = [inside(&server, &client), inside(&server, &client)];
    server.wait_for_clients(2);
    server.signal(Signal::STOP);
    let mut input = clients[1].stdin.take().unwrap();
    writeln!(input, "its reply will be in flight").unwrap();
    let mut stdout = BufReader::new(clients[1].stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    let down = "ip link set lo down";
    assert!(inside(&server, down).wait().unwrap().success());
    server.signal(Signal::CONT);
    server.wait_for_clients(0);
    server.wait_for_log(|log| log.contains("its reply will be in flight"));
    for client in &mut clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    // The kernel dropped one; the server found the other by asking the kernel.
    let ended = server.stop();
    assert_eq!(ended.count_said("dropped, its machine does not answer"), 1, "{:?}", ended.said);
    assert_eq!(ended.count_said("dropped, its machine has not answered"), 1, "{:?}", ended.said);
}

/// Starts a shell in the network namespace of the server.
fn inside(server: &Server, shell: &str) -> Child {
    let pid = server.pid().to_string();
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-U", "-n", "--preserve-credentials"]);
    command.args(["bash", "-c", shell]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// A client that reads no replies, and breaks its framing after many messages. It prints a line when
/// everything is sent.
const BREAKS_OFF: &str = "exec python3 -c '
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.connect((\"127.0.0.1\", int(sys.argv[1])))
s.sendall(b\"0 \" * 10000 + b\"x\")
print(\"sent\", flush=True)
sys.stdin.readline()
' ";

/// A client whose machine disappears while its connection is being closed, with replies unread, is dropped.
#[test]
fn a_client_that_vanishes_while_it_is_closed_is_dropped() {
    let small_buffers = "echo 4096 4096 4096 >/proc/sys/net/ipv4/tcp_wmem";
    let namespace = format!("unshare -rn sh -c 'ip link set lo up && {small_buffers}'");
    if !can("a network namespace", &namespace) || !can("Python", "python3 -V") {
        return;
    }
    let command = script(&format!(
        "exec unshare -rn sh -c 'ip link set lo up && {small_buffers} && \
         exec $SERVER -port 0 -quiet -keepalive 1 -framing octet'"
    ));
    let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let port = server.address().port();
    let mut client = inside(&server, &format!("{BREAKS_OFF}{port}"));
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    server.wait_for_log(|log| log.matches(" recieved: ").count() == 10_000);
    let down = "ip link set lo down";
    assert!(inside(&server, down).wait().unwrap().success());
    server.wait_for_line("dropped, its machine has not answered");
    server.wait_for_clients(0);
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(server.stop().status.success());
}
