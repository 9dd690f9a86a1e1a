//! Support for tests: NATS nodes, and a publisher that publishes like a server.
// Each test binary uses only a part of this module.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::{CURRENT, Cluster, DEADLINE, Setup, json};
use nats::client::Client;
use nats::headers;
use nats::jetstream::{Answer, PubAck};
use nats::options::Options;

/// The stream of all tests.
pub const STREAM: &str = "LOG";

/// The setup of the nodes. `None` if there is no NATS program; then it prints that the test is
/// skipped.
pub fn setup() -> Option<Setup> {
    match cluster::install(CURRENT) {
        Ok(program) => Some(Setup::of(program)),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// Starts this many nodes with a stream.
pub fn start(nodes: usize) -> Option<Cluster> {
    let setup = setup()?;
    let cluster = Setup { nodes, ..setup }.start().unwrap();
    let stream = cluster.stream(STREAM);
    stream.create(&json!({"discard": "new"})).unwrap();
    Some(cluster)
}

/// A publisher of batches, each in order and once.
pub struct Publisher {
    options: Options,
    client: Option<Client>,
    run: u64,
    batches: u64,
}

/// The number of publishers so far.
static PUBLISHERS: AtomicU64 = AtomicU64::new(0);

impl Publisher {
    pub fn to(urls: &str) -> Self {
        let urls = urls.split(',').map(|url| url.parse().unwrap()).collect();
        Self {
            options: Options {
                urls,
                ..Options::default()
            },
            client: None,
            run: PUBLISHERS.fetch_add(1, Ordering::Relaxed),
            batches: 0,
        }
    }

    /// Makes it use TLS, and trust this CA.
    pub fn trust(&mut self, ca: &str) {
        self.options.tls.ca = Some(ca.into());
    }

    /// Publishes some records and waits until they are in the stream.
    pub fn publish(&mut self, records: &[u8]) {
        self.batches += 1;
        let id = format!("a.{}.{}", self.run, self.batches);
        let mut block = Vec::new();
        headers::write(&mut block, &[("Nats-Msg-Id", &id)]);
        let deadline = Instant::now() + DEADLINE;
        while !self.is_stored(&block, records) {
            assert!(Instant::now() < deadline, "no node stores batch {id}");
        }
    }

    fn is_stored(&mut self, block: &[u8], records: &[u8]) -> bool {
        let client = self.client.take();
        let client = client.map_or_else(|| Client::connect(&self.options, "publisher"), Ok);
        let Ok(mut client) = client else { return false };
        let subject = format!("{STREAM}.a");
        let Ok(answer) = client.request(&subject, block, records, Duration::from_secs(1)) else {
            return false;
        };
        let answer = Answer::<PubAck>::parse(answer.headers(), &answer.payload);
        self.client = Some(client);
        matches!(answer, Answer::Yes(_))
    }
}
