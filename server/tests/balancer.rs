//! Behind real proxies: `HAProxy`, which tells who the client is, and stunnel, which does so before TLS.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use support::numbered::{Load, verify};
use support::{Client, Server, can, received_from, wait_until};
use tempfile::TempDir;

/// A proxy, killed when dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Proxy {
    /// `HAProxy` before these servers. It gets its listening socket as standard input, so that no port
    /// has to be guessed.
    fn start(servers: &[&Server], how: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = "\
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option redispatch
listen front
    bind fd@0
    balance roundrobin
"
        .to_owned();
        for (n, server) in servers.iter().enumerate() {
            let address = server.address();
            writeln!(text, "    server s{n} {address} {how} check inter 100ms").unwrap();
        }
        let path = folder.path().join("haproxy.cfg");
        fs::write(&path, text).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let child = Command::new("haproxy")
            // Were it told to be quiet, it would close its standard input.
            .args(["-db", "-f"])
            .arg(&path)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            _folder: folder,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// How many clients it has served, by its own account.
fn served(server: &mut Server) -> u64 {
    let figures = server.figures();
    let (_, clients) = figures.split_once(" connected, ").unwrap();
    let (number, _) = clients.split_once(' ').unwrap();
    number.replace(',', "").parse().unwrap()
}

/// One of two servers is killed under load: what was acknowledged is in one of the two logs, under the
/// clients' own addresses; the health checks leave no trace.
fn lose_nothing(how: &str, start: impl Fn() -> Server) {
    if !can("haproxy", "command -v haproxy") {
        return;
    }
    let (mut one, mut two) = (start(), start());
    let proxy = Proxy::start(&[&one, &two], how);
    wait_until("health checks", || {
        (served(&mut one) > 3 && served(&mut two) > 3).then_some(())
    });
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
    let verdict = verify(&accounts, BufReader::new(first.chain(second))).unwrap();
    assert!(verdict.is_good(), "{how}: {verdict:?}");
    let log = one.log() + &two.log();
    for name in names {
        assert_eq!(received_from(&log, &name), ["by name"], "{how}");
    }
    let said = [one.said, two.said].concat();
    assert!(
        !said.iter().any(|line| line.contains("closed, ")),
        "{said:?}"
    );
}

#[test]
fn two_servers_behind_a_balancer_lose_nothing() {
    for how in ["send-proxy", "send-proxy-v2"] {
        lose_nothing(how, || Server::start(&["-proxy-from", "127.0.0.1"]));
    }
}

/// The header comes before the handshake then.
#[cfg(feature = "tls")]
#[test]
fn nor_do_they_where_the_balancer_speaks_tls_to_them() {
    let pki = support::secure::Pki::new();
    let ca = pki.path("ca.pem");
    let how = format!("send-proxy-v2 ssl verify required ca-file {ca} verifyhost localhost");
    lose_nothing(&how, || pki.serve(&["-proxy-from", "127.0.0.1"]));
}

/// stunnel, which speaks TLS in front of a server that does not, and says who its client is.
#[cfg(feature = "tls")]
#[test]
fn tls_may_be_left_to_stunnel() {
    if !can("stunnel4", "command -v stunnel4") {
        return;
    }
    let pki = support::secure::Pki::new();
    let server = Server::start(&["-proxy-from", "127.0.0.1"]);
    let path = pki.folder.path().join("stunnel.conf");
    let (address, cert, key) = (
        server.address(),
        pki.path("server.pem"),
        pki.path("server.key"),
    );
    let text = format!(
        "connect = {address}\nprotocol = proxy\ncert = {cert}\nkey = {key}\nforeground = quiet\n"
    );
    fs::write(&path, text).unwrap();
    // As inetd does it: its client is its standard input.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let mut stunnel = Command::new("stunnel4")
        .arg(&path)
        .stdin(OwnedFd::from(accepted.try_clone().unwrap()))
        .stdout(OwnedFd::from(accepted))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut client = support::secure::SecureClient::over(client, pki.trust());
    assert_eq!(client.ask("a line"), "ok");
    let name = client.name();
    assert_eq!(received_from(&server.log(), &name), ["a line"]);
    drop(client);
    _ = stunnel.kill();
    _ = stunnel.wait();
}
