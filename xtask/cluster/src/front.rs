//! `HAProxy` in front of the servers.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use test_support::children;
use test_support::ports::Reserved;
use test_support::wait::{DEADLINE, poll};

use crate::files::{Folder, filled};
use crate::process::Process;
use crate::servers::Server;

const CONFIG: &str = include_str!("../../../packaging/cluster/haproxy.cfg");

#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) process: Process,
    clients: Reserved,
    statistics: Reserved,
}

/// Whether `HAProxy` is installed.
pub(crate) fn is_installed() -> bool {
    let mut version = Command::new("haproxy");
    let found = version.arg("-v").stdout(Stdio::null()).status();
    found.is_ok()
}

impl Front {
    /// Starts it, and waits until its health checks have found all servers up.
    pub(crate) fn start(servers: &[Server; 2], folder: &Folder) -> Result<Self, String> {
        let reserve = || Reserved::new().map_err(|error| format!("no port for haproxy: {error}"));
        let (clients, statistics) = (reserve()?, reserve()?);
        let config = config(&clients, &statistics, servers)?;
        folder.write("haproxy.cfg", &config)?;
        let words = ["haproxy", "-db", "-f", "haproxy.cfg"];
        let script = folder.write_script("start-haproxy", folder.path(), &words)?;
        let mut command = children::tied("sh");
        command.arg(script);
        let mut front = Self { process: Process::start("haproxy", command)?, clients, statistics };
        front.wait_until_well(servers)?;
        Ok(front)
    }

    /// The address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.clients.address
    }

    /// The address of its statistics page.
    pub(crate) fn statistics(&self) -> SocketAddr {
        self.statistics.address
    }

    fn wait_until_well(&mut self, servers: &[Server; 2]) -> Result<(), String> {
        let mut states = Ok(String::new());
        let well = poll(DEADLINE, || {
            states = self.states();
            let is_well = |server: &Server| {
                let row = format!("servers,{},", server.id);
                let mut rows = states.iter().flat_map(|states| states.lines());
                rows.any(|line| line.starts_with(&row) && line.contains(",L7OK,"))
            };
            if servers.iter().all(is_well) {
                return Some(Ok(()));
            }
            let ended = self.process.exit_status()?;
            Some(Err(format!("haproxy has ended: {ended}")))
        });
        well.unwrap_or_else(|| Err(format!("haproxy does not find the servers well: {states:?}")))
    }

    /// The states of all servers, as CSV.
    fn states(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.statistics(), DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Stops it, which closes all of its connections.
    pub(crate) fn stop(self) -> Result<(), String> {
        self.process.end(Signal::TERM).map(|_| ())
    }
}

/// The packaged configuration with the addresses of this machine.
fn config(
    clients: &Reserved,
    statistics: &Reserved,
    [a, b]: &[Server; 2],
) -> Result<String, String> {
    let server = |server: &Server| {
        let port = server.metrics().port();
        format!("{} port {port}", server.address())
    };
    let words = [
        ("/run/haproxy/admin.sock", "unix@haproxy.sock"),
        ("0.0.0.0:2005", &clients.address.to_string()),
        ("127.0.0.1:8404", &statistics.address.to_string()),
        ("192.0.2.21:2005 port 9185", &server(a)),
        ("192.0.2.22:2005 port 9185", &server(b)),
    ];
    filled(CONFIG, &words)
}
