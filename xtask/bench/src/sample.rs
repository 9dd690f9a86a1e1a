//! The result of one measurement.

use serde_json::Value;

/// What one measurement found. Latencies are in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Acknowledged lines, or handshakes.
    pub(crate) messages: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    /// CPU seconds of the server; none if it had other clients meanwhile.
    pub(crate) cpu: Option<f64>,
    pub(crate) peak_memory: Option<f64>,
    /// As `client load` reports it.
    pub(crate) machine: Value,
    /// The share of the machine's CPU time that other processes took; 0 if unknown.
    pub(crate) disturbance: f64,
    /// Growth of the server's anonymous memory, in bytes per idle client.
    pub(crate) bytes_per_idle_client: Option<f64>,
    /// The mean number of busy CPUs of all NATS nodes together.
    pub(crate) nodes_cpus: Option<f64>,
}

/// A sample, or why there is none, for the user.
pub(crate) type Measurement = Result<Sample, String>;

/// A measurement is disturbed if other processes took a larger share of the machine than this.
const DISTURBED: f64 = 0.05;

impl Sample {
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbance > DISTURBED
    }
}

#[cfg(test)]
impl Sample {
    /// A sample of half a second.
    pub(crate) fn of_test(messages: f64, p50: f64) -> Self {
        Self {
            seconds: 0.5,
            messages,
            p50,
            p99: 2.0 * p50,
            p99_9: 3.0 * p50,
            cpu: Some(0.4),
            peak_memory: Some(messages),
            nodes_cpus: Some(1.5),
            ..Self::default()
        }
    }
}
