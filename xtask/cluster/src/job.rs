//! The main job: five clients whose threads take turns, and the check of the result.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use common::record;
use common::units::plural;
use test_support::nodes::{Cluster, Message};
use test_support::{children, programs};

use crate::nodes::STREAM;
use crate::output::say;

const CLIENTS: usize = 5;

/// The lines of one client, in order.
type Lines = Vec<Vec<u8>>;

/// Runs the clients, and compares the stream with the lines they sent.
pub(crate) fn run(address: SocketAddr, nodes: &Cluster) -> Result<(), String> {
    let clients: Vec<_> = (1..=CLIENTS).map(|_| start(address)).collect::<Result<_, _>>()?;
    let mut sent = Vec::new();
    for (index, client) in clients.into_iter().enumerate() {
        let (lines, last_words) = finish(client, index + 1)?;
        say(&format!("client {} | {last_words}", index + 1));
        sent.push(lines);
    }
    let messages = nodes.stream(STREAM).messages()?;
    let received = received(&messages)?;
    compare(&sent, &received)?;
    let lines = plural(sent.iter().map(Vec::len).sum::<usize>() as u64, "line");
    say(&format!(
        "{lines} acknowledged, and each is in the stream {STREAM} once and in order ({})",
        shares(&messages)
    ));
    Ok(())
}

fn start(address: SocketAddr) -> Result<Child, String> {
    let mut command = children::tied(programs::path("client"));
    command
        .arg("-nhost")
        .arg(address.ip().to_string())
        .arg("-port")
        .arg(address.port().to_string())
        .args(["-nt", "5", "-ni", "10", "-timeout", "30s"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    children::spawn(command).map_err(|error| format!("cannot start a client: {error}"))
}

/// The lines that a client sent, if every line was acknowledged, and its summary.
fn finish(client: Child, number: usize) -> Result<(Lines, String), String> {
    let output = client.wait_with_output();
    let output = output.map_err(|error: io::Error| format!("client {number}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !output.status.success() {
        return Err(format!("client {number} ({}): {said}", output.status));
    }
    let lines = output.stdout.split_inclusive(|&byte| byte == b'\n');
    let lines = lines.map(|line| line.trim_ascii_end().to_vec()).collect();
    Ok((lines, said.replace("client: ", "")))
}

/// The lines of each client in the stream, whose payloads are concatenated records.
fn received(messages: &[Message]) -> Result<BTreeMap<Vec<u8>, Lines>, String> {
    let mut clients = BTreeMap::<_, Lines>::new();
    let payloads = messages.iter().map(|message| &message.payload);
    for line in payloads.flat_map(|payload| payload.split_inclusive(|&byte| byte == b'\n')) {
        let bad = || format!("no record: {}", String::from_utf8_lossy(line));
        let record = line.strip_suffix(b"\n").and_then(record::parse);
        let record = record.ok_or_else(bad)?;
        let message = record.message.and_then(record::unescape);
        let message = message.ok_or_else(bad)?;
        clients.entry(record.peer.to_vec()).or_default().push(message);
    }
    Ok(clients)
}

/// Checks that each client's lines are those of one address. The addresses are not compared: only `HAProxy`
/// knows those of the clients.
fn compare(sent: &[Lines], received: &BTreeMap<Vec<u8>, Lines>) -> Result<(), String> {
    let mut sent: Vec<_> = sent.iter().collect();
    let mut there: Vec<_> = received.values().collect();
    sent.sort_unstable();
    there.sort_unstable();
    if sent == there {
        return Ok(());
    }
    let of = |lines: &[&Lines]| lines.iter().map(|lines| lines.len()).collect::<Vec<_>>();
    Err(format!(
        "the stream has not what was acknowledged: lines of each client {:?}, in the stream {:?}",
        of(&sent),
        of(&there)
    ))
}

/// The number of messages of the stream by subject.
fn shares(messages: &[Message]) -> String {
    let mut counts = BTreeMap::<_, u64>::new();
    for message in messages {
        *counts.entry(message.subject.as_str()).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .into_iter()
        .map(|(subject, count)| format!("{subject}: {}", plural(count, "message")))
        .collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Message {
        Message {
            sequence: 1,
            subject: "LOG.a".to_owned(),
            headers: Vec::new(),
            payload: payload.as_bytes().to_vec(),
        }
    }

    fn record(port: u16, text: &str) -> String {
        format!("INFO\t| 2026-11-25 03:35:12 --127.0.0.1:{port} recieved: {text}\n")
    }

    fn lines(texts: &[&str]) -> Lines {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_found() {
        let sent = [lines(&["a", "b"]), lines(&["a", "b"])];
        let [a1, b1, a2, b2] = [(1, "a"), (1, "b"), (2, "a"), (2, "b")].map(|(p, t)| record(p, t));
        for (payloads, is_good) in [
            ([[&*a1, &a2].concat(), [&*b2, &b1].concat()], true),
            ([[&*a1, &a2].concat(), b1.clone()], false),
            ([[&*a1, &a2].concat(), [&*b2, &b1, &b1].concat()], false),
            ([[&*b1, &a2].concat(), [&*b2, &a1].concat()], false),
        ] {
            let messages = payloads.map(|payload| message(&payload));
            let received = received(&messages).expect("records");
            assert_eq!(compare(&sent, &received).is_ok(), is_good, "{received:?}");
        }
        received(&[message("half a rec")]).expect_err("no record");
    }
}
