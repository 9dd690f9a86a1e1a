//! Streams are created, read and moved, and survive faults of nodes.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::time::Duration;

use nats::address::{Address, Login};
use nats::client::Client;
use nats::headers;
use nats::jetstream::{Answer, PubAck};
use nats::options::Options;
use test_support::ca::TestCa;
use test_support::nodes::{CURRENT, Cluster, Message, OLDER, Setup, json};
use test_support::stream_log::{bare_nodes, setup, setup_of};
use test_support::wait::{DEADLINE, wait_until};

/// A client of any node.
fn client(cluster: &Cluster) -> Client {
    let urls = cluster.urls();
    let urls = urls.split(',').map(|url| url.parse().unwrap()).collect();
    let options = Options { urls, ..Options::default() };
    Client::connect(&options, "test").unwrap()
}

/// Publishes a message, and waits for the acknowledgement; returns its sequence number.
fn publish(client: &mut Client, subject: &str, payload: &str) -> u64 {
    let mut block = Vec::new();
    headers::write(&mut block, &[("Nats-Msg-Id", payload)]);
    let answer = client.request(subject, &block, payload.as_bytes(), DEADLINE).unwrap();
    match Answer::<PubAck>::parse(answer.headers(), &answer.payload) {
        Answer::Yes(ack) => ack.seq,
        no => panic!("{payload} is not stored: {no:?}"),
    }
}

/// The payloads of all messages of a stream.
fn payloads(cluster: &Cluster, stream: &str) -> Vec<String> {
    let messages = cluster.stream(stream).messages().unwrap();
    let text = |message: Message| String::from_utf8(message.payload).unwrap();
    messages.into_iter().map(text).collect()
}

#[test]
fn a_stream_is_made_read_changed_and_deleted_with_either_release() {
    for release in [CURRENT, OLDER] {
        let Some(setup) = setup_of(release, 1) else {
            return;
        };
        let cluster = setup.start().unwrap();
        let log = cluster.stream("LOG");
        log.delete().unwrap();
        assert!(log.info().unwrap_err().contains("stream not found"));
        log.create(&json!({"discard": "new"})).unwrap();
        log.create(&json!({"discard": "new"})).unwrap();
        let error = log.create(&json!({"discard": "old"})).unwrap_err();
        assert!(error.starts_with("CREATE of stream LOG: "), "{error}");
        assert_eq!(log.leader(), Ok(0));
        assert_eq!(log.messages(), Ok(Vec::new()));

        let mut client = client(&cluster);
        assert_eq!(publish(&mut client, "LOG.a", "1st"), 1);
        assert_eq!(publish(&mut client, "LOG.b.c", "2nd"), 2);
        let [first, second] = &log.messages().unwrap()[..] else { panic!("two were stored") };
        assert_eq!((first.sequence, first.subject.as_str()), (1, "LOG.a"));
        assert_eq!((second.sequence, second.subject.as_str()), (2, "LOG.b.c"));
        assert_eq!((&first.payload[..], &second.payload[..]), (&b"1st"[..], &b"2nd"[..]));
        assert_eq!(second.header("nats-msg-id"), Some("2nd"));
        assert_eq!(second.headers, b"NATS/1.0\r\nNats-Msg-Id: 2nd\r\n\r\n");

        log.update(&json!({"max_msgs": 1, "discard": "old"})).unwrap();
        let info = log.info().unwrap();
        assert_eq!((info.config.max_msgs, info.state.messages), (1, 1));
        assert_eq!(info.config.subjects, ["LOG.>"]);
        assert_eq!(payloads(&cluster, "LOG"), ["2nd"]);
        log.purge().unwrap();
        assert_eq!(log.messages(), Ok(Vec::new()));
        assert_eq!(publish(&mut client, "LOG.a", "3rd"), 3);
        log.delete().unwrap();
        assert!(log.messages().unwrap_err().contains("stream not found"));
    }
}

#[test]
fn many_messages_are_read_in_order() {
    let Some(cluster) = bare_nodes(1) else { return };
    cluster.stream("LOG").create(&json!({})).unwrap();
    let mut client = client(&cluster);
    let sent: Vec<_> = (0..1000).map(|n| format!("message {n}")).collect();
    for payload in &sent {
        publish(&mut client, "LOG.x", payload);
    }
    assert_eq!(payloads(&cluster, "LOG"), sent);
}

#[test]
fn a_stream_that_never_answers_and_one_without_subjects_are_made() {
    let Some(cluster) = bare_nodes(1) else { return };
    cluster.stream("SILENT").create(&json!({"no_ack": true})).unwrap();
    let copy = json!({"mirror": {"name": "SILENT"}, "subjects": []});
    cluster.stream("COPY").create(&copy).unwrap();
    assert!(cluster.stream("COPY").info().unwrap().config.mirror.is_some());
}

#[test]
fn a_stream_of_three_nodes_survives_each_of_them() {
    let Some(mut cluster) = bare_nodes(3) else {
        return;
    };
    cluster.stream("LOG").create(&json!({})).unwrap();
    assert_eq!(cluster.stream("LOG").info().unwrap().config.num_replicas, 3);
    let first = cluster.stream("LOG").leader().unwrap();
    publish(&mut client(&cluster), "LOG.x", "before");

    cluster.stream("LOG").step_down(None).unwrap();
    let log = cluster.stream("LOG");
    wait_until("another leader", || log.leader().unwrap() != first);
    log.step_down(Some(first)).unwrap();
    wait_until("the first leader", || log.leader().unwrap() == first);

    cluster.nodes[first].kill().unwrap();
    let second = cluster.stream("LOG").leader().unwrap();
    assert_ne!(second, first);
    let mut others = client(&cluster);
    wait_until("an acknowledgement", || {
        let answer = others.request("LOG.x", b"", b"during", Duration::from_secs(1));
        let answer = answer.ok()?;
        matches!(Answer::<PubAck>::parse(answer.headers(), &answer.payload), Answer::Yes(_))
            .then_some(())
    });
    assert_eq!(payloads(&cluster, "LOG"), ["before", "during"]);

    cluster.nodes[first].start().unwrap();
    cluster.wait_until_healthy().unwrap();
    cluster.nodes[second].pause().unwrap();
    let third = cluster.stream("LOG").leader().unwrap();
    assert_ne!(third, second);
    assert_eq!(payloads(&cluster, "LOG"), ["before", "during"]);
    cluster.nodes[second].resume().unwrap();
    cluster.wait_until_healthy().unwrap();
    assert_eq!(payloads(&cluster, "LOG"), ["before", "during"]);
}

#[test]
fn a_terminated_cluster_comes_back_and_its_stream_can_be_made_again() {
    let Some(mut cluster) = bare_nodes(3) else {
        return;
    };
    cluster.stream("LOG").create(&json!({})).unwrap();
    publish(&mut client(&cluster), "LOG.x", "before");
    for node in &mut cluster.nodes {
        node.terminate().unwrap();
    }
    for node in &mut cluster.nodes {
        node.start().unwrap();
    }
    cluster.wait_until_healthy().unwrap();
    assert_eq!(payloads(&cluster, "LOG"), ["before"]);
    for _ in 0..3 {
        cluster.stream("LOG").delete().unwrap();
        cluster.stream("LOG").create(&json!({})).unwrap();
        assert_eq!(publish(&mut client(&cluster), "LOG.x", "after"), 1);
    }
}

#[test]
fn an_administrator_speaks_tls_and_has_a_password() {
    let Some(setup) = setup(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let authority = TestCa::new("test").unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.certificate()).unwrap();
    let files = authority.issue(&["127.0.0.1"]).unwrap();
    let files = files.write(folder.path(), "nats").unwrap();
    let config = format!(
        r#"tls {{ cert_file: "{}", key_file: "{}" }}
           authorization {{ users: [
               {{ user: admin, password: secret }},
               {{ user: guest, password: guest, permissions: {{ publish: "LOG.guest", subscribe: "_INBOX.>" }} }}
           ] }}"#,
        files.certificate.display(),
        files.key.display()
    );
    let login = Login::User("admin".to_owned(), "secret".to_owned());
    let mut admin = Options::default();
    admin.tls.ca = Some(ca);
    let setup = Setup { config, login: Some(login), admin: admin.clone(), ..setup };
    let cluster = setup.start().unwrap();
    cluster.stream("LOG").create(&json!({})).unwrap();

    let place = cluster.nodes[0].address();
    let guest: Address = format!("tls://guest:guest@{place}").parse().unwrap();
    let mut guest = Client::connect(&Options { urls: vec![guest], ..admin }, "guest").unwrap();
    publish(&mut guest, "LOG.guest", "a guest's");
    assert!(guest.request("LOG.other", b"", b"", Duration::from_millis(100)).is_err());
    assert_eq!(payloads(&cluster, "LOG"), ["a guest's"]);
}
