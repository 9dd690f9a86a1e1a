//! Identities of publishers: the name of a server, a run of it, and a batch of that run.

use std::time::{SystemTime, UNIX_EPOCH};

/// One run of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    run: u64,
}

/// A batch of any run of this server. Later batches compare as greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId {
    /// The number of the run, from the clock in nanoseconds.
    pub run: u64,
    /// The number of the batch, from 1.
    pub number: u64,
}

impl Identity {
    /// A new run of the server. It is later than the run of `last`, whatever the clock says. If the clock is
    /// behind, a random part keeps apart two runs that follow the same run.
    pub fn new(name: &str, last: Option<BatchId>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_nanos() as u64);
        let ahead = fastrand::u64(1..=1 << 32);
        let run = now.max(last.map_or(0, |last| last.run.saturating_add(ahead)));
        Self::of_run(name, run)
    }

    /// The run with this number.
    pub fn of_run(name: &str, run: u64) -> Self {
        let name = name.to_owned();
        Self { name, run }
    }

    /// The number of the run.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// The ID of a batch of this run.
    pub fn batch(&self, number: u64) -> BatchId {
        let run = self.run;
        BatchId { run, number }
    }

    /// The message ID of a batch: `NAME.RUN.N`.
    pub fn text(&self, batch: BatchId) -> String {
        format!("{}.{}.{}", self.name, batch.run, batch.number)
    }

    /// The batch that a message ID stands for, if it is one of this server, of any run.
    pub fn recognise(&self, text: &str) -> Option<BatchId> {
        recognise(&self.name, text)
    }
}

/// The batch that a message ID stands for, if it is one of the server `name`.
pub fn recognise(name: &str, text: &str) -> Option<BatchId> {
    let (run, number) = text.strip_prefix(name)?.strip_prefix('.')?.split_once('.')?;
    let number = number.parse().ok()?;
    let run = run.parse().ok()?;
    Some(BatchId { run, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_recognised() {
        let me = Identity::of_run("web-1", 7);
        let shown = me.text(me.batch(3));
        assert_eq!(shown, "web-1.7.3");
        assert_eq!(me.recognise(&shown), Some(BatchId { run: 7, number: 3 }));
        for foreign in ["web-2.7.3", "web-1.7", "web-1.7.x", "web-1", "", "web-17.3", "web-1.7.3.4"]
        {
            assert_eq!(me.recognise(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_run_is_later_than_the_one_before_even_if_the_clock_is_not() {
        let first = Identity::new("a", None);
        let last = BatchId { run: u64::MAX - 1, number: 9 };
        assert_eq!(Identity::new("a", Some(last)).run(), u64::MAX);
        let last = BatchId { run: u64::MAX / 2, number: 9 };
        assert_ne!(Identity::new("a", Some(last)), Identity::new("a", Some(last)));
        let last = BatchId { run: first.run(), number: 1 };
        assert!(Identity::new("a", Some(last)).run() > first.run());
        assert!(last < BatchId { run: last.run, number: 2 });
        assert!(BatchId { run: 1, number: 5 } < BatchId { run: 2, number: 1 });
    }
}
