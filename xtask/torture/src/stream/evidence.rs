//! Evidence for a broken promise.

use std::fs;
use std::io::Write as _;

use test_support::nodes::{Message, Node};

/// Writes the stream, the servers' stderr and the nodes' logs to a folder that is not deleted; returns
/// a message with its path.
pub(crate) fn keep(messages: &[Message], said: &[String], nodes: &[Node]) -> String {
    let folder = tempfile::Builder::new().prefix("torture-").tempdir();
    let folder = folder.unwrap().keep();
    let mut stream = Vec::new();
    for message in messages {
        let id = message.header("Nats-Msg-Id").unwrap_or_default();
        writeln!(stream, "== {} {} {id}", message.sequence, message.subject).unwrap();
        stream.extend_from_slice(&message.payload);
    }
    fs::write(folder.join("stream"), stream).unwrap();
    fs::write(folder.join("servers"), said.join("\n")).unwrap();
    for node in nodes {
        fs::write(folder.join(node.name()), node.log()).unwrap();
    }
    let folder = folder.display();
    format!("the stream, the servers' and the nodes' words are in {folder}")
}
