//! Connecting to a host name, in bounded time.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Connects to the first address of `host` that answers, within `timeout` in all. The error is one line that
/// says what was tried.
pub fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let deadline = Instant::now() + timeout;
    let addresses = resolve(host, port, timeout)
        .map_err(|error| format!("cannot find the address of '{host}': {error}"))?;
    let mut failures = String::new();
    for (index, address) in addresses.iter().enumerate() {
        // An address that does not answer must leave time for the following ones.
        let share = (addresses.len() - index) as u32;
        let left = deadline.saturating_duration_since(Instant::now()) / share;
        match connect_within(address, left.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let separator = if index == 0 { "" } else { "; " };
                _ = write!(failures, "{separator}{address}: {error}");
            }
        }
    }
    Err(format!("cannot connect to {host} port {port}: {failures}; is the server running?"))
}

/// Connects within `time`. If the process was paused for most of that time, an answer may have been missed,
/// so it tries once more.
fn connect_within(address: &SocketAddr, time: Duration) -> io::Result<TcpStream> {
    const PAUSE: Duration = Duration::from_millis(500);
    let begun = Instant::now();
    match TcpStream::connect_timeout(address, time) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut && begun.elapsed() > time + PAUSE => {
            TcpStream::connect_timeout(address, time)
        }
        done => done,
    }
}

/// The addresses of a host, at least one.
pub type Addresses = io::Result<Vec<SocketAddr>>;

/// The addresses of `host`, within `timeout`.
pub fn resolve(host: &str, port: u16, timeout: Duration) -> Addresses {
    let addresses = begin_resolving(host, port, || ())?;
    let addresses = addresses.recv_timeout(timeout);
    addresses.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Looks up the addresses of `host` in a thread, since the system's resolver neither has a timeout nor a
/// non-blocking interface. Calls `wake` when they can be received. A caller that does not wait drops the
/// receiver.
pub fn begin_resolving(
    host: &str,
    port: u16,
    wake: impl FnOnce() + Send + 'static,
) -> io::Result<Receiver<Addresses>> {
    let (sender, receiver) = mpsc::channel();
    let target = (host.to_owned(), port);
    thread::Builder::new().spawn(move || {
        let addresses = target.to_socket_addrs().map(Vec::from_iter);
        let addresses = match addresses {
            Ok(none) if none.is_empty() => Err(io::Error::other("it has none")),
            addresses => addresses,
        };
        if sender.send(addresses).is_ok() {
            wake();
        }
    })?;
    Ok(receiver)
}
