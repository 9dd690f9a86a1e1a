//! Which server of the cluster to try next, and when.

use std::time::Duration;

use fastrand::Rng;
use nats::address::Address;

/// The pause after every server was tried in vain. It doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Nodes beyond so many are not remembered: whoever tells of them may tell anything.
const MAX: usize = 64;

/// The nodes of a cluster: those that were typed, and those that these have told of.
#[derive(Debug)]
pub struct Nodes {
    typed: Vec<Address>,
    told: Vec<Address>,
    /// Which is next, counted through both.
    next: usize,
    /// How many were tried in vain, one after another.
    failures: usize,
    jitter: Rng,
}

impl Nodes {
    /// Begins with any of them, so that the servers of a line log spread.
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

    /// The next one to try: each in turn.
    pub fn choose(&mut self) -> Address {
        let all = self.typed.len() + self.told.len();
        let index = self.next % all;
        self.next = index + 1;
        let told = index.checked_sub(self.typed.len());
        told.map_or_else(|| &self.typed[index], |told| &self.told[told])
            .clone()
    }

    /// How long to wait before the next one is tried, now that this one was in vain: as long as not
    /// all were, not at all.
    pub fn pause_after_failure(&mut self) -> Duration {
        self.failures += 1;
        let all = self.typed.len() + self.told.len();
        let rounds = self.failures / all;
        if rounds == 0 {
            return Duration::ZERO;
        }
        let pause = FIRST_PAUSE * (1 << rounds.min(10)) / 2;
        // Many servers of a line log must not come all at once.
        pause.min(MAX_PAUSE).mul_f64(self.jitter.f64() / 2.0 + 0.5)
    }

    /// One can be used.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// What a server tells of the others, as `HOST:PORT`.
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
