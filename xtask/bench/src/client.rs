//! `client load`, which measures.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cpus::{self, Side};
use crate::load::Load;
use crate::sample::{Measurement, Sample};
use crate::server::Server;
use crate::system;

/// The warm-up lasts the measured time divided by this. It does not count.
pub(crate) const WARMUP: u32 = 10;

/// Puts the messages of `load` on a server; an unacknowledged one is an error.
pub(crate) fn measure(server: &Server, load: &Load, time: Duration) -> Measurement {
    let mut command = command(server, load, time)?;
    let output = cpus::on(server.side(Side::Client), || command.output());
    let output = output.map_err(|error| format!("cannot run the client: {error}"))?;
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let warning = report["warnings"][0].as_str();
        let why = said.lines().next_back().or(warning).unwrap_or("no reason");
        return Err(format!("the client ended, {}: {why}", output.status));
    }
    // The client runs on one CPU and reports only that one.
    report["machine"]["cpus"] = json!(std::thread::available_parallelism().map_or(1, usize::from));
    // docs/load-json.md describes all fields.
    let figure = |pointer| report.pointer(pointer).and_then(Value::as_f64);
    let must = |pointer| figure(pointer).ok_or_else(|| format!("its client reports no {pointer}"));
    let (sent, acknowledged) = (must("/messages/sent")?, must("/messages/acknowledged")?);
    if must("/connections/lost")? > 0.0 || acknowledged < sent {
        return Err(format!("{acknowledged} of {sent} messages acknowledged"));
    }
    Ok(Sample {
        // In a closed loop a reply makes room for the next message: as many are answered in the time of
        // sending as are sent in it. To add the time until the last reply would wrong slow servers.
        seconds: load.rate.map_or(Ok(time.as_secs_f64()), |_| must("/measured_s"))?,
        messages: acknowledged * server.system.protocol().lines(load) as f64,
        p50: must("/latency_ns/p50")?,
        p99: must("/latency_ns/p99")?,
        p99_9: must("/latency_ns/p99_9")?,
        cpu: figure("/server/cpu_s"),
        peak_memory: figure("/server/peak_memory_bytes"),
        machine: report["machine"].clone(),
        ..Sample::default()
    })
}

fn command(server: &Server, load: &Load, time: Duration) -> Result<Command, String> {
    let client = system::own_program("client").map_err(|error| error.to_string())?;
    let mut command = Command::new(client);
    command.args(["load", "-json", "-host", "127.0.0.1", "-timeout", "20s"]);
    let mut option = |name: &str, value: &str| _ = command.args([name, value]);
    option("-port", &server.port.to_string());
    option("-duration", &format!("{}ms", time.as_millis()));
    option("-warmup", &format!("{}ms", (time / WARMUP).as_millis()));
    if let Some(rate) = load.rate {
        option("-rate", &rate.to_string());
    }
    // Beside another load, the server's CPU time is not that of this one.
    if load.beside().is_none() {
        for pid in server.pids() {
            option("-pid", &pid.to_string());
        }
    }
    command.args(server.tls_options().to_args());
    command.args(server.system.protocol().options(load));
    command.stdin(Stdio::null());
    Ok(command)
}
