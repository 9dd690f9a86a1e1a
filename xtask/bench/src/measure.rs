//! One measurement: starts a server, puts a load on it and stops it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::cpus::{self, Side};
use crate::disturbance::Watch;
use crate::nodes::{self, Nodes};
use crate::publisher;
use crate::running::{PATIENCE, Running, touch_pages};
use crate::setting::Setting;
use crate::system::{Program, System};

/// What one measurement found.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Acknowledged messages.
    pub(crate) messages: u64,
    /// CPU seconds of the server, in user and in kernel mode.
    pub(crate) user: f64,
    pub(crate) system: f64,
    /// Latency in nanoseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    /// In bytes; none for a publisher, which has no server.
    pub(crate) peak_memory: Option<u64>,
    /// Growth of the server's anonymous memory, in bytes per idle client.
    pub(crate) per_idle_client: Option<f64>,
    /// The share of the machine's CPU time that other processes took; 0 if unknown.
    pub(crate) disturbance: f64,
    /// Measured on the NATS nodes, if the system has any.
    pub(crate) nodes: Option<nodes::Seen>,
    /// None for a publisher.
    pub(crate) machine: Option<Machine>,
}

/// A measurement is disturbed if other processes took a larger share of the machine than this.
pub(crate) const DISTURBED: f64 = 0.05;

impl Sample {
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbance > DISTURBED
    }
}

/// The machine, as `client load` reports it.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub(crate) struct Machine {
    pub(crate) system: String,
    pub(crate) cpu: String,
    pub(crate) cpus: u64,
    pub(crate) memory_bytes: u64,
}

/// The part of the output of `client load -json` that is used; docs/load-json.md describes all of it.
#[derive(Deserialize)]
pub(crate) struct Report {
    machine: Machine,
    measured_s: f64,
    messages: Messages,
    latency_ns: Option<Latency>,
    connections: Connections,
    server: Option<Server>,
}

#[derive(Deserialize)]
struct Messages {
    sent: u64,
    acknowledged: u64,
}

#[derive(Deserialize)]
struct Latency {
    p50: u64,
    p99: u64,
    p99_9: u64,
}

#[derive(Deserialize)]
struct Connections {
    lost: u64,
}

#[derive(Deserialize)]
struct Server {
    user_s: f64,
    system_s: f64,
    peak_memory_bytes: u64,
}

/// Measures until a measurement is undisturbed, with at most `retries` repetitions; returns the least
/// disturbed one.
pub(crate) fn calmest<T>(
    retries: usize,
    disturbance: fn(&T) -> f64,
    measure: impl Fn() -> Result<T, String>,
) -> Result<T, String> {
    let mut best = measure();
    for _ in 0..retries {
        // An error counts as disturbed: a client that hardly got a CPU may have measured nothing.
        let least = best.as_ref().map_or(f64::INFINITY, disturbance);
        if least <= DISTURBED {
            break;
        }
        match measure() {
            Ok(next) if disturbance(&next) < least => best = Ok(next),
            _ => {}
        }
    }
    best
}

/// Measures `system` for `time`; errors are for the user.
pub(crate) fn measure(
    system: &System,
    setting: Setting,
    time: Duration,
    root: &Path,
) -> Result<Sample, String> {
    if system.keeps_log {
        let bytes = setting.log_bytes(time + time / WARMUP);
        touch_pages(root, bytes)
            .map_err(|error| format!("cannot write to {}: {error}", root.display()))?;
    }
    match system.program {
        Program::Publisher(unit) => publisher::measure(system, unit, setting, time, root),
        Program::Own(_) | Program::Installed { .. } => serve(system, setting, time, root),
    }
}

/// Measures a system that has a server process.
fn serve(system: &System, setting: Setting, time: Duration, root: &Path) -> Result<Sample, String> {
    let mut server = Running::start(system, root)?;
    let before = server.own_memory();
    let idle = connect_idle(&mut server, setting.idle)
        .map_err(|error| format!("{}: {} idle clients: {error}", system.name, setting.idle))?;
    let grown = server.own_memory().zip(before);
    let grown = grown.map(|(after, before)| after.saturating_sub(before) as f64);
    let watch = Watch::begin([server.pids(), server.pids_of_nodes()].concat());
    let nodes = server.nodes.as_ref().map(Nodes::watch);
    let trusts = system
        .tls
        .then(|| ["-tls-ca".into(), server.file("ca.pem").into()]);
    let options = trusts.into_iter().flatten().collect();
    let report = drive(&server, system, setting, time, options)
        .map_err(|why| format!("{} at {setting}: {why}", system.name))?;
    let disturbance = watch.end().unwrap_or(0.0);
    let nodes = nodes.map(nodes::Watch::end).transpose()?;
    drop(server);
    drop(idle);
    let (Some(latency), Some(used)) = (report.latency_ns, report.server) else {
        return Err(format!("{} at {setting}: nothing measured", system.name));
    };
    Ok(Sample {
        seconds: report.measured_s,
        messages: report.messages.acknowledged,
        user: used.user_s,
        system: used.system_s,
        p50: latency.p50,
        p99: latency.p99,
        p99_9: latency.p99_9,
        peak_memory: Some(used.peak_memory_bytes),
        per_idle_client: grown
            .filter(|_| setting.idle > 0)
            .map(|bytes| bytes / setting.idle as f64),
        disturbance,
        nodes,
        machine: Some(report.machine),
    })
}

/// The warm-up lasts the measured time divided by this. It does not count.
pub(crate) const WARMUP: u32 = 10;

fn connect_idle(server: &mut Running, idle: usize) -> io::Result<Vec<TcpStream>> {
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let deadline = Instant::now() + PATIENCE;
    let connect = |_| {
        // `connect_timeout` rejects a timeout of zero, and nothing is left after the deadline.
        let left = deadline.saturating_duration_since(Instant::now());
        TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1)))
    };
    let clients = (0..idle).map(connect).collect::<io::Result<Vec<_>>>()?;
    server.await_connections(idle)?;
    Ok(clients)
}

/// p99 of the latency of one client that sends 1,000 messages a second, in nanoseconds.
pub(crate) fn p99_of_a_talker(
    server: &Running,
    system: &System,
    options: &tls::Options,
    time: Duration,
) -> Result<u64, String> {
    let setting = Setting {
        connections: 1,
        pipeline: 1,
        idle: 0,
        bytes: 21,
    };
    let mut args: Vec<_> = options.to_args();
    args.extend(["-rate".into(), "1000".into()]);
    let report = drive(server, system, setting, time, args)?;
    report
        .latency_ns
        .map(|latency| latency.p99)
        .ok_or("nothing measured".to_owned())
}

/// Runs `client load` against a server; an unacknowledged message is an error.
pub(crate) fn drive(
    server: &Running,
    system: &System,
    setting: Setting,
    time: Duration,
    options: Vec<OsString>,
) -> Result<Report, String> {
    let client = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(client.with_file_name("client"));
    command.args(["load", "-json", "-host", "127.0.0.1", "-timeout", "20s"]);
    for (option, value) in [
        ("-port", server.port.to_string()),
        ("-connections", setting.connections.to_string()),
        ("-pipeline", setting.pipeline.to_string()),
        ("-duration", format!("{}ms", time.as_millis())),
        ("-warmup", format!("{}ms", (time / WARMUP).as_millis())),
    ] {
        command.args([option, &value]);
    }
    for pid in server.pids() {
        command.args(["-pid", &pid.to_string()]);
    }
    command.args(options);
    command.args(system.dialect.options(setting.bytes));
    command.stdin(Stdio::null());
    let output = cpus::on(system.side(Side::Client), || command.output());
    let output = output.map_err(|error| format!("cannot run the client: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(match said.lines().next_back() {
            Some(line) => line.to_owned(),
            None => format!("the client ended: {}", output.status),
        });
    }
    let report: Report =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("its client: {error}"))?;
    let (sent, acknowledged) = (report.messages.sent, report.messages.acknowledged);
    if report.connections.lost > 0 || acknowledged < sent {
        return Err(format!("{acknowledged} of {sent} messages acknowledged"));
    }
    Ok(report)
}
