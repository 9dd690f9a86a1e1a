//! The launcher's interface to the client: the ranges of its options, and its last line, which people read as
//! well.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::units::{count, latency};

/// The range of `-nt`.
pub const THREADS: RangeInclusive<usize> = 1..=100_000;

/// The range of `-ni`.
pub const ROUNDS: RangeInclusive<u64> = 1..=u64::MAX;

/// The result of a client, which its last line on stderr shows after `client: `.
///
/// Parsed from its text, it is exact in the number of messages, and has three digits in times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The number of acknowledged messages.
    pub messages: u64,
    /// The time from just before the first message to the last reply.
    pub time: Duration,
    /// The median round trip.
    pub median: Duration,
    /// The longest round trip.
    pub worst: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.messages == 1 { "" } else { "s" };
        write!(
            f,
            "{} message{s} acknowledged in {}, round trip median {}, worst {}",
            count(self.messages),
            Time(self.time),
            Time(self.median),
            Time(self.worst)
        )
    }
}

impl FromStr for Summary {
    type Err = NotASummary;

    fn from_str(line: &str) -> Result<Self, NotASummary> {
        let parse = || {
            let (messages, rest) = line.split_once(" message")?;
            let (time, rest) = rest
                .trim_start_matches('s')
                .strip_prefix(" acknowledged in ")?
                .split_once(", round trip median ")?;
            let (median, worst) = rest.split_once(", worst ")?;
            Some(Self {
                messages: messages.replace(',', "").parse().ok()?,
                time: Time::parse(time)?.0,
                median: Time::parse(median)?.0,
                worst: Time::parse(worst)?.0,
            })
        };
        parse().ok_or(NotASummary)
    }
}

/// The error for text that is not that of a [`Summary`].
#[derive(Debug, PartialEq, Eq)]
pub struct NotASummary;

impl fmt::Display for NotASummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a client's summary")
    }
}

impl std::error::Error for NotASummary {}

/// A duration with three digits and a suitable unit, e.g. `58.1 µs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// The units, in nanoseconds.
const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&latency(self.0.as_nanos() as f64))
    }
}

impl Time {
    fn parse(text: &str) -> Option<Self> {
        let (value, unit) = text.split_once(' ')?;
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let seconds = value.parse::<f64>().ok()? * size / 1e9;
        Duration::try_from_secs_f64(seconds).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (nanos, text) in [
            (0, "0 ns"),
            (850, "850 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_994, "9.99 µs"),
            (9_996, "10.0 µs"),
            (58_140, "58.1 µs"),
            (99_960, "100 µs"),
            (999_400, "999 µs"),
            (999_600, "1.00 ms"),
            (12_345_678, "12.3 ms"),
            (1_500_000_000, "1.50 s"),
            (4_321_000_000_000, "4321 s"),
        ] {
            assert_eq!(Time(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn a_summary_can_be_read_back() {
        for (messages, expected) in [
            (1, "1 message acknowledged in 3.21 ms, round trip median 58.1 µs, worst 412 µs"),
            (50, "50 messages acknowledged in 3.21 ms, round trip median 58.1 µs, worst 412 µs"),
        ] {
            let summary = Summary {
                messages,
                time: Duration::from_micros(3_210),
                median: Duration::from_nanos(58_100),
                worst: Duration::from_micros(412),
            };
            assert_eq!(summary.to_string(), expected);
            assert_eq!(expected.parse(), Ok(summary));
        }
    }

    #[test]
    fn other_lines_are_no_summary() {
        for line in [
            "",
            "50 messages",
            "cannot connect to localhost port 2005",
            "x messages acknowledged in 1 s, round trip median 1 s, worst 1 s",
            "1 message acknowledged in 1 h, round trip median 1 s, worst 1 s",
            "1 message acknowledged in -1 s, round trip median 1 s, worst 1 s",
            "1 message acknowledged in 1 s, round trip median 1 s, worst 1e99 s",
        ] {
            assert_eq!(line.parse::<Summary>(), Err(NotASummary), "{line}");
        }
    }
}
