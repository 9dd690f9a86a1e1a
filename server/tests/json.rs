//! Records as lines of JSON.
#![allow(clippy::unwrap_used)]

use std::fs;

use serde_json::Value;
use test_support::server::Server;

#[test]
fn a_message_is_a_line_of_json_and_so_is_an_error() {
    let server = Server::start(&["-format", "json", "-max-message", "20", "-utc"]);
    let mut client = server.connect();
    client.send(b"plain\n\xff\0\na \"quoted\" \\ \x1b\xe2\x80\xae\nlonger than the limit is\n");
    client.end();
    assert_eq!(client.rest().lines().count(), 4);
    let peer = client.name();
    let log = server.stop().log();
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 4, "no record of an ok: {log}");
    for record in &records {
        assert_eq!(record["peer"], peer.as_str());
        let time = record["time"].as_str().unwrap();
        assert!(time.len() == 32 && time.ends_with("+00:00") && &time[10..11] == "T", "{time}");
    }
    assert_eq!(records[0]["message"], "plain");
    assert_eq!(records[1]["bytes"], "/wA=");
    assert_eq!(records[2]["message"], "a \"quoted\" \\ \u{1b}\u{202e}");
    assert_eq!(records[3]["error"], "too-long");
    assert!(log.contains(r#""message":"a \"quoted\" \\ \u001b\u202e"}"#), "{log}");
}

#[test]
fn a_log_in_json_is_appended_to_and_its_torn_end_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logging.log");
    let whole = r#"{"time":"2026-11-25T03:35:12.123456+01:00","peer":"[::1]:4","message":"one"}"#;
    fs::write(&path, format!("{whole}\n{}", &whole[..70])).unwrap();
    let server = Server::start_in(folder, &["-format", "json", "-append"]);
    assert_eq!(server.connect().ask("two"), "ok");
    let ended = server.stop();
    assert_eq!(ended.count_said("ended a torn record at its end"), 1);
    assert_eq!(ended.count_said("no records"), 0, "what is in JSON is one: {:?}", ended.said);
    let log = ended.log();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[..2], [whole, &whole[..70]]);
    assert_eq!(serde_json::from_str::<Value>(lines[2]).unwrap()["message"], "two");
}

#[test]
fn an_old_log_in_json_is_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logging.log");
    fs::write(
        &path,
        r#"{"time":"2026-11-25T03:35:12.123456+01:00","peer":"[::1]:4","message":"one"}"#,
    )
    .unwrap();
    let server = Server::start_in(folder, &["-format", "json"]);
    assert_eq!(server.stop().count_said("emptied "), 1);
}
