//! A record in either format is one line, and gives back the exact bytes of its message.
#![no_main]

use common::record::{self, Level, json};
use libfuzzer_sys::fuzz_target;

const TIME: &str = "2026-11-25 03:35:12";
const PEER: &str = "[::1]:49030";

fuzz_target!(|message: &[u8]| {
    original(message);
    in_json(message);
    // Any text can be unescaped or is refused; what was unescaped can be escaped again.
    if let Some(bytes) = record::unescape(message) {
        let mut escaped = Vec::new();
        record::escape(&mut escaped, &bytes);
        assert_eq!(record::unescape(&escaped), Some(bytes));
    }
    record::parse(message);
});

fn original(message: &[u8]) {
    let mut line = Vec::new();
    record::begin(&mut line, Level::Info, TIME, PEER, record::RECEIVED);
    record::escape(&mut line, message);
    assert!(record::may_begin_log(&line[..record::BEGINNING]));
    let parts = record::parse(&line).unwrap();
    assert_eq!((parts.time, parts.peer), (TIME.as_bytes(), PEER.as_bytes()));
    let found = record::unescape(parts.message.unwrap());
    assert_eq!(found.as_deref(), Some(message));
}

fn in_json(message: &[u8]) {
    let mut line = Vec::new();
    json::begin(&mut line, TIME, PEER, None);
    json::message(&mut line, message);
    assert_eq!(line.pop(), Some(b'\n'));
    assert!(!record::has_control(&line));
    let parsed: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!((&parsed["time"], &parsed["peer"]), (&TIME.into(), &PEER.into()));
    match std::str::from_utf8(message) {
        Ok(text) => assert_eq!(parsed["message"], text),
        Err(_) => assert!(parsed["bytes"].is_string()),
    }
}
