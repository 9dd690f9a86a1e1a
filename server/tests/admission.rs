//! Admission: networks, PROXY headers, and first bytes that are no message.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use test_support::client::Client;
use test_support::records::received_from;
use test_support::server::Server;
use test_support::wait::DEADLINE;

/// A connection from another address of this machine.
fn connect_from(address: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = SocketAddr::from((address, 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.into()
}

fn rest(mut stream: &TcpStream) -> String {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => String::from_utf8(rest).unwrap(),
        Err(error) => error.kind().to_string(),
    }
}

/// A PROXY v2 header for an IPv4 address (section 2.2 of the specification).
fn v2(command: u8, address: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 12]);
    header.extend(address.octets());
    header.extend([192, 0, 2, 1]);
    header.extend(port.to_be_bytes());
    header.extend(2005_u16.to_be_bytes());
    header
}

#[test]
fn only_those_of_the_allowed_networks_come_in() {
    let mut server = Server::start(&["-allow", "127.0.0.2,127.1.0.0/16, ::1"]);
    for address in [[127, 0, 0, 2], [127, 1, 2, 3]] {
        let mut stream = connect_from(address, server.address());
        stream.write_all(b"line\n").unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
    }
    for address in [[127, 0, 0, 1], [127, 0, 0, 3], [127, 2, 0, 1]] {
        let mut stream = connect_from(address, server.address());
        let said = rest(&stream);
        assert_eq!(said, "");
        _ = stream.write_all(b"line\n");
    }
    server.wait_for_line("closed, its address is not in -allow");
    let ended = server.stop();
    assert_eq!(ended.log().matches("recieved").count(), 2);
    // At most once a second.
    assert!(ended.count_said("not in -allow") < 2, "{:?}", ended.said);
}

#[test]
fn an_address_of_ipv4_is_the_same_on_a_socket_of_ipv6() {
    let server = Server::start(&["-host", "::", "-allow", "127.0.0.0/8"]);
    let port = server.address().port();
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into());
    assert_eq!(client.ask("line"), "ok");
    let name = client.name();
    assert_eq!(received_from(&server.stop().log(), &name), ["line"]);
}

#[test]
fn the_client_is_whom_the_proxy_names() {
    let server = Server::start(&["-proxy-from", "127.0.0.1"]);
    let address = Ipv4Addr::new(203, 0, 113, 7);
    for (n, header) in [
        b"PROXY TCP4 203.0.113.7 192.0.2.1 7000 2005\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 7001 2005\r\n".to_vec(),
        v2(1, address, 7002),
    ]
    .into_iter()
    .enumerate()
    {
        // Split at every byte, and in one write with the first message.
        for cut in 0..=header.len() {
            let mut client = server.connect();
            client.send(&header[..cut]);
            client.send([&header[cut..], format!("{n} {cut}\n").as_bytes()].concat());
            assert_eq!(client.reply(), "ok");
            assert_eq!(client.ask("another"), "ok");
        }
    }
    let log = server.stop().log();
    for peer in ["203.0.113.7:7000", "[2001:db8::7]:7001", "203.0.113.7:7002"] {
        let messages = received_from(&log, peer);
        assert!(messages.len() > 50, "{peer}: {messages:?}");
        assert!(messages.iter().skip(1).step_by(2).all(|text| *text == "another"));
    }
    assert!(!log.contains("127.0.0.1"), "{log}");
}

#[test]
fn health_checks_leave_no_trace() {
    let server = Server::start(&["-proxy-from", "127.0.0.1"]);
    let local = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0, 0, 0]].concat();
    for hello in [local, Vec::new()] {
        let mut check = server.connect();
        check.send(hello);
        check.end();
        assert_eq!(check.rest(), "");
    }
    let ended = server.stop();
    assert_eq!(ended.log(), "");
    assert_eq!(ended.said.len(), 1, "{:?}", ended.said);
}

/// Proxies may add more fields to the addresses, for example about a client's TLS.
#[test]
fn a_header_may_be_longer_than_a_message() {
    let options = ["-proxy-from", "127.0.0.1", "-framing", "none", "-max-message", "64"];
    let server = Server::start(&options);
    let mut with_tlv = v2(1, Ipv4Addr::new(203, 0, 113, 7), 7002);
    // A TLV without a meaning (section 2.2.7), up to the limit of 4 KiB.
    let length = 4096 - with_tlv.len() - 3;
    with_tlv.push(4);
    with_tlv.extend((length as u16).to_be_bytes());
    with_tlv.resize(4096, 0);
    let total = (with_tlv.len() - 16) as u16;
    with_tlv[14..16].copy_from_slice(&total.to_be_bytes());
    let v1 = b"PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 2001:db8:1111:2222:3333:4444:5555:7777 \
               45678 2005\r\n";
    for header in [&v1[..], &with_tlv] {
        for cut in [1, 16, 64, 65, header.len() - 1, header.len()] {
            let mut client = server.connect();
            client.send(&header[..cut]);
            client.send([&header[cut..], b"hello"].concat());
            let mut reply = [0; 2];
            client.stream().read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"ok", "{cut}");
        }
    }
    let log = server.stop().log();
    for peer in ["[2001:db8:1111:2222:3333:4444:5555:6666]:45678", "203.0.113.7:7002"] {
        assert_eq!(received_from(&log, peer), ["hello"; 6], "{log}");
    }
}

/// A connection of the proxy itself, such as a health check, counts under the proxy's own address.
#[test]
fn a_proxy_that_speaks_for_itself_has_to_be_allowed() {
    let local = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0, 0, 0]].concat();
    for header in [&local[..], b"PROXY UNKNOWN\r\n"] {
        let hello = [header, b"a message\n"].concat();
        let mut server = Server::start(&["-proxy-from", "127.0.0.1", "-allow", "10.0.0.0/8"]);
        let mut proxy = server.connect();
        proxy.send(&hello);
        assert!(["", "connection reset"].contains(&rest(proxy.stream()).as_str()));
        server.wait_for_line("closed, its address is not in -allow");
        assert_eq!(server.stop().log(), "");
        let server = Server::start(&["-proxy-from", "127.0.0.1", "-allow", "127.0.0.1"]);
        let mut proxy = server.connect();
        proxy.send(&hello);
        assert_eq!(proxy.reply(), "ok");
    }
}

#[test]
fn a_proxy_has_to_say_who_comes() {
    let long = format!("PROXY TCP4 {} 192.0.2.1 1 2\r\n", "1".repeat(200));
    for wrong in [
        "a message\n",
        "PROXY TCP4 nobody 192.0.2.1 7000 2005\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 70000 2005\r\n",
        "PROXY \r\n",
        &long,
        "\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c",
    ] {
        let mut server = Server::start(&["-proxy-from", "127.0.0.1"]);
        let mut client = server.connect();
        client.send(format!("{wrong}a message that is long enough\n"));
        assert_eq!(rest(client.stream()), "", "{wrong:?}");
        server.wait_for_line("it did not begin with a PROXY header, or with a malformed one");
        assert_eq!(server.stop().log(), "", "{wrong:?}");
    }
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let mut server = Server::start(&["-proxy-from", "127.0.0.1"]);
    let begun = Instant::now();
    let mut client = server.connect();
    client.send("PROXY TCP4 ");
    assert_eq!(client.rest(), "");
    assert!(begun.elapsed() > Duration::from_secs(9));
    server.wait_for_line("closed, no PROXY header within 10 s");
}

/// If the header were taken for a line, its `ok` would be taken for the first message's.
#[test]
fn a_header_from_elsewhere_is_refused() {
    let server = Server::start(&["-proxy-from", "127.0.0.9"]);
    for header in [
        b"PROXY TCP4 203.0.113.7 192.0.2.1 7000 2005\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(1, Ipv4Addr::LOCALHOST, 1),
    ] {
        for cut in [1, 5, 6, 12, header.len()] {
            let mut client = server.connect();
            client.send(&header[..cut.min(header.len())]);
            client.send([&header[cut.min(header.len())..], b"a message\n"].concat());
            let expected =
                "error proxy: a PROXY header is not taken from this address (-proxy-from)\n";
            assert_eq!(rest(client.stream()), expected, "{cut}");
        }
    }
    let log = server.stop().log();
    assert!(!log.contains("recieved"), "{log}");
    // A message may begin like a header, all the same.
    let server = Server::start(&[]);
    for message in ["PROXY", "PROXY!", "PROXYING is fun", "P", "\r", "\r\n\r"] {
        let mut client = server.connect();
        client.send(message);
        client.end();
        assert!(client.rest().starts_with("ok\n"), "{message:?}");
    }
}

#[test]
fn where_a_proxy_is_trusted_others_are_allowed_by_their_own_address() {
    let options = ["-proxy-from", "127.0.0.1", "-allow", "203.0.113.0/24"];
    let server = Server::start(&options);
    let mut good = server.connect();
    good.send("PROXY TCP4 203.0.113.7 192.0.2.1 7000 2005\r\na\n");
    assert_eq!(good.reply(), "ok");
    let mut bad = server.connect();
    bad.send("PROXY TCP4 198.51.100.7 192.0.2.1 7000 2005\r\na\n");
    assert!(["", "connection reset"].contains(&rest(bad.stream()).as_str()));
    assert_eq!(server.stop().log().matches("recieved").count(), 1);
}

/// Requests that a web page can make a browser send, to a server on the visitor's own machine.
#[test]
fn web_pages_cannot_write_lines() {
    let server = Server::start(&[]);
    for request in [
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:2005\r\nContent-Type: text/plain\r\n\r\nchosen\r\n",
        "GET /?chosen HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\n\r\n",
    ] {
        for cut in 0..request.len() {
            let mut browser = server.connect();
            browser.send(&request[..cut]);
            // The connection may be closed by now.
            _ = browser.stream().write_all(&request.as_bytes()[cut..]);
            let expected = "error http: this is a line log, no web server\n";
            assert_eq!(rest(browser.stream()), expected, "{cut}");
        }
    }
    let log = server.stop().log();
    assert!(!log.contains("recieved"), "{log}");
    // Later in a connection, or if it is no request, it is a message.
    let server = Server::start(&[]);
    let mut client = server.connect();
    for line in ["hello", "POST / HTTP/1.1", "GET / HTTP/2", "POST HTTP/1.1"] {
        assert_eq!(client.ask(line), "ok");
    }
    for line in ["GET me a coffee", "POST", "get / http/1.1"] {
        assert_eq!(server.connect().ask(line), "ok");
    }
}

/// First bytes that may become anything are a message after a second, and get no reply before.
#[test]
fn what_stays_unclear_is_a_message() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("PROX");
    // Nothing happens; after a second it is the start of a message.
    client.stream().set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert!(client.stream().read(&mut [0]).is_err());
    client.stream().set_read_timeout(Some(DEADLINE)).unwrap();
    client.send("Y and more\n");
    assert_eq!(client.reply(), "ok");
    let name = client.name();
    assert_eq!(received_from(&server.stop().log(), &name), ["PROXY and more"]);
}

/// Otherwise a stranger could push acknowledged lines out of a log that is rotated.
#[test]
fn refusals_are_reported_and_leave_no_record() {
    for format in ["original", "json"] {
        let options = ["-format", format, "-max-clients", "1"];
        let mut server = Server::start(&options);
        for (first_bytes, reply) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], &b"error http: "[..]),
            (b"PROXY UNKNOWN\r\n", b"error proxy: "),
            (b"\x16\x03\x01\x00\x10", b"\x15\x03\x01"),
        ] {
            let mut stranger = server.connect();
            stranger.send(first_bytes);
            let mut said = Vec::new();
            stranger.stream().read_to_end(&mut said).unwrap();
            assert!(said.starts_with(reply), "{}", said.escape_ascii());
            drop(stranger);
            server.wait_for_clients(0);
        }
        let mut client = server.connect();
        assert_eq!(client.ask("admitted"), "ok");
        assert!(server.connect().reply().starts_with("error too-many-clients"));
        server.wait_for_line("refused, 1 are connected (-max-clients)");
        drop(client);
        server.wait_for_clients(0);
        let ended = server.stop();
        let log = ended.log();
        assert!(!log.contains("error") && !log.contains("WARNING"), "{log}");
        assert_eq!(log.matches("admitted").count(), 1, "{log}");
        // All of one kind: at most one a second.
        let reports = ended.count_said("closed, it sen") + ended.count_said("closed, it speaks");
        assert!((1..=3).contains(&reports), "{:?}", ended.said);

        let options = ["-format", format, "-proxy-from", "127.0.0.1", "-allow", "10.0.0.0/8"];
        let server = Server::start(&options);
        for first_bytes in [
            "a message\n",
            "PROXY TCP4 198.51.100.7 192.0.2.1 7000 2005\r\na message\n",
            "PROXY TCP4 10.0.0.1 192.0.2.1 7000 2005\r\nPROXY UNKNOWN\r\na message\n",
        ] {
            let mut stranger = server.connect();
            stranger.send(first_bytes);
            rest(stranger.stream());
        }
        assert_eq!(server.stop().log(), "");
    }
}

/// A stop does not drop bytes that were read before it.
#[test]
fn what_is_unclear_at_a_stop_is_a_message() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("\r\n");
    server.signal(Signal::TERM);
    assert_eq!(client.rest(), "ok\n");
    let name = client.name();
    assert_eq!(received_from(&server.wait().log(), &name), [""]);
}

#[test]
fn an_open_server_says_what_that_means() {
    let say = |options: &[&str]| {
        let all = [&["-host", "0.0.0.0"], options].concat();
        let ended = Server::start(&all).stop();
        ended.count_said("every host that can reach 0.0.0.0:")
    };
    assert_eq!(say(&[]), 1);
    assert_eq!(say(&["-allow", "10.0.0.0/8"]), 0);
    assert_eq!(Server::start(&[]).stop().count_said("every host that can reach"), 0);
}
