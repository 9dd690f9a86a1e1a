//! Tests of all clients over TLS, with the real server.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;
use test_support::ca::rcgen::{KeyPair, date_time_ymd};
use test_support::commands::{client, end, finish, finish_with, text};
use test_support::secure::Pki;
use test_support::server::Server;
use test_support::wait::wait_until;

/// A test CA with a certificate for a server and one for a client.
fn pki_of(name: &str) -> Pki {
    let pki = Pki::named(name);
    pki.issue("client", &["client.example"]);
    pki
}

/// A server with the certificate of this name. With `demands`, it requires client certificates.
fn serve(pki: &Pki, name: &str, demands: bool) -> Server {
    let (cert, key) = (pki.path(name) + ".pem", pki.path(name) + ".key");
    let ca = pki.path("ca.pem");
    let mut options = vec!["-tls-cert", &cert, "-tls-key", &key];
    if demands {
        options.extend(["-tls-client-ca", &ca]);
    }
    support::serve(&log(pki), &options)
}

/// The log of its servers.
fn log(pki: &Pki) -> PathBuf {
    pki.folder.path().join("logging.log")
}

/// The TLS options of a client.
fn tls_options(pki: &Pki) -> Vec<String> {
    let (ca, cert, key) = (pki.path("ca.pem"), pki.path("client.pem"), pki.path("client.key"));
    let options = ["-tls-ca", &ca, "-tls-cert", &cert, "-tls-key", &key];
    options.map(str::to_owned).to_vec()
}

/// A client, with or without a subcommand, for the server at this address.
fn at(address: SocketAddr, subcommand: &[&str], options: &[String]) -> Command {
    let mut command = client(subcommand);
    let port = address.port().to_string();
    command.args(["-nhost", "localhost", "-port", &port]).args(options);
    command
}

#[test]
fn all_clients_speak_it() {
    let pki = pki_of("tests");
    let server = serve(&pki, "server", true);
    let options = tls_options(&pki);
    let lines: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    let mut send = at(server.address(), &["send"], &options);
    let output = finish_with(send.args(["-id", "x", "-quiet"]), lines.as_bytes());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = finish(client(&["read", "-once"]).arg(log(&pki)));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout) == lines);

    let mut turns = at(server.address(), &[], &options);
    let output = finish(turns.args(["-nt", "3", "-ni", "20"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 60);

    for shape in
        [["-connections", "50", "-pipeline", "16"], ["-connections", "3", "-pipeline", "500"]]
    {
        let mut load = at(server.address(), &["load"], &options);
        load.args(["-messages", "100000", "-verify"]).arg(log(&pki)).args(shape);
        let output = finish(&mut load);
        assert!(output.status.success(), "{}", text(&output.stdout));
        assert!(text(&output.stdout).contains("verification passed: 100,000 records"));
    }
    // The open loop, with connections that are replaced during the run.
    let mut load = at(server.address(), &["load", "-reconnect", "-rate", "5000"], &options);
    load.args(["-duration", "1s", "-fail-if", "errors>0", "-fail-if", "lost>0"]);
    let output = finish(&mut load);
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[test]
fn the_authorities_of_the_system_will_do() {
    let pki = pki_of("tests");
    let server = serve(&pki, "server", false);
    let mut turns = at(server.address(), &[], &["-tls".to_owned()]);
    let output = finish(turns.env("SSL_CERT_FILE", pki.path("ca.pem")));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The server may be killed at any time: every acknowledged message is in the log.
#[test]
fn what_was_acknowledged_survives_the_server() {
    let pki = pki_of("tests");
    for _ in 0..3 {
        let server = serve(&pki, "server", true);
        let mut load = at(server.address(), &["load", "-pipeline", "16"], &tls_options(&pki));
        load.args(["-duration", "1m", "-verify"]).arg(log(&pki));
        let before = fs::metadata(log(&pki)).unwrap().len();
        let load = load.stdout(Stdio::piped()).spawn().unwrap();
        wait_until("a log that grows", || {
            fs::metadata(log(&pki)).unwrap().len() > before + (8 << 20)
        });
        server.signal(Signal::KILL);
        let output = end(load);
        let said = text(&output.stdout);
        assert!(said.contains("verification passed"), "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
    }
}

/// A sender continues after each restart of a killed server.
#[test]
fn a_sender_loses_nothing() {
    let pki = pki_of("tests");
    let mut server = serve(&pki, "server", true);
    let lines: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let mut send = at(server.address(), &["send", "-id", "x"], &tls_options(&pki));
    send.args(["-quiet", "-pipeline", "200"]);
    let input = lines.clone();
    let sending = thread::spawn(move || finish_with(&mut send, input.as_bytes()));
    for n in 1..=5 {
        let grown = |log: &Path| fs::metadata(log).unwrap().len() > n << 19;
        wait_until("a log that grows", || grown(&log(&pki)) || sending.is_finished());
        server.restart();
    }
    let output = sending.join().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = finish(client(&["read", "-once"]).arg(log(&pki)));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout) == lines, "every line once and in order");
}

/// The error messages of the turn-taking client. The other clients use the same ones.
#[test]
fn what_is_wrong_is_said_in_words() {
    let pki = pki_of("tests");
    let others = pki_of("others");
    pki.issue("elsewhere", &["a.example", "*.b.example", "192.0.2.7"]);
    let key = KeyPair::generate().unwrap();
    let expired = pki.authority.issue_to(&key, &["localhost"], |params| {
        params.not_after = date_time_ymd(2004, 5, 6);
    });
    expired.unwrap().write(pki.folder.path(), "expired").unwrap();
    let options = tls_options(&pki);
    let without = &options[..2];
    let other_ca = ["-tls-ca".to_owned(), others.path("ca.pem")];
    let named = |name: &str| [without, &["-tls-name".to_owned(), name.to_owned()]].concat();
    let other_client = [without, &tls_options(&others)[2..]].concat();
    for (cert, demands, options, expected) in [
        (
            "server",
            false,
            &other_ca[..],
            "the server's certificate is of an authority that is not trusted here (-tls-ca names a \
             file with those to trust)",
        ),
        (
            "elsewhere",
            false,
            without,
            "the server's certificate is for 'a.example', '*.b.example', '192.0.2.7', not for \
             'localhost' (-tls-name says which it must be for)",
        ),
        ("elsewhere", false, &named("x.b.example"), ""),
        ("expired", false, without, "the server's certificate has expired, on 2004-05-06"),
        (
            "server",
            true,
            without,
            "the server demands a certificate of this client (-tls-cert and -tls-key)",
        ),
        (
            "server",
            true,
            &other_client,
            "the server does not know the authority of this client's certificate",
        ),
        ("server", false, &[], "'error tls-required: only TLS is spoken here, connect with it'"),
    ] {
        let server = serve(&pki, cert, demands);
        let output = finish(&mut at(server.address(), &[], options));
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.lines().count(), 1);
        assert_eq!(output.status.code(), Some(i32::from(!expected.is_empty())), "{said}");
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_known_by_what_it_says() {
    let pki = pki_of("tests");
    let ours = support::serve(&pki.folder.path().join("plain.log"), &[]);
    let fake = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = fake.local_addr().unwrap();
    thread::spawn(move || {
        for stream in fake.incoming() {
            let mut stream = stream.unwrap();
            _ = stream.write_all(b"220 mail.example ready\r\n");
            _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (address, expected) in [
        (
            ours.address(),
            "the server does not speak TLS at this port, or no version that this client knows",
        ),
        (address, "the server does not speak TLS here; it may on another port"),
        (silent.local_addr().unwrap(), "no answer within 1 s"),
    ] {
        let mut turns = at(address, &["-timeout", "1s"], &tls_options(&pki)[..2]);
        let output = finish(&mut turns);
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
        let mut send =
            at(address, &["send", "-timeout", "1s", "-retry", "0"], &tls_options(&pki)[..2]);
        let output = finish_with(&mut send, b"a line\n");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}
