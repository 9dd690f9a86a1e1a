//! A server process for one measurement; dropping it kills the process.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use test_ca::TestCa;

use crate::cpus::{self, Side};
use crate::nodes::Nodes;
use crate::system::{Program, SYSTEMS, Stdout, System};

/// Timeout for a server to accept connections, or to reach a state.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Interval of polling, where there is no event to wait for.
const LOOK: Duration = Duration::from_millis(5);

/// A server that accepts connections.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    /// Holds its log; deleted with it.
    directory: TempDir,
    /// The server behind it, if it is a proxy.
    backend: Option<Box<Self>>,
    /// The NATS nodes that keep its stream.
    pub(crate) nodes: Option<Nodes>,
}

impl Running {
    /// Starts a server in an empty directory under `root`; errors are for the user.
    pub(crate) fn start(system: &System, root: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start {}: {error}", system.name);
        let directory = TempDir::new_in(root).map_err(failed)?;
        if system.tls {
            write_certificates(directory.path()).map_err(failed)?;
        }
        let backend = SYSTEMS
            .iter()
            .find(|other| Some(other.name) == system.in_front_of);
        let backend = backend.map(|backend| Self::start(backend, root));
        let backend = backend.transpose()?.map(Box::new);
        let nodes = Nodes::of(system, directory.path())?;
        let urls = nodes.as_ref().map(Nodes::url).transpose()?;
        let backend_port = backend.as_ref().map_or(0, |backend| backend.port);
        // A server that takes no port chooses one, and prints `listening on` with it.
        let tells_port = !system.config.contains("{port}") && !system.arguments.contains("{port}");
        let port = if tells_port {
            0
        } else {
            free_port().map_err(failed)?
        };
        let fill = |text: &str| {
            text.replace("{dir}", &directory.path().to_string_lossy())
                .replace("{port}", &port.to_string())
                .replace("{backend}", &backend_port.to_string())
                .replace("{nats}", urls.as_deref().unwrap_or_default())
        };
        let config = directory.path().join("server.conf");
        fs::write(config, fill(system.config)).map_err(failed)?;
        let mut command = Command::new(system.program.path().map_err(failed)?);
        command
            // Split before the placeholders are filled: the directory may have spaces in its name.
            .args(system.arguments.split_whitespace().map(fill))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(match system.stdout {
                Stdout::Null => Stdio::null(),
                Stdout::Read | Stdout::Stalled => Stdio::piped(),
            })
            .stderr(if tells_port {
                Stdio::piped()
            } else {
                Stdio::null()
            });
        let child = cpus::on(system.side(Side::Server), || command.spawn()).map_err(failed)?;
        let mut running = Self {
            child,
            port,
            directory,
            backend,
            nodes,
        };
        if system.stdout == Stdout::Read
            && let Some(stdout) = running.child.stdout.take()
        {
            thread::spawn(|| discard(stdout));
        }
        running.await_listening().map_err(failed)?;
        Ok(running)
    }

    fn await_listening(&mut self) -> io::Result<()> {
        let Some(stderr) = self.child.stderr.take() else {
            return self
                .wait_until(|running| TcpStream::connect(("127.0.0.1", running.port)).is_ok());
        };
        let mut stderr = BufReader::new(stderr);
        let mut said = String::new();
        // Warnings may come before the line.
        while stderr.read_line(&mut said)? > 0 {
            let port = said.trim().rsplit_once("listening on 127.0.0.1:");
            if let Some((_, port)) = port {
                self.port = port.parse().map_err(io::Error::other)?;
                thread::spawn(|| discard(stderr));
                return Ok(());
            }
        }
        Err(io::Error::other(format!("it says '{}'", said.trim())))
    }

    /// Waits until the server has at least that many open descriptors.
    pub(crate) fn await_connections(&mut self, connections: usize) -> io::Result<()> {
        let descriptors = PathBuf::from(format!("/proc/{}/fd", self.pid()));
        self.wait_until(|_| fs::read_dir(&descriptors).is_ok_and(|fds| fds.count() >= connections))
    }

    fn wait_until(&mut self, mut is_so: impl FnMut(&Self) -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes whose CPU time counts: the server and its backend.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let backend = self.backend.iter().flat_map(|backend| backend.pids());
        backend.chain([self.pid()]).collect()
    }

    /// The NATS nodes that keep its stream.
    pub(crate) fn pids_of_nodes(&self) -> Vec<u32> {
        self.nodes.as_ref().map(Nodes::pids).unwrap_or_default()
    }

    /// The path of a file in its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// CPU time of its main thread, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        let process = procfs::process::Process::new(self.pid().try_into().ok()?).ok()?;
        Some(process.schedstat().ok()?.sum_exec_runtime)
    }

    /// Its resident anonymous memory in bytes: no file pages, no kernel memory.
    pub(crate) fn own_memory(&self) -> Option<u64> {
        let process = procfs::process::Process::new(self.pid().try_into().ok()?).ok()?;
        Some(process.status().ok()?.rssanon? * 1024)
    }
}

/// Certificates for server and client, and their CA's: ECDSA, P-256.
fn write_certificates(directory: &Path) -> io::Result<()> {
    let authority = TestCa::new("bench").map_err(io::Error::other)?;
    fs::write(directory.join("ca.pem"), authority.certificate())?;
    let server = authority.issue(&["localhost", "127.0.0.1"]);
    let server = server.map_err(io::Error::other)?;
    server.write(directory, "server")?;
    fs::write(directory.join("both.pem"), server.certificate + &server.key)?;
    let client = authority.issue(&["client.example"]);
    client
        .map_err(io::Error::other)?
        .write(directory, "client")?;
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that cannot be killed is left alone.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Program {
    /// The path of the executable, which may not exist.
    pub(crate) fn path(self) -> io::Result<PathBuf> {
        match self {
            Self::Own(name) => Ok(env::current_exe()?.with_file_name(name)),
            Self::Publisher(_) => env::current_exe(),
            Self::Installed { name, .. } => {
                let found = directories()
                    .map(|dir| dir.join(name))
                    .find(|path| path.is_file());
                Ok(found.unwrap_or_else(|| name.into()))
            }
        }
    }

    /// The first line of its version output that has a digit; none if it cannot be run.
    pub(crate) fn version(self) -> Option<String> {
        let option = match self {
            Self::Installed {
                name: "rsyslogd", ..
            } => "-v",
            Self::Installed {
                name: "stunnel4", ..
            } => "-version",
            _ => "--version",
        };
        if self == Self::Own("baseline") {
            return Some(String::new());
        }
        if let Self::Publisher(_) = self {
            return Some(format!("nats-server {}", cluster::CURRENT.version));
        }
        let said = Command::new(self.path().ok()?).arg(option).output().ok()?;
        // Some print it on stderr, or print other lines first.
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let is_version = |line: &&str| line.contains(|c: char| c.is_ascii_digit());
        let line = said.lines().find(is_version)?.trim();
        Some(line.chars().take(60).collect())
    }
}

/// `PATH`, and Debian's directories for servers, which a user's `PATH` may lack.
fn directories() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path: Vec<_> = env::split_paths(&path).collect();
    path.into_iter().chain(["/usr/sbin".into(), "/sbin".into()])
}

/// Another process may take the port before the server does; the server then fails with an error.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn discard(mut from: impl Read) {
    let mut buffer = vec![0; 1 << 20];
    while from.read(&mut buffer).is_ok_and(|n| n > 0) {}
}

/// Touches as many pages as a log of `bytes` will take.
///
/// The first touch of a page that the host of a virtual machine has reclaimed costs fifteen times as much
/// as writing it, and would dominate the measurement. Pages that were free a moment ago are not reclaimed.
pub(crate) fn touch_pages(root: &Path, bytes: u64) -> io::Result<()> {
    let block = vec![1; 1 << 20];
    let file = tempfile::tempfile_in(root)?;
    for _ in 0..bytes.div_ceil(block.len() as u64) {
        io::Write::write_all(&mut &file, &block)?;
    }
    File::set_len(&file, 0)
}
