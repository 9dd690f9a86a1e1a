//! Evidence for a broken promise.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use test_support::nodes::Message;

/// Writes the stream, the servers' stderr and the nodes' logs to a folder that is not deleted; returns
/// a message with its path.
pub(crate) fn keep(
    messages: &[Message],
    said: &[String],
    logs: &[String],
) -> Result<String, String> {
    let folder = tempfile::Builder::new().prefix("torture-").tempdir();
    let folder = folder.map(tempfile::TempDir::keep);
    let folder = folder.and_then(|folder| fill(&folder, messages, said, logs).map(|()| folder));
    let folder: PathBuf = folder.map_err(|error| format!("cannot keep the evidence: {error}"))?;
    Ok(format!(
        "the stream, the servers' and the nodes' words are in {}",
        folder.display()
    ))
}

fn fill(folder: &Path, messages: &[Message], said: &[String], logs: &[String]) -> io::Result<()> {
    let mut stream = Vec::new();
    for message in messages {
        let id = message.header("Nats-Msg-Id").unwrap_or_default();
        let head = format!("== {} {} {id}\n", message.sequence, message.subject);
        stream.extend_from_slice(head.as_bytes());
        stream.extend_from_slice(&message.payload);
    }
    fs::write(folder.join("stream"), stream)?;
    fs::write(folder.join("servers"), said.join("\n"))?;
    for (n, log) in logs.iter().enumerate() {
        fs::write(folder.join(format!("n{}", n + 1)), log)?;
    }
    Ok(())
}
