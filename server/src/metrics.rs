//! Metrics and health, as responses over HTTP. Metrics are in the text format of Prometheus, with its
//! conventions for names and units.

use std::fmt;

use http::{Page, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::distribution::Distribution;
use crate::snapshot::Snapshot;

/// The response to a request. `health` returns why messages are not stored, if they are not.
pub fn respond(
    page: Page,
    health: impl Fn() -> Option<String>,
    snapshot: impl Fn() -> Snapshot,
) -> Response {
    match page {
        Page::Metrics => Response {
            status: "200 OK",
            content_type: prometheus_text::CONTENT_TYPE,
            body: exposition(snapshot()),
        },
        Page::Health => match health() {
            None => Response::line("200 OK", "ok"),
            Some(why) => Response::line("503 Service Unavailable", &why),
        },
    }
}

/// All figures as text.
fn exposition(snapshot: Snapshot) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    // Writing to a String cannot fail.
    _ = prometheus_text::encode(&mut text, &registry);
    text
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Exposition(encoder);
        self.encode_messages(&mut out)?;
        self.encode_clients(&mut out)?;
        self.encode_log(&mut out)?;
        self.encode_stream(&mut out)?;
        self.encode_process(&mut out)
    }
}

impl Snapshot {
    fn encode_messages(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let stats = &self.figures.stats;
        let help = "Messages that are in the log";
        out.counter("linelog_messages", help, stats.committed)?;
        let help = "Messages whose ok was sent";
        out.counter("linelog_acknowledged", help, stats.acknowledged)?;
        let help = "Messages and clients that were answered with an error, by its code";
        out.counters("linelog_errors", help, "code", &stats.errors.by_code)?;
        let help = "Records that were not shown because the terminal was slow";
        let skipped = self.terminal_skipped;
        out.counter("linelog_terminal_skipped_records", help, skipped)
    }

    fn encode_clients(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let clients = &self.figures.stats.clients;
        let help = "Clients that are connected";
        out.gauge("linelog_connected_clients", help, self.connected as f64)?;
        let help = "Clients that may be connected";
        out.gauge("linelog_max_clients", help, self.max_clients as f64)?;
        let help = "Clients that were served: they got as far as a message";
        out.counter("linelog_clients", help, clients.served)?;
        let reasons = [
            ("limit", clients.over_limit),
            ("not-allowed", clients.not_allowed),
            ("proxy-malformed", clients.proxy_malformed),
            ("proxy-untrusted", clients.proxy_untrusted),
            ("http", clients.http),
            ("tls-mismatch", clients.tls_mismatched),
            ("handshake", clients.handshakes_failed),
        ];
        let help = "Clients that were not served";
        out.counters("linelog_refused_clients", help, "reason", &reasons)?;
        let outcomes = [("done", clients.handshakes), ("failed", clients.handshakes_failed)];
        let help = "TLS handshakes";
        out.counters("linelog_tls_handshakes", help, "outcome", &outcomes)
    }

    fn encode_log(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let commits = &self.figures.stats.commits;
        let help = "Bytes of records that were written to the log";
        out.counter("linelog_written_bytes", help, commits.bytes)?;
        let help = "How long it takes to write a batch, and to sync it with -sync";
        let (unit, durations) = (&Unit::Seconds, &commits.seconds);
        out.histogram("linelog_commit_duration", help, unit, durations)?;
        let help = "The sizes of committed batches";
        let (unit, sizes) = (&Unit::Bytes, &commits.batch_bytes);
        out.histogram("linelog_batch_size", help, unit, sizes)?;
        if let Some(seconds) = self.last_commit {
            let help = "When the log was last written, in Unix time";
            out.gauge("linelog_last_commit_timestamp_seconds", help, seconds)?;
        }
        let help = "Whether the log takes messages: what /health says";
        let is_healthy = u8::from(self.unhealthy.is_none());
        out.gauge("linelog_healthy", help, is_healthy.into())?;
        if let Some(bytes) = self.log.length {
            let help = "The length of the log";
            out.gauge("linelog_log_size_bytes", help, bytes as f64)?;
        }
        if let Some(bytes) = self.log.free {
            let help = "Free bytes on the log's disk for users other than root";
            out.gauge("linelog_log_free_bytes", help, bytes as f64)?;
        }
        let help = "How often the log was reopened by its name, as after SIGHUP";
        out.counter("linelog_reopenings", help, self.log.reopened)?;
        let help = "Rotations of the log by the server itself";
        out.counter("linelog_rotations", help, self.figures.rotations)
    }

    fn encode_stream(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let Some(stream) = &self.log.stream else {
            return Ok(());
        };
        let help = "Whether there is a connection to a NATS node";
        let is_connected = u8::from(stream.connected);
        out.gauge("linelog_stream_connected", help, is_connected.into())?;
        let help = "Connections to NATS nodes that became usable";
        out.counter("linelog_stream_connections", help, stream.connections)?;
        let help = "Attempts to store a batch; more than there are batches if some were retried";
        out.counter("linelog_stream_attempts", help, stream.attempts)?;
        let help = "Messages that may or may not be stored; their clients were closed";
        out.counter("linelog_unknown_messages", help, stream.unknown)
    }

    fn encode_process(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let turns = self.figures.stats.turns;
        out.counter("linelog_turns", "Turns of the loop", turns)?;
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("LINE_LOG_COMMIT"))];
        let mut info = out.0.encode_descriptor(
            "linelog_build_info",
            "The program that is running",
            None,
            MetricType::Gauge,
        )?;
        info.encode_family(&labels)?.encode_gauge(&1_i64)?;
        let help = "When it began, in Unix time";
        out.gauge("process_start_time_seconds", help, self.started)?;
        let help = "CPU time of the program, and of the kernel on its behalf";
        out.counter("process_cpu_seconds", help, self.process.cpu_seconds)?;
        if let Some(bytes) = self.process.resident_bytes {
            let bytes = bytes as f64;
            out.gauge("process_resident_memory_bytes", "Memory it has", bytes)?;
        }
        let open = self.process.open_descriptors as f64;
        out.gauge("process_open_fds", "Descriptors it has open", open)?;
        let most = self.process.max_descriptors as f64;
        out.gauge("process_max_fds", "Descriptors it may have open", most)
    }
}

/// Writes metrics one after another.
struct Exposition<'a>(DescriptorEncoder<'a>);

impl Exposition<'_> {
    fn metric(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, metric.metric_type());
        metric.encode(encoder?)
    }

    fn counter<N>(&mut self, name: &str, help: &str, value: N) -> fmt::Result
    where
        ConstCounter<N>: EncodeMetric,
    {
        self.metric(name, help, &ConstCounter::new(value))
    }

    /// One counter for each value of a label.
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> fmt::Result {
        let family = self.0.encode_descriptor(name, help, None, MetricType::Counter);
        let mut family: MetricEncoder<'_> = family?;
        for (value, count) in values {
            let labels = [(label, *value)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.metric(name, help, &ConstGauge::new(value))
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: &Unit,
        values: &Distribution,
    ) -> fmt::Result {
        // The bucket `+Inf` follows from the count.
        let buckets: Vec<_> = values.buckets().filter(|(bound, _)| bound.is_finite()).collect();
        let encoder = self.0.encode_descriptor(name, help, Some(unit), MetricType::Histogram);
        encoder?.encode_histogram::<NoLabelSet>(values.sum(), values.count(), &buckets, None)
    }
}
