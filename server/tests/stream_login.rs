//! Authentication between the server and NATS, in both directions.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)]

use test_support::nodes::{Cluster, json};
use test_support::operator::Operator;
use test_support::secure::Pki;
use test_support::server::Server;
use test_support::stream_log::{log, refused, setup};

const STREAM: [&str; 4] = ["-stream", "LOG", "-id", "me"];

/// The reply to one line.
fn ask(options: &[&str]) -> String {
    let server = Server::start(&[&STREAM, options].concat());
    let reply = server.connect().ask("a line");
    assert!(server.stop().status.success());
    reply
}

/// The last line on stderr of a server that fails to start.
fn refusal(options: &[&str]) -> String {
    refused(&[&STREAM, options].concat())
}

fn has_line(cluster: &Cluster) -> bool {
    log(cluster).ends_with("recieved: a line\n")
}

#[test]
fn a_creds_file_proves_who_we_are() {
    let Some(mut setup) = setup(1) else { return };
    let operator = Operator::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("user.creds");
    operator.write_user(&path);
    setup.config.clone_from(&operator.config);
    setup.admin.credentials = Some(path.clone());
    let cluster = setup.start().unwrap();
    cluster.stream("LOG").create(&json!({})).unwrap();
    let urls = cluster.urls();
    let said = refusal(&["-nats", &urls]);
    assert!(said.contains("it refuses the login (Authorization Violation)"), "{said}");
    assert!(said.contains("a .creds file to -nats-creds"), "{said}");
    let creds = path.to_str().unwrap();
    assert_eq!(ask(&["-nats", &urls, "-nats-creds", creds]), "ok");
    assert!(has_line(&cluster));
    let said = refusal(&["-nats", &urls, "-nats-creds", "/nowhere/x.creds"]);
    assert!(said.contains("/nowhere/x.creds: No such file"), "{said}");
}

#[test]
fn tls_shows_both_ends_who_the_other_is() {
    let Some(mut setup) = setup(1) else { return };
    let pki = Pki::new();
    let (ca, cert, key) = (pki.path("ca.pem"), pki.path("server.pem"), pki.path("server.key"));
    let client = pki.issue("client", &["log.example"]);
    let (client_cert, client_key) =
        (client.certificate.to_str().unwrap(), client.key.to_str().unwrap());
    setup.config =
        format!("tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}");
    setup.admin.tls = tls::Options {
        ca: Some(ca.clone().into()),
        cert: Some(client.certificate.clone()),
        key: Some(client.key.clone()),
        ..tls::Options::default()
    };
    let cluster = setup.start().unwrap();
    cluster.stream("LOG").create(&json!({})).unwrap();
    let port = cluster.nodes[0].address().port();
    let (by_name, by_address) =
        (format!("tls://localhost:{port}"), format!("nats://127.0.0.1:{port}"));
    let identity = ["-nats-cert", client_cert, "-nats-key", client_key];
    for url in [&by_name, &by_address] {
        let options = [&["-nats", url.as_str(), "-nats-ca", &ca], &identity[..]].concat();
        assert_eq!(ask(&options), "ok", "{url}");
    }
    assert!(has_line(&cluster));
    let said = refusal(&["-nats", &by_name, "-nats-ca", &ca]);
    assert!(said.contains("certificate"), "it demands one: {said}");
    let stranger = Pki::new();
    let strange_ca = stranger.path("ca.pem");
    let options = [&["-nats", by_name.as_str(), "-nats-ca", &strange_ca], &identity[..]].concat();
    let said = refusal(&options);
    assert!(said.contains("certificate"), "{said}");
}
