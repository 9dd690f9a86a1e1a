//! The server behind real proxies: `HAProxy` and stunnel, which send the client's address in a PROXY header.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufReader, Read as _};

use test_support::balancer::Balancer;
use test_support::client::Client;
use test_support::numbered::{Load, verify};
use test_support::programs::{self, can};
use test_support::records::received_from;
use test_support::server::Server;
use test_support::wait::wait_until;

/// A server that reports each connection, since a health check is no client.
fn start(options: &[&str]) -> Server {
    let mut command = programs::server();
    command.env("RUST_LOG", "server::server=info");
    command.args(["-quiet", "-port", "0", "-proxy-from", "127.0.0.1"]);
    command.args(options);
    Server::start_command(tempfile::tempdir().unwrap(), command)
}

/// One of two servers is killed under load. Acknowledged lines are in one of the two logs, under the
/// clients' own addresses; health checks leave no record.
fn lose_nothing(how: &str, options: &[&str]) {
    if !can("haproxy", "command -v haproxy") {
        return;
    }
    let (mut one, mut two) = (start(options), start(options));
    let proxy = Balancer::start(&[one.address(), two.address()], how).unwrap();
    for server in [&mut one, &mut two] {
        for _ in 0..4 {
            // A health check has connected and closed.
            server.wait_for_line(": gone");
        }
    }
    assert_eq!((one.log(), two.log()), (String::new(), String::new()));
    let mut names = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(proxy.address);
        assert_eq!(client.ask("by name"), "ok");
        names.push(client.name());
    }
    let load = Load::start(proxy.address, 20, 16).unwrap();
    let reach = |acknowledged| {
        let done = || (load.acknowledged() >= acknowledged).then_some(());
        wait_until("acknowledgements", done);
    };
    reach(5000);
    let one = one.kill();
    reach(load.acknowledged() + 5000);
    let accounts = load.finish().unwrap();
    let mut late = Client::connect(proxy.address);
    assert_eq!(late.ask("by name"), "ok");
    names.push(late.name());
    let two = two.stop();
    let logs = [one.log_path(), two.log_path()].map(|path| File::open(path).unwrap());
    let [first, second] = logs;
    let verification = verify(&accounts, BufReader::new(first.chain(second))).unwrap();
    assert!(verification.is_good(), "{how}: {verification:?}");
    let log = one.log() + &two.log();
    for name in names {
        assert_eq!(received_from(&log, &name), ["by name"], "{how}");
    }
    let said = [one.said, two.said].concat();
    assert!(!said.iter().any(|line| line.contains("closed, ")), "{said:?}");
}

#[test]
fn two_servers_behind_a_balancer_lose_nothing() {
    for how in ["send-proxy", "send-proxy-v2"] {
        lose_nothing(how, &[]);
    }
}

/// The PROXY header comes before the handshake.
#[cfg(feature = "tls")]
#[test]
fn nor_do_they_where_the_balancer_speaks_tls_to_them() {
    let pki = test_support::secure::Pki::new();
    let ca = pki.path("ca.pem");
    let how = format!("send-proxy-v2 ssl verify required ca-file {ca} verifyhost localhost");
    let (cert, key) = (pki.path("server.pem"), pki.path("server.key"));
    lose_nothing(&how, &["-tls-cert", &cert, "-tls-key", &key]);
}

/// stunnel terminates TLS for a server without it, and sends the client's address.
#[cfg(feature = "tls")]
#[test]
fn tls_may_be_left_to_stunnel() {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};
    if !can("stunnel4", "command -v stunnel4") {
        return;
    }
    let pki = test_support::secure::Pki::new();
    let server = Server::start(&["-proxy-from", "127.0.0.1"]);
    let path = pki.folder.path().join("stunnel.conf");
    let (address, cert, key) = (server.address(), pki.path("server.pem"), pki.path("server.key"));
    let text = format!(
        "connect = {address}\nprotocol = proxy\ncert = {cert}\nkey = {key}\nforeground = quiet\n"
    );
    std::fs::write(&path, text).unwrap();
    // As under inetd: the client's connection is its standard input.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let mut stunnel = Command::new("stunnel4")
        .arg(&path)
        .stdin(OwnedFd::from(accepted.try_clone().unwrap()))
        .stdout(OwnedFd::from(accepted))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut client = test_support::secure::SecureClient::over(client, pki.trust());
    assert_eq!(client.ask("a line"), "ok");
    let name = client.name();
    assert_eq!(received_from(&server.log(), &name), ["a line"]);
    drop(client);
    _ = stunnel.kill();
    _ = stunnel.wait();
}
