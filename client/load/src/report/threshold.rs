//! Conditions of `-fail-if`: a limit for a figure, e.g. `p99>5ms`.

use crate::drive::figures::Latency;
use crate::report::{Report, ThresholdResult};
use common::units::parse_latency;

/// A metric, a comparison and a value. The run fails if the condition holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    text: String,
    metric: Metric,
    operator: Operator,
    /// In nanoseconds for latencies.
    value: f64,
}

#[derive(Clone, Copy, Debug)]
enum Metric {
    /// A count or a rate, without unit.
    Plain(fn(&Report) -> f64),
    /// A latency of acknowledged messages.
    Latency(fn(&Latency) -> u64),
    /// A delay of sending.
    Lag(fn(&Latency) -> u64),
}

impl PartialEq for Metric {
    /// Metrics are distinguished by their names, in [`Threshold::text`].
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

const METRICS: &[(&str, Metric)] = &[
    ("rate", Metric::Plain(|r| r.throughput.messages_per_s)),
    ("sent", Metric::Plain(|r| r.messages.sent as f64)),
    (
        "acknowledged",
        Metric::Plain(|r| r.messages.acknowledged as f64),
    ),
    ("errors", Metric::Plain(|r| r.messages.errors as f64)),
    ("timeouts", Metric::Plain(|r| r.messages.timeouts as f64)),
    (
        "unanswered",
        Metric::Plain(|r| r.messages.unanswered as f64),
    ),
    ("lost", Metric::Plain(|r| r.connections.lost as f64)),
    ("min", Metric::Latency(|l| l.min)),
    ("mean", Metric::Latency(|l| l.mean)),
    ("p50", Metric::Latency(|l| l.p50)),
    ("p90", Metric::Latency(|l| l.p90)),
    ("p99", Metric::Latency(|l| l.p99)),
    ("p99.9", Metric::Latency(|l| l.p99_9)),
    ("p99.99", Metric::Latency(|l| l.p99_99)),
    ("max", Metric::Latency(|l| l.max)),
    ("lag", Metric::Lag(|l| l.p99)),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Longer operators first, so that `>=` is not read as `>`.
const OPERATORS: &[(&str, Operator)] = &[
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
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
            .filter_map(|&(sign, operator)| Some((text.find(sign)?, sign, operator)))
            .min_by_key(|&(at, sign, _)| (at, usize::MAX - sign.len()));
        let Some((at, sign, operator)) = operator else {
            return Err("METRIC OP VALUE, e.g. p99>5ms, OP one of < <= > >= == !=".to_owned());
        };
        let (name, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let Some(&(_, metric)) = METRICS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<_> = METRICS.iter().map(|(name, _)| *name).collect();
            return Err(format!("a metric ({})", names.join(", ")));
        };
        let plain = || value.parse().ok().filter(|value: &f64| value.is_finite());
        let (value, expected) = match metric {
            Metric::Plain(_) => (plain(), "a number without unit"),
            _ => (
                parse_latency(value),
                "a time with unit, e.g. 300us, 5ms, 1s",
            ),
        };
        let value = value.ok_or_else(|| format!("{expected} after {name}{sign}"))?;
        Ok(Self {
            text: text.to_owned(),
            metric,
            operator,
            value,
        })
    }

    /// Applies the condition to a run. A figure that does not exist, such as the latency of no
    /// message, fails: nothing was measured.
    pub(crate) fn judge(&self, report: &Report) -> ThresholdResult {
        let latency = |latency: Option<&Latency>, pick: fn(&Latency) -> u64| {
            latency.map(|latency| pick(latency) as f64)
        };
        let value = match self.metric {
            Metric::Plain(pick) => Some(pick(report)),
            Metric::Latency(pick) => latency(report.latency_ns.as_ref(), pick),
            Metric::Lag(pick) => {
                let open_loop = report.open_loop.as_ref();
                latency(open_loop.and_then(|open| open.lag_ns.as_ref()), pick)
            }
        };
        ThresholdResult {
            expression: self.text.clone(),
            value,
            failed: value.is_none_or(|value| self.operator.holds(value, self.value)),
        }
    }
}

/// Whether the figure in an expression is a time.
pub(crate) fn is_time(expression: &str) -> bool {
    let threshold = Threshold::parse(expression);
    threshold.is_ok_and(|threshold| !matches!(threshold.metric, Metric::Plain(_)))
}

impl Operator {
    #[expect(clippy::float_cmp, reason = "counts compare exactly")]
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::Equal => a == b,
            Self::NotEqual => a != b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_and_operator_is_read() {
        for (name, metric) in METRICS {
            let value = match metric {
                Metric::Plain(_) => "5",
                _ => "5ms",
            };
            for (sign, operator) in OPERATORS {
                for space in ["", " "] {
                    let text = format!("{name}{space}{sign}{space}{value}");
                    let threshold = Threshold::parse(&text).unwrap();
                    assert_eq!(threshold.operator, *operator, "{text}");
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
            (Operator::Less, true, false, false),
            (Operator::LessOrEqual, true, true, false),
            (Operator::Greater, false, false, true),
            (Operator::GreaterOrEqual, false, true, true),
            (Operator::Equal, false, true, false),
            (Operator::NotEqual, true, false, true),
        ] {
            let held = [1.0, 2.0, 3.0].map(|value| operator.holds(value, 2.0));
            assert_eq!(held, [less, equal, greater], "{operator:?}");
        }
    }
}
