//! Conditions of `-fail-if`: a limit for a figure, e.g. `p99>5ms`.

use common::units::parse_latency;
use serde_json::Value;

use super::data::ThresholdResult;

/// A metric, a comparison and a value. The run fails if the condition holds.
#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    text: String,
    metric: &'static Metric,
    holds: Comparison,
    /// In nanoseconds for latencies.
    value: f64,
}

/// A name, the place of the figure in the report's JSON, and its unit.
type Metric = (&'static str, &'static str, Unit);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    /// A count or a rate.
    None,
    Time,
}

const METRICS: &[Metric] = &[
    ("rate", "/throughput/messages_per_s", Unit::None),
    ("sent", "/messages/sent", Unit::None),
    ("acknowledged", "/messages/acknowledged", Unit::None),
    ("errors", "/messages/errors", Unit::None),
    ("timeouts", "/messages/timeouts", Unit::None),
    ("unanswered", "/messages/unanswered", Unit::None),
    ("lost", "/connections/lost", Unit::None),
    ("min", "/latency_ns/min", Unit::Time),
    ("mean", "/latency_ns/mean", Unit::Time),
    ("p50", "/latency_ns/p50", Unit::Time),
    ("p90", "/latency_ns/p90", Unit::Time),
    ("p99", "/latency_ns/p99", Unit::Time),
    ("p99.9", "/latency_ns/p99_9", Unit::Time),
    ("p99.99", "/latency_ns/p99_99", Unit::Time),
    ("max", "/latency_ns/max", Unit::Time),
    ("lag", "/open_loop/lag_ns/p99", Unit::Time),
];

/// Whether a figure and a value compare as the operator says.
type Comparison = fn(f64, f64) -> bool;

/// Longer operators first, so that `>=` is not read as `>`.
#[expect(clippy::float_cmp, reason = "counts compare exactly")]
const OPERATORS: [(&str, Comparison); 7] = [
    ("<=", |a, b| a <= b),
    (">=", |a, b| a >= b),
    ("==", |a, b| a == b),
    ("!=", |a, b| a != b),
    ("<", |a, b| a < b),
    (">", |a, b| a > b),
    ("=", |a, b| a == b),
];

impl Threshold {
    /// Parses `METRIC OP VALUE`.
    ///
    /// # Errors
    ///
    /// The text says what was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let operator = OPERATORS
            .iter()
            .filter_map(|&(sign, holds)| Some((text.find(sign)?, sign, holds)))
            .min_by_key(|&(at, sign, _)| (at, usize::MAX - sign.len()));
        let Some((at, sign, holds)) = operator else {
            return Err("METRIC OP VALUE, e.g. p99>5ms, OP one of < <= > >= == !=".to_owned());
        };
        let (name, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let Some(metric) = METRICS.iter().find(|metric| metric.0 == name) else {
            let names: Vec<_> = METRICS.iter().map(|metric| metric.0).collect();
            return Err(format!("a metric ({})", names.join(", ")));
        };
        let plain = || value.parse().ok().filter(|value: &f64| value.is_finite());
        let (value, expected) = match metric.2 {
            Unit::None => (plain(), "a number without unit"),
            Unit::Time => (parse_latency(value), "a time with unit, e.g. 300us, 5ms, 1s"),
        };
        let value = value.ok_or_else(|| format!("{expected} after {name}{sign}"))?;
        Ok(Self { text: text.to_owned(), metric, holds, value })
    }

    /// Applies the condition to the JSON of a run. A figure that does not exist, such as the latency
    /// of no message, fails: nothing was measured.
    pub(crate) fn judge(&self, report: &Value) -> ThresholdResult {
        let value = report.pointer(self.metric.1).and_then(Value::as_f64);
        ThresholdResult {
            expression: self.text.clone(),
            value,
            failed: value.is_none_or(|value| (self.holds)(value, self.value)),
        }
    }
}

/// Whether the figure in an expression is a time.
pub(crate) fn is_time(expression: &str) -> bool {
    let threshold = Threshold::parse(expression);
    threshold.is_ok_and(|threshold| threshold.metric.2 == Unit::Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_and_operator_is_read() {
        for (name, _, unit) in METRICS {
            let value = match unit {
                Unit::None => "5",
                Unit::Time => "5ms",
            };
            for (sign, holds) in OPERATORS {
                for space in ["", " "] {
                    let text = format!("{name}{space}{sign}{space}{value}");
                    let threshold = Threshold::parse(&text).unwrap();
                    for value in [4.0, 5.0, 6.0].map(|value| value * threshold.value / 5.0) {
                        let expected = holds(value, threshold.value);
                        assert_eq!((threshold.holds)(value, threshold.value), expected, "{text}");
                    }
                    assert_eq!(is_time(&text), value == "5ms", "{text}");
                }
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("p99", "METRIC OP VALUE"),
            ("", "METRIC OP VALUE"),
            ("p98>5ms", "a metric (rate"),
            ("p99>5", "a time with unit, e.g. 300us, 5ms, 1s after p99>"),
            ("p99>", "a time with unit"),
            ("errors>5ms", "a number without unit after errors>"),
            ("errors>>5", "a number without unit"),
        ] {
            let error = Threshold::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn operators_hold_where_they_should() {
        for (operator, less, equal, greater) in [
            ("<", true, false, false),
            ("<=", true, true, false),
            (">", false, false, true),
            (">=", false, true, true),
            ("==", false, true, false),
            ("!=", true, false, true),
        ] {
            let threshold = Threshold::parse(&format!("errors{operator}2")).unwrap();
            let held = [1.0, 2.0, 3.0].map(|value| (threshold.holds)(value, threshold.value));
            assert_eq!(held, [less, equal, greater], "{operator}");
        }
    }
}
