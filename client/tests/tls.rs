//! Tests of all clients over TLS, with the real server.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use support::{Server, client, end, run, text, wait_until};
use tempfile::TempDir;
use test_ca::TestCa;
use test_ca::rcgen::{KeyPair, date_time_ymd};

/// A test CA, and a folder with its certificates.
struct Pki {
    authority: TestCa,
    folder: TempDir,
}

impl Pki {
    fn new(name: &str) -> Self {
        let authority = TestCa::new(name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
        let pki = Self { authority, folder };
        pki.issue("server", &["localhost", "127.0.0.1"]);
        pki.issue("client", &["client.example"]);
        pki
    }

    fn issue(&self, name: &str, names: &[&str]) {
        let identity = self.authority.issue(names).unwrap();
        identity.write(self.folder.path(), name).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A server with the certificate of this name. With `demands`, it requires client certificates.
    fn serve(&self, name: &str, demands: bool) -> Server {
        let (cert, key) = (self.path(name) + ".pem", self.path(name) + ".key");
        let ca = self.path("ca.pem");
        let mut options = vec!["-tls-cert", &cert, "-tls-key", &key];
        if demands {
            options.extend(["-tls-client-ca", &ca]);
        }
        let log = self.folder.path().join("logging.log");
        Server::start(&log, 0, &options)
    }

    /// The TLS options of a client.
    fn options(&self) -> Vec<String> {
        let (ca, cert, key) = (
            self.path("ca.pem"),
            self.path("client.pem"),
            self.path("client.key"),
        );
        let options = ["-tls-ca", &ca, "-tls-cert", &cert, "-tls-key", &key];
        options.map(str::to_owned).to_vec()
    }
}

/// A client, with or without a subcommand, for the server at this address.
fn at(address: SocketAddr, subcommand: &[&str], options: &[String]) -> Command {
    let mut command = client(subcommand);
    let port = address.port().to_string();
    command
        .args(["-nhost", "localhost", "-port", &port])
        .args(options);
    command
}

#[test]
fn all_clients_speak_it() {
    let pki = Pki::new("tests");
    let server = pki.serve("server", true);
    let options = pki.options();
    let lines: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    let mut send = at(server.address, &["send"], &options);
    let output = run(send.args(["-id", "x", "-quiet"]), lines.as_bytes());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = client(&["read", "-once"]).arg(&server.log).spawn().unwrap();
    let output = end(read);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout) == lines);

    let mut turns = at(server.address, &[], &options);
    let output = end(turns.args(["-nt", "3", "-ni", "20"]).spawn().unwrap());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 60);

    for shape in [
        ["-connections", "50", "-pipeline", "16"],
        ["-connections", "3", "-pipeline", "500"],
    ] {
        let mut load = at(server.address, &["load"], &options);
        load.args(["-messages", "100000", "-verify"])
            .arg(&server.log)
            .args(shape);
        let output = end(load.spawn().unwrap());
        assert!(output.status.success(), "{}", text(&output.stdout));
        assert!(text(&output.stdout).contains("verification passed: 100,000 records"));
    }
    // The open loop, with connections that are replaced during the run.
    let mut load = at(
        server.address,
        &["load", "-reconnect", "-rate", "5000"],
        &options,
    );
    load.args([
        "-duration",
        "1s",
        "-fail-if",
        "errors>0",
        "-fail-if",
        "lost>0",
    ]);
    let output = end(load.spawn().unwrap());
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[test]
fn the_authorities_of_the_system_will_do() {
    let pki = Pki::new("tests");
    let server = pki.serve("server", false);
    let mut turns = at(server.address, &[], &["-tls".to_owned()]);
    let output = end(turns
        .env("SSL_CERT_FILE", pki.path("ca.pem"))
        .spawn()
        .unwrap());
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The server may be killed at any time: every acknowledged message is in the log.
#[test]
fn what_was_acknowledged_survives_the_server() {
    let pki = Pki::new("tests");
    for _ in 0..3 {
        let mut server = pki.serve("server", true);
        let mut load = at(server.address, &["load", "-pipeline", "16"], &pki.options());
        load.args(["-duration", "1m", "-verify"]).arg(&server.log);
        let before = fs::metadata(&server.log).unwrap().len();
        let load = load.stdout(Stdio::piped()).spawn().unwrap();
        wait_until("a log that grows", || {
            fs::metadata(&server.log).unwrap().len() > before + (8 << 20)
        });
        server.child.kill().unwrap();
        let output = end(load);
        let said = text(&output.stdout);
        assert!(said.contains("verification passed"), "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
    }
}

/// A sender continues after each restart of a killed server.
#[test]
fn a_sender_loses_nothing() {
    let pki = Pki::new("tests");
    let mut server = pki.serve("server", true);
    let lines: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let mut send = at(server.address, &["send", "-id", "x"], &pki.options());
    send.args(["-quiet", "-pipeline", "200"]);
    let input = lines.clone();
    let sending = thread::spawn(move || run(&mut send, input.as_bytes()));
    for n in 1..=5 {
        let grown = |log: &Path| fs::metadata(log).unwrap().len() > n << 19;
        wait_until("a log that grows", || {
            grown(&server.log) || sending.is_finished()
        });
        server.restart();
    }
    let output = sending.join().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = end(client(&["read", "-once"]).arg(&server.log).spawn().unwrap());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout) == lines,
        "every line once and in order"
    );
}

/// The error messages of the turn-taking client. The other clients use the same ones.
#[test]
fn what_is_wrong_is_said_in_words() {
    let pki = Pki::new("tests");
    let others = Pki::new("others");
    pki.issue("elsewhere", &["a.example", "*.b.example", "192.0.2.7"]);
    let key = KeyPair::generate().unwrap();
    let expired = pki.authority.issue_to(&key, &["localhost"], |params| {
        params.not_after = date_time_ymd(2004, 5, 6);
    });
    expired
        .unwrap()
        .write(pki.folder.path(), "expired")
        .unwrap();
    let options = pki.options();
    let without = &options[..2];
    let other_ca = ["-tls-ca".to_owned(), others.path("ca.pem")];
    let named = |name: &str| [without, &["-tls-name".to_owned(), name.to_owned()]].concat();
    let other_client = [without, &others.options()[2..]].concat();
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
        (
            "expired",
            false,
            without,
            "the server's certificate has expired, on 2004-05-06",
        ),
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
        (
            "server",
            false,
            &[],
            "'error tls-required: only TLS is spoken here, connect with it'",
        ),
    ] {
        let server = pki.serve(cert, demands);
        let output = end(at(server.address, &[], options).spawn().unwrap());
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.lines().count(), 1);
        assert_eq!(
            output.status.code(),
            Some(i32::from(!expected.is_empty())),
            "{said}"
        );
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_known_by_what_it_says() {
    let pki = Pki::new("tests");
    let log = pki.folder.path().join("plain.log");
    let ours = Server::start(&log, 0, &[]);
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
            ours.address,
            "the server speaks no TLS at this port, or none that this client knows",
        ),
        (
            address,
            "the server speaks no TLS, or another port of it does",
        ),
        (silent.local_addr().unwrap(), "no answer within 1 s"),
    ] {
        let mut turns = at(address, &["-timeout", "1s"], &pki.options()[..2]);
        let output = end(turns.spawn().unwrap());
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
        let mut send = at(
            address,
            &["send", "-timeout", "1s", "-retry", "0"],
            &pki.options()[..2],
        );
        let output = run(&mut send, b"a line\n");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}
