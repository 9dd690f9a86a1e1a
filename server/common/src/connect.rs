//! From a host name to a connection, in bounded time.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Connects to the first address of `host` that answers; takes `timeout` in all at most. The
/// error is one line that says what was tried.
pub fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let deadline = Instant::now() + timeout;
    let addresses = resolve(host, port, timeout)
        .map_err(|error| format!("cannot find the address of '{host}': {error}"))?;
    let mut failures = String::new();
    for (index, address) in addresses.iter().enumerate() {
        // An address that swallows everything must leave time for those after it.
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
    Err(format!(
        "cannot connect to {host} port {port}: {failures}; is the server running?"
    ))
}

/// Connects, or says that the time is over; a second time if the program did not run for most of the
/// first, since then nobody has looked whether there was an answer.
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

/// The addresses of `host`, at least one. The system's resolver knows no deadline, hence a thread
/// for it, which is left behind when it takes too long.
pub fn resolve(host: &str, port: u16, timeout: Duration) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let target = (host.to_owned(), port);
    thread::Builder::new().spawn(move || {
        // Nobody listens any more once the time is over.
        _ = sender.send(target.to_socket_addrs().map(Vec::from_iter));
    })?;
    let addresses = receiver
        .recv_timeout(timeout)
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    if addresses.is_empty() {
        return Err(io::Error::other("it has none"));
    }
    Ok(addresses)
}
