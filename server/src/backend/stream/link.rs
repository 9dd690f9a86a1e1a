//! The connection to whichever server of the cluster can be used, in the loop's own poll: it is found,
//! opened, secured, introduced, and given up for another when it is lost.

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

/// How long each step towards a connection may take: its address, its socket, its handshake.
const STEP_WITHIN: Duration = Duration::from_secs(2);

/// A server that has said nothing for so long is asked whether it is still there.
const PING_AFTER: Duration = Duration::from_secs(20);

/// And has so long to answer.
const PONG_WITHIN: Duration = Duration::from_secs(5);

/// Before this one, expected sequences are not sound.
pub const OLDEST: Version = Version::new(2, 10, 25);

/// What has happened to the connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// It can be used.
    Up(Box<Info>),
    /// It could be used, and cannot any more: why.
    Lost(String),
    /// No server could be used yet, or again, and why not the last that was tried.
    Failed(String),
    /// Something has come: [`Link::next_op`] brings it.
    Inbound,
    /// Some bytes have left.
    Sent,
}

/// The connection, or the way to one.
#[derive(Debug)]
pub struct Link {
    options: Options,
    name: String,
    nodes: Nodes,
    poll: Option<(Registry, Token)>,
    /// Wakes the loop when an address was looked up.
    waker: Option<Arc<Waker>>,
    state: LinkState,
}

/// How far it is.
#[derive(Debug)]
enum LinkState {
    /// Nothing is tried until then.
    Resting { until: Instant },
    /// Only a thread can wait for an address: the system's resolver knows no other way.
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
    /// Where else it may be, if it is not there.
    others: Vec<SocketAddr>,
    stream: Stream<TcpStream>,
    decoder: Decoder,
    out: Outgoing,
    stage: Stage,
    /// When this stage began, or, once it can be used, when something came last.
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
    /// A connection to one of these nodes, where this is our name. Nothing is done before it is
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

    /// Has `token` told of.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.waker = Some(Arc::new(Waker::new(registry, token)?));
        self.poll = Some((registry.try_clone()?, token));
        Ok(())
    }

    /// The poll has told of the token.
    pub fn on_event(&mut self) {
        if let LinkState::Open(connection) = &mut self.state {
            // Which of them it was does not matter: the socket will say.
            (connection.readable, connection.writable) = (true, true);
        }
    }

    /// The server that is used.
    pub fn server(&self) -> Option<&Address> {
        match &self.state {
            LinkState::Open(connection) if !connection.stage.is_on_the_way() => {
                Some(&connection.server)
            }
            _ => None,
        }
    }

    /// When something is to be done even if nothing is told.
    pub fn deadline(&self) -> Option<Instant> {
        Some(match &self.state {
            LinkState::Resting { until } => *until,
            LinkState::Resolving { since, .. } => *since + STEP_WITHIN,
            LinkState::Open(connection) => connection.deadline(),
        })
    }

    /// Goes on as far as it can, and says what comes of it: to be called until there is nothing more.
    /// `payload` is what was lent to [`publish`](Self::publish), while it is on its way.
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

    /// What has come, one after another.
    pub fn next_op(&mut self) -> Option<Result<Op<'_>, String>> {
        match &mut self.state {
            LinkState::Open(connection) => match connection.decoder.next_op() {
                Ok(op) => op.map(Ok),
                Err(malformed) => Some(Err(malformed.to_string())),
            },
            _ => None,
        }
    }

    /// Where to put something small, if there is anybody to send it to.
    pub fn small(&mut self) -> Option<&mut Vec<u8>> {
        Some(self.usable()?.out.small())
    }

    fn usable(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            LinkState::Open(connection) if !connection.stage.is_on_the_way() => Some(connection),
            _ => None,
        }
    }

    /// Publishes what `head` begins. The payload is to be lent to [`go_on`](Self::advance) until it is
    /// out or [taken back](Self::take_back).
    pub fn publish(&mut self, head: impl FnOnce(&mut Vec<u8>), payload: &[u8]) {
        if let Some(connection) = self.usable() {
            head(connection.out.small());
            connection.out.payload(payload);
        }
    }

    /// The payload is lent no longer. If some of it has not left, the server would take what follows
    /// for the rest of it, so this connection has to end.
    pub fn take_back(&mut self, now: Instant) -> Option<LinkEvent> {
        match &self.state {
            LinkState::Open(connection) if connection.out.holds_payload() => {
                Some(self.leave(now, "what was half sent is not awaited any more"))
            }
            _ => None,
        }
    }

    /// Leaves the server for another.
    pub fn leave(&mut self, now: Instant, why: &str) -> LinkEvent {
        self.fall(now, why)
    }

    /// Learns of the other nodes.
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
            // Whoever asked may have given up.
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

    /// Connects to the last of these places.
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

    /// From a socket to a connection that can be used.
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

    /// Gives the server up.
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

    /// What the server says of itself, once the connection can be used.
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

    /// What it said is looked at; what is to be said is sent.
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

    /// What a usable connection has to do.
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

    /// Whether something has come.
    fn fill(&mut self) -> Result<bool, String> {
        if !self.readable {
            return Ok(false);
        }
        match self.stream.fill(self.decoder.space()) {
            Ok(0) => Err("it ended the connection".to_owned()),
            Ok(n) => {
                // There may be more, be it the end: the next read finds out.
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
