//! A publisher to the stream LOG that publishes like a server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nats::client::Client;
use nats::headers;
use nats::jetstream::{Answer, PubAck};
use nats::options::Options;

use crate::stream_log::STREAM;
use crate::wait::wait_until;

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
            options: Options { urls, ..Options::default() },
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
        wait_until(&format!("batch {id}"), || self.is_stored(&block, records));
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
