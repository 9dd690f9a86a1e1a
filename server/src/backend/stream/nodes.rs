//! The choice of the next node of the cluster to connect to, and the backoff before it.

use std::time::{Duration, Instant};

use common::backoff::Backoff;
use fastrand::Rng;
use nats::address::Address;

/// The shortest and the longest pause between two rounds through all nodes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The maximum number of remembered nodes. A node could report any number of them.
const MAX: usize = 64;

/// The nodes of a cluster: the configured ones, and those that these have reported.
#[derive(Debug)]
pub struct Nodes {
    configured: Vec<Address>,
    reported: Vec<Address>,
    /// The index of the next one, counted through both lists.
    next: usize,
    /// Failed attempts in this round.
    failures: usize,
    /// The backoff since a first round failed.
    backoff: Option<Backoff>,
    jitter: Rng,
}

impl Nodes {
    /// Begins with a random node, so that the servers of a line log spread over the cluster.
    pub fn new(configured: Vec<Address>) -> Self {
        let mut jitter = Rng::new();
        let next = jitter.usize(..configured.len().max(1));
        Self { configured, reported: Vec::new(), next, failures: 0, backoff: None, jitter }
    }

    /// The next node, in turn.
    pub fn choose(&mut self) -> Address {
        let index = self.next % self.count();
        self.next = index + 1;
        let reported = index.checked_sub(self.configured.len());
        let node = reported.map_or_else(|| &self.configured[index], |at| &self.reported[at]);
        node.clone()
    }

    fn count(&self) -> usize {
        self.configured.len() + self.reported.len()
    }

    /// When the next node may be tried after a failed attempt: at once, until all nodes have failed.
    pub fn next_attempt(&mut self, now: Instant) -> Instant {
        self.failures += 1;
        if self.failures < self.count() {
            return now;
        }
        self.failures = 0;
        let begin = || Backoff::begin(SHORTEST_PAUSE, LONGEST_PAUSE, now);
        let backoff = self.backoff.get_or_insert_with(begin);
        backoff.postpone(now, self.jitter.f64());
        backoff.next()
    }

    /// Resets the backoff: a node is usable.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.backoff = None;
    }

    /// Adds nodes that a node has reported, as `HOST:PORT`.
    pub fn learn(&mut self, addresses: &[String]) {
        let Some(first) = self.configured.first() else {
            return;
        };
        let siblings = addresses.iter().filter_map(|address| first.sibling(address));
        let is_configured = |it: &Address| {
            let mut configured = self.configured.iter();
            configured.any(|configured| configured.host == it.host && configured.port == it.port)
        };
        self.reported = siblings.filter(|it| !is_configured(it)).take(MAX).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(configured: &[&str]) -> Nodes {
        let configured = configured.iter().map(|url| url.parse().unwrap()).collect();
        let mut nodes = Nodes::new(configured);
        nodes.next = 0;
        nodes
    }

    #[test]
    fn each_is_tried_in_turn_with_a_pause_after_each_round() {
        let mut nodes = nodes(&["a", "b"]);
        nodes.learn(&["c:1".to_owned(), "a:4222".to_owned(), "?".to_owned()]);
        let mut tried = || nodes.choose().to_string();
        let order = [tried(), tried(), tried(), tried()];
        assert_eq!(order, ["nats://a:4222", "nats://b:4222", "nats://c:1", "nats://a:4222"]);
        let now = Instant::now();
        for round in 0..10 {
            for _ in 1..nodes.count() {
                assert_eq!(nodes.next_attempt(now), now);
            }
            let pause = nodes.next_attempt(now) - now;
            let longest = (SHORTEST_PAUSE * (1 << round)).min(LONGEST_PAUSE);
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
        }
        nodes.succeeded();
        assert_eq!(nodes.next_attempt(now), now);
    }

    #[test]
    fn the_number_of_reported_nodes_is_bounded() {
        let mut nodes = nodes(&["a"]);
        let many: Vec<_> = (1..10_000).map(|port| format!("b:{port}")).collect();
        nodes.learn(&many);
        assert_eq!(nodes.reported.len(), MAX);
    }
}
