//! What systemd is told, and the sockets that it may hold for us; nothing where it is not there.
//!
//! The protocols are those of `sd_notify(3)` and `sd_listen_fds(3)`. Telling is by hand, since a library
//! would wait where systemd takes nothing, and the loop with it.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};

/// How often the line of figures is told anew, at most.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// After so long it is tried again to tell what could not be told.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// What of the state the line of figures shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Clients that are connected.
    pub clients: usize,
    /// Messages in the log, since the start.
    pub messages: u64,
}

/// Whoever started the server and wants to hear of it.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// Not connected: whoever is begun anew at this address is told, too.
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The newest step that could not be told yet, and when that is tried again.
    untold: Option<(String, Instant)>,
    /// How often the watchdog is fed: twice as often as it has to be.
    feeding: Option<Duration>,
    feed_at: Option<Instant>,
    told: Status,
    tell_at: Option<Instant>,
}

impl Supervisor {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    /// There should be a supervisor, and it cannot be reached.
    pub fn from_env() -> Result<Self, String> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let open = || {
            let address = address(Path::new(&name))?;
            // Whether somebody is there.
            UnixDatagram::unbound()?.connect_addr(&address)?;
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        };
        let socket = open().map_err(|error: io::Error| {
            format!("NOTIFY_SOCKET={}: {error}", name.to_string_lossy())
        })?;
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let timeout = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0);
        let now = Instant::now();
        Ok(Self {
            socket: Some(socket),
            untold: None,
            feeding: timeout.map(|usec| Duration::from_micros(usec) / 2),
            feed_at: timeout.map(|_| now),
            told: Status::default(),
            tell_at: Some(now),
        })
    }

    /// Clients can connect, or the log is open again.
    pub fn tell_ready(&mut self, now: Instant) {
        self.tell("READY=1".to_owned(), now);
    }

    /// The log is being opened anew; [`tell_ready`](Self::tell_ready) says when that is done.
    pub fn tell_reloading(&mut self, now: Instant) {
        let since_boot = clock_gettime(ClockId::Monotonic);
        let since_boot = Duration::try_from(since_boot).unwrap_or_default();
        let usec = since_boot.as_micros();
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={usec}"), now);
    }

    /// It is on its way out.
    pub fn tell_stopping(&mut self, now: Instant) {
        self.tell("STOPPING=1".to_owned(), now);
    }

    /// Tells a step, which a supervisor would wait for: it is tried until it is told, or another step
    /// is reached.
    fn tell(&mut self, step: String, now: Instant) {
        let is_told = self.send(&step);
        self.untold = (!is_told).then(|| (step, now + RETRY_INTERVAL));
    }

    /// Feeds the watchdog, and tells the figures and what could not be told, if it is time. To be called in
    /// every turn of the loop: a loop that hangs feeds nobody.
    pub fn advance(&mut self, now: Instant, status: Status) {
        if let Some((step, _)) = self.untold.take_if(|(_, at)| now >= *at) {
            self.tell(step, now);
        }
        if let (Some(feeding), Some(at)) = (self.feeding, self.feed_at)
            && now >= at
        {
            let is_fed = self.send("WATCHDOG=1");
            let pause = if is_fed {
                feeding
            } else {
                feeding.min(RETRY_INTERVAL)
            };
            self.feed_at = Some(now + pause);
        }
        if self.tell_at.is_some_and(|at| now >= at) && self.told != status {
            let Status { clients, messages } = status;
            let clients = common::units::plural(clients as u64, "client");
            let messages = common::units::plural(messages, "message");
            if self.send(&format!("STATUS={clients}, {messages} in the log")) {
                self.told = status;
            }
            self.tell_at = Some(now + STATUS_INTERVAL);
        }
    }

    /// No [`deadline`](Self::deadline) is further away than this.
    pub fn max_wait(&self) -> Duration {
        let feeding = self.feeding.unwrap_or_default();
        feeding.max(STATUS_INTERVAL).max(RETRY_INTERVAL)
    }

    /// When [`go_on`](Self::advance) has something to do, with this state.
    pub fn deadline(&self, status: Status) -> Option<Instant> {
        let tell_at = self.tell_at.filter(|_| self.told != status);
        let retry_at = self.untold.as_ref().map(|(_, at)| *at);
        [self.feed_at, tell_at, retry_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether it was taken, or nobody is to be told; it never waits.
    fn send(&self, state: &str) -> bool {
        let Some((socket, address)) = &self.socket else {
            return true;
        };
        let sent = socket.send_to_addr(state.as_bytes(), address);
        if let Err(error) = &sent {
            log::debug!("cannot tell the supervisor {state}: {error}");
        }
        sent.is_ok()
    }
}

/// A path, or, with an `@` first, a name of Linux's abstract namespace.
fn address(name: &Path) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::ffi::OsStrExt as _;
        if let Some(name) = name.as_os_str().as_bytes().strip_prefix(b"@") {
            return SocketAddr::from_abstract_name(name);
        }
    }
    SocketAddr::from_pathname(name)
}

/// Sockets that were opened before the server was started.
#[derive(Debug, Default)]
pub struct Sockets {
    /// At which clients connect.
    pub clients: Vec<TcpListener>,
    /// At which it tells how it is doing.
    pub metrics: Vec<TcpListener>,
}

impl Sockets {
    /// Those that the environment tells of, with `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`.
    ///
    /// # Errors
    /// One of them is of no use here; the text says which.
    pub fn from_env() -> Result<Self, String> {
        // What is meant for another process was merely left in the environment.
        if env::var("LISTEN_PID").ok() != Some(std::process::id().to_string()) {
            return Ok(Self::default());
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut given = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..given.len() {
            let name = names.next().unwrap_or_default();
            let failed = |why: &str| Err(format!("the socket '{name}' of LISTEN_FDS {why}"));
            let socket = match given.take_tcp_listener(index) {
                Ok(Some(socket)) if listens(&socket) => socket,
                Ok(_) => return failed("does not listen"),
                Err(error) => return failed(&format!("is not one of TCP: {error}")),
            };
            match name.as_str() {
                "metrics" => sockets.metrics.push(socket),
                // The last is what systemd-socket-activate says without a name.
                "line-log" | "line-log-server.socket" | "" | "unknown" => {
                    sockets.clients.push(socket);
                }
                _ => {
                    return failed(
                        "has a name that means nothing: FileDescriptorName=line-log is for clients, \
                         metrics for -metrics",
                    );
                }
            }
        }
        Ok(sockets)
    }
}

#[cfg(not(target_vendor = "apple"))]
fn listens(socket: &TcpListener) -> bool {
    rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false)
}

/// There it cannot be asked; the first accept will tell.
#[cfg(target_vendor = "apple")]
fn listens(_socket: &TcpListener) -> bool {
    true
}
