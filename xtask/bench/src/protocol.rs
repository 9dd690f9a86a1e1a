//! The protocols of the systems, as options of `client load`. `tables/protocols.json` has a row for each.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::load::Load;

/// A protocol.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Protocol {
    name: &'static str,
    /// A template of `client load`. `{text}` stands for the text of a message, `{bytes}` for its length,
    /// `{head}` for that of its headers, `{all}` for both, `{lines}` for the number of lines in it.
    message: String,
    reply: String,
    /// More options of `client load`.
    #[serde(default)]
    options: Vec<String>,
    /// The length of the headers in a message.
    #[serde(default)]
    head: usize,
    #[serde(default)]
    sends: Sends,
}

/// What is sent, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Sends {
    /// A line in each message, over the connections of the load.
    #[default]
    Lines,
    /// A line in each message, as an application with a NATS library would publish it: it has an ID, so
    /// that it can be published again. As many are in flight as the load says.
    LinesOnOneConnection,
    /// All lines of the load in one message, as records of the server and with its headers: the upper bound
    /// of the server's throughput with a stream. One message is in flight.
    Batches,
}

/// The name of the stream in the table.
pub(crate) const STREAM: &str = "LOG";

/// The largest batch of the server.
const BATCH_BYTES: usize = 512 << 10;

/// The length of a record of the server without its message.
const RECORD_BYTES: usize = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: \n".len();

static PROTOCOLS: LazyLock<Vec<Protocol>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../tables/protocols.json")).expect("a table of protocols")
});

/// The protocol of this name, which a row of the table of systems has.
pub(crate) fn named(name: &str) -> &'static Protocol {
    let found = PROTOCOLS.iter().find(|protocol| protocol.name == name);
    found.expect("a protocol of the table")
}

impl Protocol {
    /// The number of lines that one message of `load` holds.
    pub(crate) fn lines(&self, load: &Load) -> usize {
        let all = load.connections * load.pipeline;
        match self.sends {
            Sends::Batches => all.min(BATCH_BYTES / (RECORD_BYTES + load.bytes)),
            Sends::Lines | Sends::LinesOnOneConnection => 1,
        }
    }

    /// The options with which `client load` puts `load` on a server that speaks this.
    pub(crate) fn options(&self, load: &Load) -> Vec<String> {
        let lines = self.lines(load);
        let (connections, pipeline, bytes) = match self.sends {
            Sends::Lines => (load.connections, load.pipeline, load.bytes),
            Sends::LinesOnOneConnection => (1, load.connections * load.pipeline, load.bytes),
            Sends::Batches => (1, 1, lines * (RECORD_BYTES + load.bytes)),
        };
        // Fixed text: a template that changes per message costs the client CPU time.
        let text = match bytes {
            21 => "Thread 3, iteration 1".to_owned(),
            bytes => format!("{{pad:{bytes}}}"),
        };
        let message = self
            .message
            .replace("{bytes}", &bytes.to_string())
            .replace("{head}", &self.head.to_string())
            .replace("{all}", &(self.head + bytes).to_string())
            // Six digits: the length of the headers is fixed.
            .replace("{lines}", &format!("{lines:06}"))
            .replace("{text}", &text);
        let mut options = self.options.clone();
        let mut option = |name: &str, value| options.extend([name.to_owned(), value]);
        option("-connections", connections.to_string());
        option("-pipeline", pipeline.to_string());
        option("-message", message);
        option("-reply", self.reply.clone());
        options
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpStream;

    use test_support::nodes;

    use super::*;
    use crate::load::LOADS;

    fn message(protocol: &str, load: &str) -> String {
        let load = LOADS.iter().find(|it| it.is_called(load)).unwrap();
        let options = named(protocol).options(load);
        let at = options.iter().position(|it| it == "-message").unwrap();
        options[at + 1].clone()
    }

    #[test]
    fn a_message_has_the_text_of_the_load() {
        let redis = "*3\r\n$3\r\nSET\r\n$5\r\n{conn:5}\r\n$21\r\nThread 3, iteration 1\r\n";
        assert_eq!(message("redis", "50x1"), redis);
        assert_eq!(message("relp", "50x1:1000"), "0 syslog 1000 {pad:1000}\n");
    }

    #[test]
    fn the_lengths_of_a_publication_are_right() {
        for (protocol, payload) in
            [("jetstream", 21), ("jetstream-batches", 50 * (RECORD_BYTES + 21))]
        {
            let message = message(protocol, "50x1").replace("{seq:12}", "000000000001");
            let (first, rest) = message.split_once("\r\n").unwrap();
            let headers = rest.find("\r\n\r\n").unwrap() + 4;
            let expected = format!("HPUB {STREAM}.bench acks {headers} {}", headers + payload);
            assert_eq!(first, expected);
        }
    }

    /// Sends what `client load` sends first, to a real node.
    #[test]
    fn a_node_stores_what_is_published() {
        let program = match nodes::install(nodes::CURRENT) {
            Ok(program) => program,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let cluster = nodes::Setup::of(program).start().unwrap();
        cluster.stream(STREAM).create(&nodes::json!({})).unwrap();
        for (protocol, payload) in
            [("jetstream", 21), ("jetstream-batches", 50 * (RECORD_BYTES + 21))]
        {
            let text = message(protocol, "50x1")
                .replace("{seq:12}", &format!("{payload:012}"))
                .replace(&format!("{{pad:{payload}}}"), &"x".repeat(payload));
            let protocol = named(protocol);
            let mut socket = TcpStream::connect(cluster.nodes[0].address()).unwrap();
            socket.set_read_timeout(Some(test_support::wait::DEADLINE)).unwrap();
            socket.write_all(protocol.options[1].as_bytes()).unwrap();
            socket.write_all(text.as_bytes()).unwrap();
            let ignored = ["INFO ", "MSG acks ", "PING"];
            assert!(
                ignored[1..].iter().all(|it| protocol.options.iter().any(|option| option == it))
            );
            let lines = BufReader::new(socket).lines().map(Result::unwrap);
            let mut replies = lines.filter(|line| !ignored.iter().any(|it| line.starts_with(it)));
            let reply = replies.next().unwrap();
            assert!(reply.starts_with(&protocol.reply), "{reply}");
            let stored = cluster.stream(STREAM).messages().unwrap();
            assert_eq!(stored.last().unwrap().payload.len(), payload);
        }
    }

    #[test]
    fn a_batch_is_not_larger_than_one_of_the_server() {
        let most = LOADS.iter().find(|it| it.is_called("50x128:1000")).unwrap();
        let lines = named("jetstream-batches").lines(most);
        assert!(lines > 400 && lines * (RECORD_BYTES + 1000) <= BATCH_BYTES);
    }
}
