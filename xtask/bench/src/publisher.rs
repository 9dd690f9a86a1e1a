//! Publishers: the peers of a server with a stream. They publish to such a stream without a server.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nats::client::Client;
use nats::headers;
use nats::jetstream::{Answer, PubAck, header};
use nats::options::Options;
use procfs::process::Process;
use rustix::thread::gettid;
use tempfile::TempDir;

use crate::disturbance::{self, TICKS};
use crate::measure::{Sample, WARMUP};
use crate::nodes::{Nodes, STREAM};
use crate::results::percentile;
use crate::running::PATIENCE;
use crate::setting::Setting;
use crate::system::System;

/// What one message of the stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// One line, as an application with a NATS library would publish it. Each line has an ID, so that it
    /// can be published again, and its own acknowledgement. As many are in flight as the setting says.
    Line,
    /// All lines of the setting, as records of the server and with its headers: the upper bound of the
    /// server's throughput. One batch is in flight.
    Batch,
}

/// The largest batch of the server.
const BATCH_BYTES: usize = 512 << 10;

/// The length of a record of the server without its message.
const RECORD_BYTES: usize = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:49030 recieved: \n".len();

/// "Wrong last sequence": the leader has acknowledged the batch before, but still counts it as in flight.
const STILL_UNDER_WAY: u16 = 10164;

/// Publishes for `time` on this thread; errors are for the user.
pub(crate) fn measure(
    system: &System,
    unit: Unit,
    setting: Setting,
    time: Duration,
    root: &Path,
) -> Result<Sample, String> {
    let folder = TempDir::new_in(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let nodes = Nodes::of(system, folder.path())?.ok_or("no stream to publish to")?;
    let mut publisher = Publisher::connect(&nodes.url()?, unit, setting)?;
    let others = disturbance::Watch::begin(nodes.pids());
    let watch = nodes.watch();
    let warmed_up = publisher.run(time / WARMUP);
    let done = warmed_up.and_then(|_| publisher.run(time));
    let mut done = done.map_err(|error| format!("{} at {setting}: {error}", system.name))?;
    let disturbance = others.end().unwrap_or(0.0);
    let nodes = Some(watch.end()?);
    done.latencies.sort_unstable();
    let latency = |per_mille| {
        percentile(&done.latencies, per_mille)
            .ok_or_else(|| format!("{} at {setting}: nothing measured", system.name))
    };
    Ok(Sample {
        seconds: done.seconds,
        messages: done.lines,
        user: done.used.0,
        system: done.used.1,
        p50: latency(500)?,
        p99: latency(990)?,
        p99_9: latency(999)?,
        peak_memory: None,
        per_idle_client: None,
        disturbance,
        nodes,
        machine: None,
    })
}

/// The counts and times of one run.
#[derive(Debug, Default)]
struct Done {
    seconds: f64,
    /// Acknowledged lines.
    lines: u64,
    /// The latency of each acknowledgement, in nanoseconds.
    latencies: Vec<u64>,
    /// CPU seconds, in user and in kernel mode.
    used: (f64, f64),
}

struct Publisher {
    client: Client,
    unit: Unit,
    payload: Vec<u8>,
    /// The number of lines in each message.
    lines: usize,
    /// The number of messages in flight.
    most: usize,
    /// The time at which each was sent, by the subject of its acknowledgement.
    under_way: HashMap<String, Instant>,
    /// The number of the last message, from 1.
    number: u64,
    /// The stream sequence of the last acknowledged message.
    sequence: u64,
}

impl Publisher {
    fn connect(url: &str, unit: Unit, setting: Setting) -> Result<Self, String> {
        let options = Options {
            urls: vec![url.parse()?],
            ..Options::default()
        };
        let lines = setting.connections * setting.pipeline;
        let record = RECORD_BYTES + setting.bytes;
        let in_a_batch = lines.min(BATCH_BYTES / record);
        let (lines, most, bytes) = match unit {
            Unit::Line => (1, lines, setting.bytes),
            Unit::Batch => (in_a_batch, 1, in_a_batch * record),
        };
        Ok(Self {
            client: Client::connect(&options, "bench")?,
            unit,
            payload: vec![b'x'; bytes],
            lines,
            most,
            under_way: HashMap::new(),
            number: 0,
            sequence: 0,
        })
    }

    /// Publishes for `time`, and until as many messages are acknowledged as may be in flight: a slow
    /// stream is measured, too.
    fn run(&mut self, time: Duration) -> io::Result<Done> {
        let (begun, before) = (Instant::now(), used());
        let mut done = Done::default();
        while begun.elapsed() < time || done.latencies.len() < self.most {
            while self.under_way.len() < self.most {
                self.number += 1;
                self.send(Instant::now());
            }
            self.take_answer(&mut done)?;
        }
        done.seconds = begun.elapsed().as_secs_f64();
        if let Some((before, now)) = before.zip(used()) {
            done.used = (now.0 - before.0, now.1 - before.1);
        }
        Ok(done)
    }

    fn take_answer(&mut self, done: &mut Done) -> io::Result<()> {
        let message = self.client.next(Instant::now() + PATIENCE)?;
        let message = message.ok_or(io::ErrorKind::TimedOut)?;
        let Some(since) = self.under_way.remove(&message.subject) else {
            return Err(io::Error::other("an answer that nobody awaits"));
        };
        match Answer::<PubAck>::parse(message.headers(), &message.payload) {
            Answer::Yes(ack) => {
                self.sequence = ack.seq;
                done.lines += self.lines as u64;
                done.latencies.push(since.elapsed().as_nanos() as u64);
            }
            Answer::No(error) if error.err_code == STILL_UNDER_WAY => self.send(since),
            other => return Err(io::Error::other(format!("not acknowledged: {other:?}"))),
        }
        Ok(())
    }

    /// Sends the message with the current number; its latency counts from `since`.
    fn send(&mut self, since: Instant) {
        let id = format!("bench.1.{}", self.number);
        let (count, sequence) = (self.lines.to_string(), self.sequence.to_string());
        let of_a_batch = [
            (header::MESSAGE_ID, id.as_str()),
            (header::EXPECTED_STREAM, STREAM),
            (header::EXPECTED_LAST_SUBJECT_SEQUENCE, &sequence),
            ("Line-Log-Format", "original"),
            ("Line-Log-Count", &count),
        ];
        let fields = match self.unit {
            Unit::Line => &of_a_batch[..1],
            Unit::Batch => &of_a_batch,
        };
        let mut block = Vec::new();
        headers::write(&mut block, fields);
        let subject = format!("{STREAM}.bench");
        let reply = self.client.ask(&subject, &block, &self.payload);
        self.under_way.insert(reply, since);
    }
}

/// CPU seconds of this thread in user and in kernel mode, to about 10 ms; none if `/proc` cannot be read.
fn used() -> Option<(f64, f64)> {
    let own = gettid().as_raw_nonzero().get();
    let thread = Process::myself().ok()?.task_from_tid(own).ok()?;
    let stat = thread.stat().ok()?;
    Some((stat.utime as f64 / TICKS, stat.stime as f64 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system;

    #[test]
    fn lines_and_batches_are_stored_as_they_are_counted() {
        if let Err(why) = cluster::install(cluster::CURRENT) {
            eprintln!("skipped: {why}");
            return;
        }
        let setting = Setting {
            connections: 50,
            pipeline: 16,
            idle: 0,
            bytes: 21,
        };
        let root = TempDir::new().unwrap();
        let time = Duration::from_millis(200);
        for (name, unit, lines, payload) in [
            ("nats-lines-r1", Unit::Line, 1, 21),
            (
                "nats-batches-r1",
                Unit::Batch,
                800,
                800 * (RECORD_BYTES + 21),
            ),
        ] {
            let system = system::named(name).unwrap();
            let sample = measure(system, unit, setting, time, root.path()).unwrap();
            assert!(sample.messages > 0 && sample.messages.is_multiple_of(lines));
            assert!(sample.p50 > 0 && sample.p50 <= sample.p99 && sample.p99 <= sample.p99_9);
            let stored = sample.nodes.unwrap().message_bytes;
            let around = stored - payload as f64;
            assert!((20.0..300.0).contains(&around), "{name}: {stored}");
        }
    }
}
