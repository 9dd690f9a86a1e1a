//! The connection to a usable node of the cluster, in the event loop's own poll. It resolves, connects,
//! secures, authenticates, and moves to another node when it is lost.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token, Waker};
use nats::address::Address;
use nats::handshake::{Handshake, Progress, State};
use nats::info::Info;
use nats::options::Options;
use nats::protocol::{self, Decoder, Op};
use semver::Version;
use tls::Stream;

use super::nodes::Nodes;
use super::outgoing::Outgoing;

/// The timeout of each step towards a connection: resolving, connecting, handshake.
const STEP_WITHIN: Duration = Duration::from_secs(2);

/// A node that was silent for this long gets a PING.
const PING_AFTER: Duration = Duration::from_secs(20);

/// The timeout of the PONG.
const PONG_WITHIN: Duration = Duration::from_secs(5);

/// The oldest supported version. Before 2.10.25, expected sequences are not reliable.
pub const OLDEST: Version = Version::new(2, 10, 25);

/// An event of the connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// The connection is usable.
    Up(Box<Info>),
    /// A usable connection was lost, and why.
    Lost(String),
    /// No node is usable yet, or again. The text says why the last one that was tried is not.
    Failed(String),
    /// Data was received. [`Link::next_op`] returns it.
    Inbound,
    /// Bytes were sent.
    Sent,
}

/// The connection, or the attempt to make one.
#[derive(Debug)]
pub struct Link {
    options: Options,
    name: String,
    nodes: Nodes,
    poll: Option<(Registry, Token)>,
    /// Wakes the loop when an address was resolved.
    waker: Option<Arc<Waker>>,
    state: LinkState,
}

/// The state of the connection.
#[derive(Debug)]
enum LinkState {
    /// A backoff: nothing is attempted before `until`.
    Resting { until: Instant },
    /// A thread waits for the address: the system's resolver has no non-blocking interface.
    Resolving {
        server: Address,
        answer: Receiver<io::Result<Vec<SocketAddr>>>,
        since: Instant,
    },
    /// There is a socket.
    Open(Box<Connection>),
}

#[derive(Debug)]
struct Connection {
    server: Address,
    /// Further addresses of the node, to be tried if this one fails.
    others: Vec<SocketAddr>,
    stream: Stream<TcpStream>,
    decoder: Decoder,
    out: Outgoing,
    stage: Stage,
    /// When this stage began. In a usable connection: when data was last received.
    since: Instant,
    asked: bool,
    readable: bool,
    writable: bool,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    Greeting(State),
    Securing(State),
    Usable,
}

impl Link {
    /// A connection to one of these nodes, under the client name `name`. It does nothing before it is
    /// [registered](Self::register).
    pub fn new(options: Options, nodes: Vec<Address>, name: String, now: Instant) -> Self {
        Self {
            options,
            name,
            nodes: Nodes::new(nodes),
            poll: None,
            waker: None,
            state: LinkState::Resting { until: now },
        }
    }

    /// Registers with the poll under `token`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.waker = Some(Arc::new(Waker::new(registry, token)?));
        self.poll = Some((registry.try_clone()?, token));
        Ok(())
    }

    /// Handles an event for the token.
    pub fn on_event(&mut self) {
        if let LinkState::Open(connection) = &mut self.state {
            // The event need not say which: the socket returns `WouldBlock` if it is not ready.
            (connection.readable, connection.writable) = (true, true);
        }
    }

    /// The node that is in use.
    pub fn server(&self) -> Option<&Address> {
        match &self.state {
            LinkState::Open(connection) if !connection.stage.is_on_the_way() => {
                Some(&connection.server)
            }
            _ => None,
        }
    }

    /// When [`advance`](Self::advance) is due even without an event.
    pub fn deadline(&self) -> Option<Instant> {
        Some(match &self.state {
            LinkState::Resting { until } => *until,
            LinkState::Resolving { since, .. } => *since + STEP_WITHIN,
            LinkState::Open(connection) => connection.deadline(),
        })
    }

    /// Advances as far as possible and returns the next event. Call it until it returns `None`. `payload` is
    /// what was passed to [`publish`](Self::publish), while it is being sent.
    pub fn advance(&mut self, now: Instant, payload: &[u8]) -> Option<LinkEvent> {
        let went = match &mut self.state {
            LinkState::Resting { until } if now < *until => return None,
            LinkState::Resting { .. } => self.begin(now).map(|()| None),
            LinkState::Resolving { .. } => self.take_addresses(now).map(|()| None),
            LinkState::Open(connection) if connection.stage.is_on_the_way() => self.approach(now),
            LinkState::Open(connection) => connection.work(now, payload),
        };
        went.unwrap_or_else(|why| Some(self.fall(now, &why)))
    }

    /// The next received operation.
    pub fn next_op(&mut self) -> Option<Result<Op<'_>, String>> {
        match &mut self.state {
            LinkState::Open(connection) => match connection.decoder.next_op() {
                Ok(op) => op.map(Ok),
                Err(malformed) => Some(Err(malformed.to_string())),
            },
            _ => None,
        }
    }

    /// The buffer for small data, if the connection is usable.
    pub fn small(&mut self) -> Option<&mut Vec<u8>> {
        Some(self.usable()?.out.small())
    }

    fn usable(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            LinkState::Open(connection) if !connection.stage.is_on_the_way() => Some(connection),
            _ => None,
        }
    }

    /// Publishes a message that begins with `head`. Pass the payload to [`advance`](Self::advance) until it
    /// is sent or [taken back](Self::take_back).
    pub fn publish(&mut self, head: impl FnOnce(&mut Vec<u8>), payload: &[u8]) {
        if let Some(connection) = self.usable() {
            head(connection.out.small());
            connection.out.payload(payload);
        }
    }

    /// Stops sending the payload. If it was sent in part, the node would take later bytes for the rest of it,
    /// so the connection is closed.
    pub fn take_back(&mut self, now: Instant) -> Option<LinkEvent> {
        match &self.state {
            LinkState::Open(connection) if connection.out.holds_payload() => {
                Some(self.leave(now, "what was half sent is not awaited any more"))
            }
            _ => None,
        }
    }

    /// Leaves the node for another one.
    pub fn leave(&mut self, now: Instant, why: &str) -> LinkEvent {
        self.fall(now, why)
    }

    /// Adds the other nodes that the node reports.
    pub fn learn(&mut self, info: &Info) {
        self.nodes.learn(&info.connect_urls);
    }

    fn begin(&mut self, now: Instant) -> Result<(), String> {
        let server = self.nodes.choose();
        if let Ok(ip) = server.host.parse::<IpAddr>() {
            let place = SocketAddr::new(ip, server.port);
            return self.open(server, vec![place], now);
        }
        let (sender, answer) = mpsc::channel();
        let target = (server.host.clone(), server.port);
        let waker = self.waker.clone();
        let spawned = thread::Builder::new().spawn(move || {
            let found = target.to_socket_addrs().map(Vec::from_iter);
            // The receiver may have given up after a timeout.
            if sender.send(found).is_ok()
                && let Some(waker) = waker
            {
                _ = waker.wake();
            }
        });
        spawned.map_err(|error| error.to_string())?;
        self.state = LinkState::Resolving {
            server,
            answer,
            since: now,
        };
        Ok(())
    }

    fn take_addresses(&mut self, now: Instant) -> Result<(), String> {
        let LinkState::Resolving {
            server,
            answer,
            since,
        } = &self.state
        else {
            return Ok(());
        };
        let unknown = |why: &str| Err(format!("{server}: cannot find its address: {why}"));
        match answer.try_recv() {
            Ok(Ok(places)) if places.is_empty() => unknown("it has none"),
            Ok(Ok(mut places)) => {
                places.reverse();
                self.open(server.clone(), places, now)
            }
            Ok(Err(error)) => unknown(&error.to_string()),
            Err(TryRecvError::Empty) if now < *since + STEP_WITHIN => Ok(()),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => unknown("no answer"),
        }
    }

    /// Connects to the last of these addresses.
    fn open(
        &mut self,
        server: Address,
        mut places: Vec<SocketAddr>,
        now: Instant,
    ) -> Result<(), String> {
        let failed = |error: io::Error| format!("{server}: {error}");
        let Some((place, (registry, token))) = places.pop().zip(self.poll.as_ref()) else {
            return Err(format!("{server}: it cannot be reached"));
        };
        let mut socket = TcpStream::connect(place).map_err(failed)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry
            .register(&mut socket, *token, interest)
            .map_err(failed)?;
        self.state = LinkState::Open(Box::new(Connection {
            server,
            others: places,
            stream: Stream::new(socket, None),
            decoder: Decoder::default(),
            out: Outgoing::default(),
            stage: Stage::Connecting,
            since: now,
            asked: false,
            readable: false,
            writable: false,
        }));
        Ok(())
    }

    /// Advances from a socket to a usable connection.
    fn approach(&mut self, now: Instant) -> Result<Option<LinkEvent>, String> {
        let LinkState::Open(connection) = &mut self.state else {
            return Ok(None);
        };
        let approached = connection.approach(&self.options, &self.name, now);
        match approached {
            Ok(None) => Ok(None),
            Ok(Some(info)) => {
                if !info.is_at_least(&OLDEST) {
                    let version = &info.version;
                    return Err(format!("version {version} is too old, {OLDEST} is needed"));
                }
                self.nodes.succeeded();
                self.nodes.learn(&info.connect_urls);
                Ok(Some(LinkEvent::Up(Box::new(info))))
            }
            Err(why) => match std::mem::take(&mut connection.others) {
                places if places.is_empty() || !matches!(connection.stage, Stage::Connecting) => {
                    Err(why)
                }
                places => {
                    let server = connection.server.clone();
                    self.state = LinkState::Resting { until: now };
                    self.open(server, places, now).map(|()| None)
                }
            },
        }
    }

    /// Closes the connection and schedules the next attempt.
    fn fall(&mut self, now: Instant, why: &str) -> LinkEvent {
        let way = std::mem::replace(&mut self.state, LinkState::Resting { until: now });
        let (was_usable, server) = match &way {
            LinkState::Open(connection) => (
                matches!(connection.stage, Stage::Usable),
                Some(&connection.server),
            ),
            LinkState::Resolving { .. } | LinkState::Resting { .. } => (false, None),
        };
        let why = server.map_or_else(|| why.to_owned(), |server| format!("{server}: {why}"));
        if was_usable {
            return LinkEvent::Lost(why);
        }
        let until = now + self.nodes.pause_after_failure();
        self.state = LinkState::Resting { until };
        LinkEvent::Failed(why)
    }
}

impl Stage {
    fn is_on_the_way(&self) -> bool {
        !matches!(self, Self::Usable)
    }
}

impl Connection {
    fn deadline(&self) -> Instant {
        let within = match (&self.stage, self.asked) {
            (Stage::Usable, false) => PING_AFTER,
            (Stage::Usable, true) => PONG_WITHIN,
            _ => STEP_WITHIN,
        };
        self.since + within
    }

    fn enter(&mut self, stage: Stage, now: Instant) {
        (self.stage, self.since) = (stage, now);
    }

    /// Returns the node's INFO when the connection is usable.
    fn approach(
        &mut self,
        options: &Options,
        name: &str,
        now: Instant,
    ) -> Result<Option<Info>, String> {
        loop {
            let done = match &mut self.stage {
                Stage::Connecting => self.connect(now)?,
                Stage::Securing(_) => self.secure(options, name, now)?,
                Stage::Greeting(_) => match self.greet(options, name, now)? {
                    Greeted::Usable(info) => {
                        self.enter(Stage::Usable, now);
                        return Ok(Some(info));
                    }
                    Greeted::GoesOn => true,
                    Greeted::Waits => false,
                },
                Stage::Usable => false,
            };
            if !done {
                break;
            }
        }
        if now >= self.deadline() {
            return Err("no answer".to_owned());
        }
        Ok(None)
    }

    fn connect(&mut self, now: Instant) -> Result<bool, String> {
        let socket = &self.stream.socket;
        let error = socket.take_error().unwrap_or_else(Some);
        if let Some(error) = error {
            return Err(error.to_string());
        }
        if !self.writable || socket.peer_addr().is_err() {
            return Ok(false);
        }
        socket
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        self.enter(Stage::Greeting(State::default()), now);
        Ok(true)
    }

    fn secure(&mut self, options: &Options, name: &str, now: Instant) -> Result<bool, String> {
        if !self.stream.handshake().map_err(|error| error.to_string())? {
            return Ok(false);
        }
        let Stage::Securing(state) = &mut self.stage else {
            return Ok(false);
        };
        let mut state = std::mem::take(state);
        let credentials = options.credentials.as_deref();
        Handshake::of(&self.server, credentials, name, &mut state).secured(self.out.small())?;
        self.enter(Stage::Greeting(state), now);
        Ok(true)
    }

    /// Handles what the node has sent, and sends the client's side of the handshake.
    fn greet(&mut self, options: &Options, name: &str, now: Instant) -> Result<Greeted, String> {
        self.flush(&[])?;
        let Stage::Greeting(state) = &mut self.stage else {
            return Ok(Greeted::Waits);
        };
        let credentials = options.credentials.as_deref();
        let mut handshake = Handshake::of(&self.server, credentials, name, state);
        while let Some(op) = self.decoder.next_op().map_err(|error| error.to_string())? {
            match handshake.take(&op, self.out.small())? {
                Progress::Waits => {}
                Progress::Done(info) => return Ok(Greeted::Usable(info)),
                Progress::StartTls => {
                    if !self.decoder.is_empty() {
                        return Err("it spoke on where TLS should begin".to_owned());
                    }
                    let session = options.connector()?.begin(self.server.tls_name())?;
                    self.stream.secure(session);
                    let state = std::mem::take(state);
                    self.enter(Stage::Securing(state), now);
                    return Ok(Greeted::GoesOn);
                }
            }
        }
        self.flush(&[])?;
        let goes_on = self.fill()?;
        Ok(if goes_on {
            Greeted::GoesOn
        } else {
            Greeted::Waits
        })
    }

    /// Receives, sends, and keeps a usable connection alive.
    fn work(&mut self, now: Instant, payload: &[u8]) -> Result<Option<LinkEvent>, String> {
        if self.fill()? {
            (self.since, self.asked) = (now, false);
            return Ok(Some(LinkEvent::Inbound));
        }
        if now >= self.deadline() {
            if self.asked {
                return Err("it does not answer".to_owned());
            }
            protocol::ping(self.out.small());
            (self.since, self.asked) = (now, true);
        }
        let sent = self.flush(payload)?;
        Ok((sent > 0).then_some(LinkEvent::Sent))
    }

    /// Receives data. Returns whether another read may return more.
    fn fill(&mut self) -> Result<bool, String> {
        if !self.readable {
            return Ok(false);
        }
        match self.stream.fill(self.decoder.space()) {
            Ok(0) => Err("it ended the connection".to_owned()),
            Ok(n) => {
                // There may be more data, or the end: the next read shows it.
                self.decoder.filled(n);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    fn flush(&mut self, payload: &[u8]) -> Result<usize, String> {
        if !self.writable || self.out.is_empty() && !self.stream.has_unsent() {
            return Ok(0);
        }
        let sent = self.out.write(&mut self.stream, payload);
        let sent = sent.map_err(|error| error.to_string())?;
        match io::Write::flush(&mut self.stream) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
        self.writable = self.out.is_empty() && !self.stream.has_unsent();
        Ok(sent)
    }
}

enum Greeted {
    Usable(Info),
    GoesOn,
    Waits,
}
