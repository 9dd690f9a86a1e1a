//! The latency of a light client under load from flooders, on a server whose log is a stream.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::disturbance::Watch;
use crate::measure::drive;
use crate::running::Running;
use crate::setting::Setting;
use crate::system::System;

/// The load of the flooders.
pub(crate) const FLOODERS: Setting = Setting {
    connections: 50,
    pipeline: 128,
    idle: 0,
    bytes: 21,
};

/// The pause between a reply and the next line.
const EVERY: Duration = Duration::from_millis(10);

/// The time at the start and the end of the flood that does not count.
const SETTLE: Duration = Duration::from_millis(300);

/// The result of one round.
#[derive(Debug, Serialize)]
pub(crate) struct Waited {
    /// The latency of each reply, in nanoseconds.
    pub(crate) ns: Vec<u64>,
    /// The share of the machine's CPU time that other processes took; 0 if unknown.
    pub(crate) disturbance: f64,
}

/// Measures for `time`, at least a second; errors are for the user.
pub(crate) fn measure(system: &System, time: Duration, root: &Path) -> Result<Waited, String> {
    let time = time.max(Duration::from_secs(1));
    let server = Running::start(system, root)?;
    let flooding = time + 2 * SETTLE;
    let watch = Watch::begin([server.pids(), server.pids_of_nodes()].concat());
    let waited = thread::scope(|scope| {
        let begun = Instant::now();
        let flood = scope.spawn(|| drive(&server, system, FLOODERS, flooding, Vec::new()));
        let from = begun + SETTLE;
        let waited = wait_now_and_then(server.port, from, from + time);
        match flood.join() {
            Ok(Ok(_)) => waited.map_err(|error| format!("{}: {error}", system.name)),
            Ok(Err(why)) => Err(format!("{}: {why}", system.name)),
            Err(_) => Err("a thread of the benchmark has panicked".to_owned()),
        }
    });
    Ok(Waited {
        ns: waited?,
        disturbance: watch.end().unwrap_or(0.0),
    })
}

fn wait_now_and_then(port: u16, from: Instant, to: Instant) -> io::Result<Vec<u64>> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (mut replies, mut reply) = (BufReader::new(socket), String::new());
    let mut waited = Vec::new();
    thread::sleep(from.saturating_duration_since(Instant::now()));
    while Instant::now() < to {
        let sent = Instant::now();
        replies.get_mut().write_all(b"now and then\n")?;
        reply.clear();
        replies.read_line(&mut reply)?;
        if reply != "ok\n" {
            return Err(io::Error::other(format!("it answers {reply:?}")));
        }
        waited.push(sent.elapsed().as_nanos() as u64);
        thread::sleep(EVERY);
    }
    Ok(waited)
}
