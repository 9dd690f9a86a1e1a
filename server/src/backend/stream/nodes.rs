//! The choice of the next node of the cluster to connect to, and the backoff before it.

use std::time::Duration;

use fastrand::Rng;
use nats::address::Address;

/// The backoff after all nodes have failed. It doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest backoff.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The maximum number of remembered nodes. A node could report any number of them.
const MAX: usize = 64;

/// The nodes of a cluster: the configured ones, and those that these have reported.
#[derive(Debug)]
pub struct Nodes {
    typed: Vec<Address>,
    told: Vec<Address>,
    /// The index of the next one, counted through both lists.
    next: usize,
    /// Consecutive failed attempts.
    failures: usize,
    jitter: Rng,
}

impl Nodes {
    /// Begins with a random node, so that the servers of a line log spread over the cluster.
    pub fn new(typed: Vec<Address>) -> Self {
        let mut jitter = Rng::new();
        let next = jitter.usize(..typed.len().max(1));
        Self {
            typed,
            told: Vec::new(),
            next,
            failures: 0,
            jitter,
        }
    }

    /// The next node, in turn.
    pub fn choose(&mut self) -> Address {
        let all = self.typed.len() + self.told.len();
        let index = self.next % all;
        self.next = index + 1;
        let told = index.checked_sub(self.typed.len());
        told.map_or_else(|| &self.typed[index], |told| &self.told[told])
            .clone()
    }

    /// The backoff after a failed attempt. It is zero until all nodes have failed.
    pub fn pause_after_failure(&mut self) -> Duration {
        self.failures += 1;
        let all = self.typed.len() + self.told.len();
        let rounds = self.failures / all;
        if rounds == 0 {
            return Duration::ZERO;
        }
        let pause = FIRST_PAUSE * (1 << rounds.min(10)) / 2;
        // Jitter: many servers of a line log must not reconnect at the same time.
        pause.min(MAX_PAUSE).mul_f64(self.jitter.f64() / 2.0 + 0.5)
    }

    /// Resets the backoff: a node is usable.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Adds nodes that a node has reported, as `HOST:PORT`.
    pub fn learn(&mut self, places: &[String]) {
        let Some(first) = self.typed.first() else {
            return;
        };
        let siblings = places.iter().filter_map(|place| first.sibling(place));
        let is_typed = |it: &Address| {
            let mut typed = self.typed.iter();
            typed.any(|typed| typed.host == it.host && typed.port == it.port)
        };
        self.told = siblings.filter(|it| !is_typed(it)).take(MAX).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(typed: &[&str]) -> Nodes {
        let typed = typed.iter().map(|url| url.parse().unwrap()).collect();
        let mut nodes = Nodes::new(typed);
        nodes.next = 0;
        nodes
    }

    #[test]
    fn each_is_tried_in_turn_and_then_there_is_a_pause() {
        let mut nodes = nodes(&["a", "b"]);
        nodes.learn(&["c:1".to_owned(), "a:4222".to_owned(), "?".to_owned()]);
        let mut tried = || nodes.choose().to_string();
        let order = [tried(), tried(), tried(), tried()];
        assert_eq!(
            order,
            [
                "nats://a:4222",
                "nats://b:4222",
                "nats://c:1",
                "nats://a:4222"
            ]
        );
        let mut pause = || nodes.pause_after_failure();
        assert_eq!([pause(), pause()], [Duration::ZERO; 2]);
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let pause = pause();
            assert!(pause >= FIRST_PAUSE / 2 && pause <= MAX_PAUSE);
            longest = longest.max(pause);
        }
        assert!(longest > MAX_PAUSE / 2);
        nodes.succeeded();
        assert_eq!(nodes.pause_after_failure(), Duration::ZERO);
    }

    #[test]
    fn who_tells_of_many_is_not_believed() {
        let mut nodes = nodes(&["a"]);
        let many: Vec<_> = (1..10_000).map(|port| format!("b:{port}")).collect();
        nodes.learn(&many);
        assert_eq!(nodes.told.len(), MAX);
    }
}
