//! The loads: what clients do with a server during a measurement. `tables/loads.json` has a row for each.

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

/// A load.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Load {
    /// The name in `-settings` and in the JSON: `CONNECTIONSxUNANSWERED:BYTES`, or words.
    pub(crate) name: &'static str,
    /// The load in words.
    pub(crate) title: &'static str,
    pub(crate) connections: usize,
    /// Unanswered messages per connection.
    pub(crate) pipeline: usize,
    /// The length of a message.
    pub(crate) bytes: usize,
    /// Messages or handshakes per second; the latency of messages counts from the planned time. None: each
    /// is sent when a reply makes room for it.
    pub(crate) rate: Option<u32>,
    /// Full TLS handshakes instead of messages, one after the other.
    pub(crate) is_handshakes: bool,
    /// More clients, which only connect.
    pub(crate) idle: usize,
    /// Another load, which runs meanwhile and does not count.
    beside: Option<&'static str>,
    /// A shorter measurement would have too few messages for a percentile.
    pub(crate) min_seconds: u64,
    /// It is part of a `-quick` run.
    pub(crate) is_quick: bool,
}

/// All loads, in the order of the tables.
pub(crate) static LOADS: LazyLock<Vec<Load>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../tables/loads.json")).expect("a table of loads")
});

impl Load {
    /// Whether `name` means this load: `50x1:21`, or `50x1` for all lengths.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.split(':').next() == Some(name)
    }

    /// The load that runs meanwhile.
    pub(crate) fn beside(&self) -> Option<&'static Self> {
        LOADS.iter().find(|load| Some(load.name) == self.beside)
    }

    /// The bytes of log that the load produces in `time`: a rough upper bound.
    pub(crate) fn log_bytes(&self, time: Duration) -> u64 {
        let per_second = match self.beside().unwrap_or(self).pipeline {
            1 => 250_000,
            2..=16 => 3_000_000,
            _ => 8_000_000,
        };
        // The two records of a message add about 110 bytes to it. The cap: no machine here writes more
        // than two gigabytes a second.
        let bytes = (per_second * (110 + self.bytes as u64)).min(2_000_000_000);
        bytes * time.as_millis() as u64 / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_usable() {
        for load in LOADS.iter() {
            let (connections, pipeline, bytes) = (load.connections, load.pipeline, load.bytes);
            let idle = if load.idle > 0 { format!("+{}", load.idle) } else { String::new() };
            let numbers = format!("{connections}x{pipeline}{idle}:{bytes}");
            let is_special = load.rate.is_some() || load.is_handshakes;
            assert!(is_special || load.name == numbers, "{}", load.name);
            assert_eq!(load.beside().is_some(), load.beside.is_some(), "{}", load.name);
        }
    }
}
