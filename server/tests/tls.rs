//! TLS with the real server: certificates of every kind, other TLS programs, and hostile clients.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, HandshakeKind, ProtocolVersion};
use test_support::ca::TestCa;
use test_support::ca::rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, date_time_ymd,
};
use test_support::commands::lines;
use test_support::programs::{self, can, script};
use test_support::records::received_from;
use test_support::secure::{Pki, SecureClient};
use test_support::server::Server;
use test_support::wait::{DEADLINE, wait_until};

/// The messages of `peer` in the log, after a stop of the server.
fn logged(server: Server, peer: &str) -> Vec<String> {
    let log = server.stop().log();
    let texts = received_from(&log, peer);
    texts.into_iter().map(str::to_owned).collect()
}

#[test]
fn keys_of_every_kind_will_do() {
    let pki = Pki::new();
    for (name, kind) in [
        ("p256", &PKCS_ECDSA_P256_SHA256),
        ("p384", &PKCS_ECDSA_P384_SHA384),
        ("ed25519", &PKCS_ED25519),
    ] {
        let key = KeyPair::generate_for(kind).unwrap();
        let identity = pki.authority.issue_to(&key, &["localhost"], |_| {});
        identity.unwrap().write(pki.folder.path(), name).unwrap();
        let server = pki.serve_as(name, &[]);
        assert_eq!(pki.connect(&server).ask(name), "ok");
    }
    // Keys that rcgen cannot generate, and older file formats of keys.
    for (name, make) in [
        ("rsa-pkcs8", "openssl genpkey -algorithm RSA"),
        ("rsa-pkcs1", "openssl genrsa -traditional"),
        ("ec-sec1", "openssl ecparam -genkey -name prime256v1 -noout"),
    ] {
        let (key, pkcs8) = (pki.path(name) + ".key", pki.path("pkcs8.key"));
        let make = format!(
            "(umask 77; {make} >{key}) && openssl pkcs8 -topk8 -nocrypt -in {key} -out {pkcs8}"
        );
        if !can("openssl", &make) {
            return;
        }
        let pair = KeyPair::from_pem(&fs::read_to_string(pkcs8).unwrap()).unwrap();
        let identity = pki.authority.issue_to(&pair, &["localhost"], |_| {});
        fs::write(pki.path(name) + ".pem", identity.unwrap().certificate).unwrap();
        let server = pki.serve_as(name, &[]);
        assert_eq!(pki.connect(&server).ask(name), "ok", "{name}");
    }
}

#[test]
fn a_key_that_makes_handshakes_slow_is_warned_of() {
    let pki = Pki::new();
    for (bits, warnings) in [(3072, 0), (4096, 1)] {
        let key = pki.path("rsa.key");
        let make = format!(
            "umask 77; openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits} -out {key}"
        );
        if !can("openssl", &make) {
            return;
        }
        let pair = KeyPair::from_pem(&fs::read_to_string(key).unwrap()).unwrap();
        let identity = pki.authority.issue_to(&pair, &["localhost"], |_| {});
        fs::write(pki.path("rsa.pem"), identity.unwrap().certificate).unwrap();
        let server = pki.serve_as("rsa", &[]);
        assert_eq!(pki.connect(&server).ask("a"), "ok");
        let ended = server.stop();
        let said = ended.said.iter().filter(|line| line.contains("more than 3072 bits"));
        assert_eq!(said.count(), warnings, "{:?}", ended.said);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let pki = Pki::new();
    let file = |name: &str, text: &str| {
        fs::write(pki.path(name), text).unwrap();
        pki.path(name)
    };
    let (cert, key) = (pki.path("server.pem"), pki.path("server.key"));
    let other = pki.issue("other", &["localhost"]).key;
    let other = other.to_str().unwrap();
    let empty = file("empty", "");
    let garbage = file("garbage", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_der = file("no-der", no_der);
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = file("locked", locked);
    let none = pki.path("none");
    for (args, expected) in [
        ([&cert, other, &cert], format!("{other}: it is not the key of the certificate in {cert}")),
        ([&cert, &none, &cert], format!("{none}: No such file or directory (os error 2)")),
        (
            [&key, &key, &cert],
            format!("{key}: there is no certificate in it (PEM is expected, '-----BEGIN …')"),
        ),
        (
            [&cert, &cert, &cert],
            format!("{cert}: there is no private key in it (PEM is expected, '-----BEGIN …')"),
        ),
        ([&empty, &key, &cert], format!("{empty}: there is no certificate in it")),
        ([&garbage, &key, &cert], format!("{garbage}: not right as PEM: ")),
        ([&no_der, &key, &cert], format!("{no_der}: no certificate: ")),
        ([&cert, &locked, &cert], format!("{locked}: the key is encrypted: decrypt it with")),
        ([&cert, &key, &empty], format!("{empty}: there is no certificate in it")),
        ([&cert, &key, &no_der], format!("{no_der}: no authority's certificate: ")),
    ] {
        let [cert, key, ca] = args.map(|arg: &str| arg.to_owned());
        let mut command = programs::server();
        let folder = tempfile::tempdir().unwrap();
        command.current_dir(folder.path()).args(["-port", "0"]);
        command.args(["-tls-cert", &cert, "-tls-key", &key, "-tls-client-ca", &ca]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("server: {expected}")), "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!folder.path().join("logging.log").exists());
    }
}

#[test]
fn files_that_will_do_but_should_not_are_warned_of() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let expired = pki.authority.issue_to(&key, &["localhost"], |params| {
        params.not_before = date_time_ymd(2001, 2, 3);
        params.not_after = date_time_ymd(2004, 5, 6);
    });
    let files = expired.unwrap().write(pki.folder.path(), "old").unwrap();
    fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
    let (cert, key) = (files.certificate.display(), files.key.display());
    let mut command = programs::server();
    command.args(["-quiet", "-port", "0", "-tls-cert", &cert.to_string()]);
    command.args(["-tls-key", &key.to_string()]);
    let folder = tempfile::tempdir().unwrap();
    let ended = Server::start_command(folder, command).stop();
    for expected in [
        format!("{cert}: the certificate has expired, on 2004-05-06"),
        format!("{key}: others can read the key: chmod o-rwx {key}"),
    ] {
        assert_eq!(ended.count_said(&expected), 1, "{:?}", ended.said);
    }
}

#[test]
fn both_versions_are_spoken() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    for (version, expected) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut client = SecureClient::connect(server.address(), pki.trust_over(version));
        assert_eq!(client.ask("a"), "ok");
        assert_eq!(client.tls().protocol_version(), Some(expected));
        // Pipelined, with an unfinished line at the end.
        client.send("b\nc\nd");
        client.end();
        assert_eq!(client.rest(), "ok\nok\nok\n");
        let name = client.name();
        let log = server.wait_for_log(|log| received_from(log, &name).len() == 4);
        assert_eq!(received_from(&log, &name), ["a", "b", "c", "d"]);
    }
}

/// A resumed session skips the check of the client certificate, which may have expired since. Where a
/// certificate is required, sessions cannot be resumed.
#[test]
fn clients_with_certificates_cannot_resume() {
    let pki = Pki::new();
    let files = pki.issue("client", &["client.example"]);
    let ca = pki.path("ca.pem");
    let open = pki.serve(&[]);
    let closed = pki.serve(&["-tls-client-ca", &ca]);
    for version in [&TLS12, &TLS13] {
        for (server, config, again) in [
            (&open, pki.trust_over(version), HandshakeKind::Resumed),
            (&closed, pki.trust_as_over(&files, version), HandshakeKind::Full),
        ] {
            for expected in [HandshakeKind::Full, again] {
                let mut client = SecureClient::connect(server.address(), config.clone());
                assert_eq!(client.ask("a"), "ok");
                assert_eq!(client.tls().handshake_kind(), Some(expected), "{version:?}");
            }
        }
    }
}

/// The client leaves no reply unread: its close sends no reset.
#[test]
fn a_client_that_never_reads_loses_nothing_over_tls() {
    let pki = Pki::new();
    let server = pki.serve(&["-replies", "none", "-quiet"]);
    let lines = 40_000;
    for version in [&TLS12, &TLS13] {
        let mut client = SecureClient::connect(server.address(), pki.trust_over(version));
        let filler = "x".repeat(90);
        let text: String = (0..lines).map(|n| format!("{n:08} {filler}\n")).collect();
        client.send(text);
        let peer = client.name();
        drop(client);
        let last = format!("--{peer} recieved: {:08} ", lines - 1);
        let log = server.wait_for_log(|log| log.contains(&last));
        assert_eq!(received_from(&log, &peer).len(), lines, "{version:?}");
    }
}

/// Runs another TLS program, given the server's port in a shell command: two lines in, two replies out.
fn speaks(pki: &Pki, server: &Server, tool: &str, talk: &str) {
    if !can(tool, &format!("command -v {tool}")) {
        return;
    }
    let mut peer = script(&format!("exec {talk}"));
    peer.current_dir(pki.folder.path());
    peer.env("PORT", server.address().port().to_string());
    let peer = peer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut peer = Running(peer.unwrap());
    let mut input = peer.0.stdin.take().unwrap();
    input.write_all(b"one\ntwo\n").unwrap();
    let said = lines(peer.0.stdout.take().unwrap());
    for _ in 0..2 {
        let reply = said.recv_timeout(DEADLINE);
        assert_eq!(reply.as_deref(), Ok("ok"), "{talk}");
    }
}

/// A process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn other_programs_can_speak_with_it() {
    let pki = Pki::new();
    pki.issue("client", &["client.example"]);
    let python = r"
import os, socket, ssl, sys
context = ssl.create_default_context(cafile='ca.pem')
with socket.create_connection(('localhost', os.environ['PORT'])) as plain:
    with context.wrap_socket(plain, server_hostname='localhost') as s:
        s.sendall(b'one\ntwo\n')
        reply = b''
        while reply.count(b'\n') < 2:
            reply += s.recv(100)
        # This waits for the farewell, and fails without it.
        s.unwrap()
        sys.stdout.write(reply.decode())
";
    fs::write(pki.path("talk.py"), python).unwrap();
    let s_client = "openssl s_client -quiet -verify_quiet -verify_return_error -CAfile ca.pem \
                    -connect localhost:$PORT";
    let ncat = "ncat --ssl-verify --ssl-trustfile ca.pem localhost $PORT";
    for (options, own, own_of_ncat) in [
        (&[][..], "", ""),
        (
            &["-tls-client-ca", &pki.path("ca.pem")],
            "-cert client.pem -key client.key",
            "--ssl-cert client.pem --ssl-key client.key",
        ),
    ] {
        let server = pki.serve(options);
        for version in ["-tls1_2", "-tls1_3"] {
            speaks(&pki, &server, "openssl", &format!("{s_client} {own} {version}"));
        }
        speaks(&pki, &server, "ncat", &format!("{ncat} {own_of_ncat}"));
    }
    speaks(&pki, &pki.serve(&[]), "python3", "python3 talk.py");
}

#[test]
fn a_request_of_http_is_refused_over_tls_too() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    let mut client = pki.connect(&server);
    client.send("POST /log HTTP/1.1\r\nHost: x\r\n\r\nchosen line\r\n");
    assert!(client.rest().starts_with("error http: "));
    assert_eq!(server.stop().log().matches("recieved").count(), 0);
}

/// TLS libraries may split a request into any number of records.
#[test]
fn first_bytes_are_the_same_in_several_records() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    for (first_bytes, reply) in [
        ("POST / HTTP/1.1\r\n", "error http: "),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 8080 80\r\n", "error proxy: "),
    ] {
        for cut in 0..first_bytes.len() {
            let mut client = pki.connect(&server);
            client.send(&first_bytes[..cut]);
            client.send(&first_bytes[cut..]);
            assert!(client.rest().starts_with(reply), "{cut}");
        }
    }
    assert_eq!(server.log(), "");
    // Inside TLS, bytes that look like a TLS hello are a message. A plain-text alert would break the session.
    let mut client = pki.connect(&server);
    assert_eq!(client.ask("\x16\x03\x01 is a message"), "ok");
    let mut client = pki.connect(&server);
    client.send("\r");
    client.send("\n");
    assert_eq!(client.reply(), "ok");
    assert_eq!(server.stop().log().matches("recieved").count(), 2);
}

#[test]
fn only_those_with_the_right_certificate_come_in() {
    let pki = Pki::new();
    let (ca, names) = (pki.path("ca.pem"), "a.example,b.example");
    let options = ["-tls-client-ca", &ca, "-allow-names", names, "-format", "json"];
    let server = pki.serve(&options);
    let good = pki.issue("good", &["x.example", "b.example"]);
    let mut client = SecureClient::connect(server.address(), pki.trust_as(&good));
    assert_eq!(client.ask("hello"), "ok");
    let log = server.log();
    let expected = r#""client":"x.example","message":"hello"}"#;
    assert!(log.trim_end().ends_with(expected), "{log}");

    let other = TestCa::new("others").unwrap();
    let stranger = other.issue(&["a.example"]).unwrap();
    let stranger = stranger.write(pki.folder.path(), "stranger").unwrap();
    let key = KeyPair::generate().unwrap();
    let expired = pki.authority.issue_to(&key, &["a.example"], |params| {
        params.not_after = date_time_ymd(2004, 5, 6);
    });
    let expired = expired.unwrap().write(pki.folder.path(), "expired").unwrap();
    let wrong_name = pki.issue("wrong", &["c.example"]);
    for (config, alert, why) in [
        (
            pki.trust(),
            "CertificateRequired",
            "it has no certificate, and -tls-client-ca demands one",
        ),
        (pki.trust_as(&stranger), "UnknownCA", "an authority that is not in -tls-client-ca"),
        (
            pki.trust_as(&expired),
            "CertificateExpired",
            "its certificate has expired, on 2004-05-06",
        ),
        (
            pki.trust_as(&wrong_name),
            "CertificateUnknown",
            "for c.example, which is not in -allow-names",
        ),
    ] {
        // A new server for each case: such warnings are limited to one a second.
        let mut server = pki.serve(&options);
        let mut client = SecureClient::connect(server.address(), config);
        client.shake_hands();
        // The client completes its handshake before the server has checked the certificate.
        let failure = client.failure();
        assert!(failure.contains(alert), "{failure}");
        let said = server.wait_for_line("closed, ");
        assert!(said.ends_with(why), "{said}");
        assert_eq!(server.stop().log(), "");
    }
}

#[test]
fn a_record_names_the_client_by_a_dns_name_a_uri_or_an_address() {
    let pki = Pki::new();
    let ca = pki.path("ca.pem");
    let names = ["-allow-names", "a.example,192.0.2.7,2001:db8::7,::1"];
    let options = [&["-tls-client-ca", &ca, "-format", "json"][..], &names].concat();
    let mut server = pki.serve(&options);
    for (n, (names, expected)) in [
        (&["192.0.2.7"][..], "192.0.2.7"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["0:0:0:0:0:0:0:1", "192.0.2.7"], "::1"),
        (&["::1", "a.example"], "a.example"),
    ]
    .into_iter()
    .enumerate()
    {
        let files = pki.issue(&format!("client{n}"), names);
        let mut client = SecureClient::connect(server.address(), pki.trust_as(&files));
        assert_eq!(client.ask(&format!("{n}")), "ok");
        let expected = format!(r#""client":"{expected}","message":"{n}"}}"#);
        let log = server.log();
        assert!(log.trim_end().ends_with(&expected), "{log}");
    }
    let other = pki.issue("other", &["::2", "192.0.2.8"]);
    let mut client = SecureClient::connect(server.address(), pki.trust_as(&other));
    client.shake_hands();
    client.failure();
    let said = server.wait_for_line("closed, ");
    assert!(said.ends_with("for ::2, 192.0.2.8, which is not in -allow-names"), "{said}");

    let server = pki.serve(&options[..4]);
    let key = KeyPair::generate().unwrap();
    for (name, names, expected) in [
        (
            "uri",
            vec![SanType::IpAddress([192, 0, 2, 7].into()), uri("urn:x")],
            r#","client":"urn:x","#,
        ),
        ("none", Vec::new(), r#"","message""#),
    ] {
        let issued = pki.authority.issue_to(&key, &[], |params| params.subject_alt_names = names);
        let files = issued.unwrap().write(pki.folder.path(), name).unwrap();
        let mut client = SecureClient::connect(server.address(), pki.trust_as(&files));
        assert_eq!(client.ask("hello"), "ok");
        let log = server.log();
        assert!(log.lines().last().unwrap().contains(expected), "{log}");
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A name in a certificate can hold any ASCII, including line ends and terminal control sequences.
#[test]
fn a_hostile_name_reaches_no_output_raw() {
    const NAME: &str =
        "urn:x\nERROR\t| 2026-11-30 00:00:00 --server: forged\x1b[2J\x1b]0;title\x07";
    const SHOWN: &str =
        r"urn:x\x0aERROR\x09| 2026-11-30 00:00:00 --server: forged\x1b[2J\x1b]0;title\x07";
    let pki = Pki::new();
    let ca = pki.path("ca.pem");
    let key = KeyPair::generate().unwrap();
    let hostile = pki.authority.issue_to(&key, &[], |params| {
        params.subject_alt_names = vec![uri(NAME)];
    });
    let hostile = hostile.unwrap().write(pki.folder.path(), "hostile").unwrap();
    let (cert, cert_key) = (pki.path("server.pem"), pki.path("server.key"));
    for (names, expected) in [
        (&["-allow-names", "a.example"][..], "its certificate is for "),
        (&[], "by its certificate, "),
    ] {
        let mut command = programs::server();
        command.args(["-quiet", "-port", "0", "-format", "json", "-tls-cert", &cert, "-tls-key"]);
        command.args([&cert_key, "-tls-client-ca", &ca]).args(names);
        command.env("RUST_LOG", "debug");
        let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
        let mut client = SecureClient::connect(server.address(), pki.trust_as(&hostile));
        let hello = client.take_wire();
        client.stream().write_all(&hello).unwrap();
        while client.tls().is_handshaking() {
            client.hear();
        }
        if names.is_empty() {
            // Another client is served, so the server has read no more than the hello so far.
            assert!(server.connect().ask("x").starts_with("error tls-required"));
            assert_eq!(client.ask("hello"), "ok");
        } else {
            let certificate = client.take_wire();
            client.stream().write_all(&certificate).unwrap();
            client.failure();
        }
        let said = server.wait_for_line(expected);
        assert!(said.contains(SHOWN), "{said}");
        let ended = server.stop();
        let forged = |line: &String| line.starts_with("ERROR") || line.contains('\x1b');
        assert!(!ended.said.iter().any(forged), "{:?}", ended.said);
        let log = ended.log();
        assert!(!log.contains('\x1b') && log.lines().count() == usize::from(names.is_empty()));
        let client = r#""client":"urn:x\u000aERROR\u0009| 2026-11-30"#;
        assert_eq!(log.contains(client), names.is_empty(), "{log}");
    }
}

/// Otherwise a stranger could push acknowledged lines out of a log that is rotated.
#[test]
fn clients_without_a_certificate_leave_no_record() {
    let pki = Pki::new();
    let ca = pki.path("ca.pem");
    for format in ["original", "json"] {
        let server = pki.serve(&["-tls-client-ca", &ca, "-format", format]);
        for first_bytes in [
            &b"a message\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
            b"\x16\x03",
        ] {
            let mut stranger = server.connect();
            stranger.send(first_bytes);
            stranger.end();
            let mut said = Vec::new();
            _ = stranger.stream().read_to_end(&mut said);
        }
        let mut stranger = SecureClient::connect(server.address(), pki.trust());
        stranger.send("a message\n");
        stranger.failure();
        assert_eq!(server.stop().log(), "");
    }
}

#[test]
fn a_client_of_another_protocol_gets_an_error() {
    let pki = Pki::new();
    let mut server = pki.serve(&[]);
    let mut plain = server.connect();
    let expected = "error tls-required: only TLS is spoken here, connect with it";
    assert_eq!(plain.ask("a line"), expected);
    assert_eq!(plain.rest(), "");
    server.wait_for_line("closed, it does not speak TLS");
    // Further clients within the same second cause no warning.
    for _ in 0..20 {
        assert_eq!(server.connect().ask("a line"), expected);
    }
    let ended = server.stop();
    assert!(ended.count_said("closed, it does not speak TLS") <= 1, "{:?}", ended.said);
    assert_eq!(ended.log().matches("recieved").count(), 0);

    let mut server = Server::start(&[]);
    let mut client = SecureClient::connect(server.address(), pki.trust());
    let hello = client.take_wire();
    client.stream().write_all(&hello).unwrap();
    let mut alert = Vec::new();
    client.stream().read_to_end(&mut alert).unwrap();
    // A record of two bytes: fatal, handshake_failure (RFC 8446, sections 5.1 and 6).
    assert_eq!(alert, [21, 3, 1, 0, 2, 2, 40]);
    server.wait_for_line("closed, it speaks TLS, and this server does not (-tls-cert)");
    assert_eq!(server.stop().log(), "");
}

#[test]
fn a_client_over_the_limit_is_closed_before_any_handshake() {
    let pki = Pki::new();
    let mut server = pki.serve(&["-max-clients", "1"]);
    let mut first = pki.connect(&server);
    assert_eq!(first.ask("a"), "ok");
    let mut second = pki.connect(&server);
    let mut said = Vec::new();
    second.stream().read_to_end(&mut said).unwrap();
    assert_eq!(said, b"");
    assert!(second.tls().is_handshaking());
    drop(first);
    server.wait_for_clients(0);
    assert_eq!(pki.connect(&server).ask("b"), "ok");
}

/// The last record is truncated at every byte, or has a wrong tag: it adds nothing, and the unfinished
/// line before it is no message. The whole line is.
#[test]
fn what_is_cut_off_is_no_message() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    let attack = |spoil: &dyn Fn(&mut Vec<u8>)| {
        let mut client = pki.connect(&server);
        assert_eq!(client.ask("whole"), "ok");
        let half = client.encrypt("half");
        client.stream().write_all(&half).unwrap();
        let mut last = client.encrypt(" of it\n");
        spoil(&mut last);
        // A server that has already closed the connection takes no more bytes.
        _ = client.stream().write_all(&last);
        _ = client.stream().shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        _ = client.stream().read_to_end(&mut rest);
        client.name()
    };
    let len = b" of it\n".len() + 5 + 1 + 16;
    let mut names: Vec<_> = (0..len).map(|cut| attack(&|last| last.truncate(cut))).collect();
    for wrong in [5, len - 1] {
        names.push(attack(&|last| last[wrong] ^= 1));
    }
    names.push(attack(&|last| {
        *last = b"garbage of some length, no record".to_vec();
    }));
    // An unencrypted alert in the middle does not come from the client.
    names.push(attack(&|last| *last = vec![21, 3, 3, 0, 2, 2, 80]));
    let complete = attack(&|_| {});
    let log = server.stop().log();
    for name in names {
        assert_eq!(received_from(&log, &name), ["whole"]);
    }
    assert_eq!(received_from(&log, &complete), ["whole", "half of it"]);
}

/// An unfinished line is dropped when a session ends without `close_notify`, and is a message when it
/// ends with one.
#[test]
fn only_a_true_end_makes_half_a_line_a_message() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    let end = |farewell: bool| {
        let mut client = pki.connect(&server);
        client.send("whole\nhalf");
        if farewell {
            client.end();
            assert_eq!(client.rest(), "ok\nok\n");
        } else {
            client.stream().shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.rest(), "ok\n");
        }
        client.name()
    };
    let (cut_off, polite) = (end(false), end(true));
    let log = server.stop().log();
    assert_eq!(received_from(&log, &cut_off), ["whole"]);
    assert_eq!(received_from(&log, &polite), ["whole", "half"]);
}

#[test]
fn handshakes_that_never_end_are_ended() {
    let pki = Pki::new();
    let mut server = pki.serve(&[]);
    let begun = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..1000 {
        let mut client = pki.connect(&server);
        let hello = client.take_wire();
        client.stream().write_all(&hello).unwrap();
        silent.push(client);
    }
    // Half a hello, no bytes at all, and a long hello that arrives byte by byte.
    let mut half = pki.connect(&server);
    let hello = half.take_wire();
    half.stream().write_all(&hello[..hello.len() / 2]).unwrap();
    let nothing = server.connect();
    let trickle = server.connect();
    let mut stream = trickle.stream().try_clone().unwrap();
    let trickling = thread::spawn(move || {
        let long = [[22, 3, 1, 64, 0, 1, 0, 63, 252, 3, 3].as_slice(), &[0; 16 << 10]].concat();
        let mut sent = 0;
        while begun.elapsed() < DEADLINE && stream.write(&long[sent..=sent]).is_ok() {
            sent += 1;
            thread::sleep(Duration::from_millis(100));
        }
        sent
    });
    // Other clients are served meanwhile.
    let mut talker = pki.connect(&server);
    assert_eq!(talker.ask("a"), "ok");
    let peak = server.peak_memory();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
    for client in [half.stream(), nothing.stream(), trickle.stream(), silent[0].stream()] {
        // It may get an alert first, and a reset also ends it.
        let mut said = Vec::new();
        if let Err(error) = (&*client).read_to_end(&mut said) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }
    // Ten seconds: a byte now and then did not extend the timeout.
    assert!(begun.elapsed() >= Duration::from_secs(9));
    assert!(trickling.join().unwrap() < 200);
    server.wait_for_line("closed, no TLS handshake within 10 s");
    server.wait_for_clients(1);
    assert_eq!(talker.ask("b"), "ok");
}

#[test]
fn key_updates_are_made_but_a_flood_of_them_is_ended() {
    let pki = Pki::new();
    let mut server = pki.serve(&[]);
    let mut client = pki.connect(&server);
    client.shake_hands();
    for n in 0..100 {
        client.tls().refresh_traffic_keys().unwrap();
        assert_eq!(client.ask(&n.to_string()), "ok");
    }
    for _ in 0..20_000 {
        client.tls().refresh_traffic_keys().unwrap();
        let wire = client.take_wire();
        // The connection may be closed by now.
        _ = client.stream().write_all(&wire);
    }
    let mut rest = Vec::new();
    _ = client.stream().read_to_end(&mut rest);
    server.wait_for_line("closed, peer misbehaved: TooManyKeyUpdateRequests");
    assert_eq!(pki.connect(&server).ask("another"), "ok");
    let peak = server.peak_memory();
    assert!(peak < 32 << 20, "{} MiB", peak >> 20);
}

/// A handshake in records of 64 bytes, certificates included, sent byte by byte.
#[test]
fn a_handshake_may_come_in_pieces() {
    let pki = Pki::new();
    let server = pki.serve(&["-tls-client-ca", &pki.path("ca.pem")]);
    let mut config = pki.trust_as(&pki.issue("client", &["client.example"]));
    config.max_fragment_size = Some(64);
    let mut client = SecureClient::connect(server.address(), config);
    while client.tls().is_handshaking() {
        for byte in client.take_wire() {
            client.stream().write_all(&[byte]).unwrap();
        }
        client.hear();
    }
    for byte in client.encrypt("in pieces, too\n") {
        client.stream().write_all(&[byte]).unwrap();
    }
    assert_eq!(client.reply(), "ok");
}

#[test]
fn renegotiation_is_refused() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    if !can("openssl", "command -v openssl") {
        return;
    }
    let mut peer = Command::new("openssl");
    peer.args(["s_client", "-tls1_2", "-CAfile", &pki.path("ca.pem"), "-connect"]);
    let peer = peer.arg(server.address().to_string()).stdin(Stdio::piped());
    let peer = peer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut peer = peer.unwrap();
    // At the start of a line, `R` makes s_client renegotiate.
    peer.stdin.as_mut().unwrap().write_all(b"R\n").unwrap();
    let output = peer.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no renegotiation") || !output.status.success(), "{said}");
    assert_eq!(pki.connect(&server).ask("another"), "ok");
    assert_eq!(server.stop().log().matches("recieved").count(), 1);
}

#[test]
fn a_scanner_finds_nothing_old() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    if !can("sslscan", "command -v sslscan") {
        return;
    }
    let scan = Command::new("sslscan");
    let mut scan = scan;
    scan.args(["--no-colour", &server.address().to_string()]);
    let output = String::from_utf8(scan.output().unwrap().stdout).unwrap();
    for line in [
        "SSLv2     disabled",
        "SSLv3     disabled",
        "TLSv1.0   disabled",
        "TLSv1.1   disabled",
        "TLSv1.2   enabled",
        "TLSv1.3   enabled",
    ] {
        assert!(output.contains(line), "{line}: {output}");
    }
    assert!(
        output.contains("Session renegotiation not supported")
            || output.contains("Secure session renegotiation supported"),
        "{output}"
    );
    assert!(
        !output.contains("vulnerable to heartbleed")
            || output.contains("not vulnerable to heartbleed")
    );
    let weak = ["RC4", "3DES", "_CBC_", "NULL", "EXPORT", "MD5"];
    assert!(weak.iter().all(|weak| !output.contains(weak)), "{output}");
}

/// Certificates are replaced repeatedly while clients connect and send. Each client gets the old
/// certificate or the new one, and none fails.
#[test]
fn certificates_are_replaced_under_load() {
    let pki = Pki::new();
    let mut server = pki.serve(&[]);
    let address = server.address();
    let (replaced, mut seen) = (20, Vec::new());
    let talk = || {
        let mut client = SecureClient::connect(address, pki.trust());
        assert_eq!(client.ask("a"), "ok");
        let chain = client.tls().peer_certificates().unwrap();
        chain[0].to_vec()
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let talkers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        talk();
                    }
                })
            })
            .collect();
        for _ in 0..replaced {
            let new = pki.authority.issue(&["localhost"]).unwrap();
            new.write(pki.folder.path(), "server").unwrap();
            server.signal(Signal::HUP);
            let before = seen.last().cloned();
            seen.push(wait_until("the new certificate", || {
                Some(talk()).filter(|now| Some(now) != before.as_ref())
            }));
        }
        stop.store(true, Ordering::Relaxed);
        for talker in talkers {
            talker.join().unwrap();
        }
    });
    // An unusable certificate changes nothing.
    fs::write(pki.path("server.pem"), "nothing").unwrap();
    server.signal(Signal::HUP);
    let said = server.wait_for_line("cannot reload the certificates: ");
    assert!(said.contains("there is no certificate in it"), "{said}");
    assert_eq!(talk(), *seen.last().unwrap());
}

#[test]
fn a_stop_says_farewell() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    let mut clients: Vec<_> = (0..10).map(|_| pki.connect(&server)).collect();
    for client in &mut clients {
        assert_eq!(client.ask("a"), "ok");
    }
    // One client early in its handshake, and one with an unfinished line, which is dropped.
    let mut early = pki.connect(&server);
    let hello = early.take_wire();
    early.stream().write_all(&hello).unwrap();
    clients[0].send("half");
    server.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.rest(), "");
    }
    let name = clients[0].name();
    assert_eq!(logged(server, &name), ["a"]);
}

/// The commands in SECURITY.md, verbatim.
#[test]
fn the_recipe_for_an_authority_works() {
    if !can("openssl", "command -v openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md"));
    let page = page.unwrap();
    let (_, recipe) = page.split_once("```sh\nopenssl").unwrap();
    let (recipe, _) = recipe.split_once("```").unwrap();
    let mut made = script(&format!("set -e\nopenssl{recipe}"));
    let made = made.current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = |name: &str| folder.path().join(name);
    let options =
        ["server.pem", "server.key", "ca.pem"].map(|name| path(name).display().to_string());
    let [cert, key, ca] = &options;
    let all = ["-tls-cert", cert, "-tls-key", key, "-tls-client-ca", ca, "-format", "json"];
    let server = Server::start(&all);
    let files =
        test_support::ca::Files { certificate: path("client.pem"), key: path("client.key") };
    let root = fs::read_to_string(path("ca.pem")).unwrap();
    let config = test_support::secure::config(&root, Some(&files));
    let stream = TcpStream::connect(server.address()).unwrap();
    let mut client = SecureClient::named("logs.example", stream, config);
    assert_eq!(client.ask("a line"), "ok");
    assert!(server.log().contains(r#""client":"shop-7.example","message":"a line"}"#));
}

/// Clients without a valid certificate present 135 certificates, and others the costliest chain that is
/// accepted, all at once. Other clients are served, and a stop takes no longer than usual.
#[test]
fn costly_chains_delay_neither_clients_nor_a_stop() {
    let ca = chain::Certificate::root("authority", &PKCS_ECDSA_P384_SHA384);
    let between = ca.issue("between", true);
    let good = between.issue("good", false);
    let other = chain::Certificate::root("X", &PKCS_ED25519);
    let forged: Vec<_> = (0..134).map(|_| other.issue("X", true)).collect();
    let forged_leaf = other.issue("leaf", false);

    let pki = Pki::new();
    fs::write(pki.path("client-ca.pem"), ca.pem()).unwrap();
    let mut server = pki.serve(&["-tls-client-ca", &pki.path("client-ca.pem")]);
    let good = good.config(&pki, &[&between]);
    let forged = forged_leaf.config(&pki, &forged.iter().collect::<Vec<_>>());
    let mut talker = SecureClient::connect(server.address(), good.clone());
    assert_eq!(talker.ask("a"), "ok");

    let (address, over) = (server.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        for n in 0..12 {
            let mut config = if n % 2 == 0 { &forged } else { &good }.clone();
            config.resumption = Resumption::disabled();
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(address) else {
                        return;
                    };
                    stream.set_read_timeout(Some(DEADLINE)).unwrap();
                    let name = ServerName::try_from("localhost").unwrap();
                    let mut tls = ClientConnection::new(Arc::new(config.clone()), name).unwrap();
                    while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(talker.ask("b"), "ok");
        }
        server.wait_for_line("it sent 134 intermediate certificates, the limit is 6");
        let begun = Instant::now();
        let ended = server.stop();
        over.store(true, Ordering::Relaxed);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(ended.log().lines().count(), 42);
    });
}

/// Certificate chains made for the test.
mod chain {
    use rustls::ClientConfig;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use test_support::ca::rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
        SignatureAlgorithm,
    };

    use super::Pki;

    pub struct Certificate {
        params: CertificateParams,
        key: KeyPair,
        pem: String,
    }

    impl Certificate {
        fn params(name: &str, is_ca: bool) -> CertificateParams {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            if is_ca {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }
            params
        }

        pub fn root(name: &str, kind: &'static SignatureAlgorithm) -> Self {
            let (params, key) = (Self::params(name, true), KeyPair::generate_for(kind).unwrap());
            let pem = params.self_signed(&key).unwrap().pem();
            Self { params, key, pem }
        }

        pub fn issue(&self, name: &str, is_ca: bool) -> Self {
            let params = Self::params(name, is_ca);
            let key = KeyPair::generate_for(self.key.algorithm()).unwrap();
            let issuer = Issuer::from_params(&self.params, &self.key);
            let pem = params.signed_by(&key, &issuer).unwrap().pem();
            Self { params, key, pem }
        }

        pub fn pem(&self) -> &str {
            &self.pem
        }

        /// The configuration of a client that presents this certificate, followed by `others`.
        pub fn config(&self, pki: &Pki, others: &[&Self]) -> ClientConfig {
            let chain = [self].into_iter().chain(others.iter().copied());
            let chain =
                chain.map(|one| CertificateDer::from_pem_slice(one.pem.as_bytes()).unwrap());
            let key = PrivateKeyDer::from_pem_slice(self.key.serialize_pem().as_bytes()).unwrap();
            let mut roots = rustls::RootCertStore::empty();
            let root = pki.authority.certificate();
            roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_client_auth_cert(chain.collect(), key)
                .unwrap()
        }
    }
}
