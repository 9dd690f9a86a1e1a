//! The interface to systemd: notifications, the watchdog and inherited sockets. Without systemd it does
//! nothing.
//!
//! The protocols are those of `sd_notify(3)` and `sd_listen_fds(3)`. Notifications are sent by hand: a
//! library would block while systemd takes nothing, and so would the loop.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};

/// The shortest time between two status lines.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The time after which a failed notification is retried.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The state that the status line shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Clients that are connected.
    pub clients: usize,
    /// Messages in the log, since the start.
    pub messages: u64,
}

/// The supervisor that started the server and expects notifications.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// Not connected, so that a supervisor restarted at this address is notified, too.
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The newest state that could not be sent yet, and when it is retried.
    unsent: Option<(String, Instant)>,
    /// The interval of watchdog notifications: half of the watchdog's timeout.
    feeding: Option<Duration>,
    feed_at: Option<Instant>,
    /// The last status that was sent.
    status: Status,
    status_at: Option<Instant>,
}

impl Supervisor {
    /// The supervisor named by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` in the environment.
    ///
    /// # Errors
    /// A supervisor is named but cannot be reached.
    pub fn from_env() -> Result<Self, String> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let open = || {
            let address = address(Path::new(&name))?;
            // Check that the socket has a receiver.
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
            unsent: None,
            feeding: timeout.map(|usec| Duration::from_micros(usec) / 2),
            feed_at: timeout.map(|_| now),
            status: Status::default(),
            status_at: Some(now),
        })
    }

    /// Clients can connect, or the log is reopened.
    pub fn notify_ready(&mut self, now: Instant) {
        self.notify("READY=1".to_owned(), now);
    }

    /// The log is being reopened; [`notify_ready`](Self::notify_ready) reports the end.
    pub fn notify_reloading(&mut self, now: Instant) {
        let since_boot = clock_gettime(ClockId::Monotonic);
        let since_boot = Duration::try_from(since_boot).unwrap_or_default();
        let usec = since_boot.as_micros();
        self.notify(format!("RELOADING=1\nMONOTONIC_USEC={usec}"), now);
    }

    /// The server is stopping.
    pub fn notify_stopping(&mut self, now: Instant) {
        self.notify("STOPPING=1".to_owned(), now);
    }

    /// Sends a state that a supervisor waits for. It is retried until it is sent or a newer state replaces
    /// it.
    fn notify(&mut self, step: String, now: Instant) {
        let is_sent = self.send(&step);
        self.unsent = (!is_sent).then(|| (step, now + RETRY_INTERVAL));
    }

    /// Sends the watchdog notification, the status and failed notifications when they are due. It must be
    /// called in every turn of the loop: a loop that hangs sends no watchdog notification.
    pub fn advance(&mut self, now: Instant, status: Status) {
        if let Some((step, _)) = self.unsent.take_if(|(_, at)| now >= *at) {
            self.notify(step, now);
        }
        if let (Some(feeding), Some(at)) = (self.feeding, self.feed_at)
            && now >= at
        {
            let is_fed = self.send("WATCHDOG=1");
            let pause = if is_fed { feeding } else { feeding.min(RETRY_INTERVAL) };
            self.feed_at = Some(now + pause);
        }
        if self.status_at.is_some_and(|at| now >= at) && self.status != status {
            let Status { clients, messages } = status;
            let clients = common::units::plural(clients as u64, "client");
            let messages = common::units::plural(messages, "message");
            if self.send(&format!("STATUS={clients}, {messages} in the log")) {
                self.status = status;
            }
            self.status_at = Some(now + STATUS_INTERVAL);
        }
    }

    /// The longest time until a [`deadline`](Self::deadline).
    pub fn max_wait(&self) -> Duration {
        let feeding = self.feeding.unwrap_or_default();
        feeding.max(STATUS_INTERVAL).max(RETRY_INTERVAL)
    }

    /// When [`advance`](Self::advance) is due next, given this state.
    pub fn deadline(&self, status: Status) -> Option<Instant> {
        let status_at = self.status_at.filter(|_| self.status != status);
        let retry_at = self.unsent.as_ref().map(|(_, at)| *at);
        [self.feed_at, status_at, retry_at].into_iter().flatten().min()
    }

    /// Returns `true` if the notification was sent or there is no supervisor. It never blocks.
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

/// A path, or a name in Linux's abstract namespace after an `@`.
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

/// Sockets that the server inherits.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Sockets for clients.
    pub clients: Vec<TcpListener>,
    /// Sockets for metrics and health.
    pub metrics: Vec<TcpListener>,
}

impl Sockets {
    /// The sockets named by `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` in the environment.
    ///
    /// # Errors
    /// One of them cannot be used; the text says which.
    pub fn from_env() -> Result<Self, String> {
        // Variables for another process were only inherited.
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
                // `unknown` is the name that systemd-socket-activate sets if it is given none.
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

/// Apple's systems cannot be queried; the first accept will fail instead.
#[cfg(target_vendor = "apple")]
fn listens(_socket: &TcpListener) -> bool {
    true
}
