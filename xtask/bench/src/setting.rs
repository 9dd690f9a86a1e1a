//! Loads that are put on a server.

use std::fmt;
use std::time::Duration;

/// A load: connections, pipelining and length of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setting {
    pub(crate) connections: usize,
    /// Unanswered messages per connection.
    pub(crate) pipeline: usize,
    /// The number of additional clients that send nothing.
    pub(crate) idle: usize,
    /// The length of a message in bytes.
    pub(crate) bytes: usize,
}

/// Connections, unanswered messages on each, idle clients: `50x1+18000`.
const LOADS: [(usize, usize, usize); 7] = [
    (1, 1, 0),
    (50, 1, 0),
    (50, 16, 0),
    (50, 128, 0),
    (1000, 1, 0),
    (10_000, 1, 0),
    (50, 1, 18_000),
];

/// The lengths of messages in bytes.
const SIZES: [usize; 2] = [21, 1000];

/// The loads of a `-quick` run.
pub(crate) const QUICK: &str = "50x1,50x16,50x128,1000x1";

impl Setting {
    /// Every load at every length.
    pub(crate) fn all() -> Vec<Self> {
        let of_size = |bytes| {
            let setting = move |(connections, pipeline, idle)| Self {
                connections,
                pipeline,
                idle,
                bytes,
            };
            LOADS.map(setting)
        };
        SIZES.into_iter().flat_map(of_size).collect()
    }

    /// The bytes of log that the load produces in `time`: a rough upper bound.
    pub(crate) fn log_bytes(self, time: Duration) -> u64 {
        let per_second = match self.pipeline {
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

/// `50x1+18000:21`, as in `-settings` and in the JSON.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.pipeline)?;
        if self.idle > 0 {
            write!(f, "+{}", self.idle)?;
        }
        write!(f, ":{}", self.bytes)
    }
}

impl Setting {
    /// The load in words.
    pub(crate) fn title(self) -> String {
        let idle = match self.idle {
            0 => String::new(),
            n => format!(" beside {n} idle clients"),
        };
        let Self {
            connections,
            pipeline,
            bytes,
            ..
        } = self;
        format!("{connections} x {pipeline}{idle}, messages of {bytes} bytes")
    }

    /// Whether `name` means this load: `50x1:21`, or `50x1` for all lengths.
    pub(crate) fn is_called(self, name: &str) -> bool {
        let own = self.to_string();
        own == name || own.rsplit_once(':').is_some_and(|(load, _)| load == name)
    }
}
