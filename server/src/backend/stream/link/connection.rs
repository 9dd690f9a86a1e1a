//! One connection to a node: it connects, begins TLS, authenticates, and is then usable.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nats::address::Address;
use nats::handshake::{Handshake, Progress, State};
use nats::info::Info;
use nats::options::Options;
use nats::protocol::{self, Decoder, Op};
use tls::Stream;

use super::event::LinkEvent;
use crate::backend::stream::outgoing::Outgoing;

/// The timeout of each step towards a usable connection.
pub(super) const STEP_WITHIN: Duration = Duration::from_secs(2);

/// A node that was silent for this long gets a PING.
const PING_AFTER: Duration = Duration::from_secs(20);

/// The timeout of the PONG.
const PONG_WITHIN: Duration = Duration::from_secs(5);

/// A connection, or the attempt to make one.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) node: Address,
    stream: Stream<TcpStream>,
    decoder: Decoder,
    pub(super) out: Outgoing,
    stage: Stage,
    /// When this stage began. In a usable connection: when data was last received.
    since: Instant,
    /// Whether a PING was sent since then.
    is_pinged: bool,
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

/// The result of a step towards a usable connection.
enum Step {
    /// The next step may be taken.
    Done,
    /// The node has to act first.
    Waits,
    Usable(Info),
}

impl Connection {
    /// Begins to connect to this address of the node.
    pub(super) fn open(
        node: Address,
        address: SocketAddr,
        (registry, token): (&Registry, Token),
        now: Instant,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{node}: {error}");
        let interest = Interest::READABLE | Interest::WRITABLE;
        let mut socket = TcpStream::connect(address).map_err(failed)?;
        let registered = registry.register(&mut socket, token, interest);
        registered.map_err(failed)?;
        Ok(Self {
            node,
            stream: Stream::new(socket, None),
            decoder: Decoder::default(),
            out: Outgoing::default(),
            stage: Stage::Connecting,
            since: now,
            is_pinged: false,
            readable: false,
            writable: false,
        })
    }

    /// Handles an event of the socket. It need not say which: the socket returns `WouldBlock` if it is not
    /// ready.
    pub(super) fn on_event(&mut self) {
        (self.readable, self.writable) = (true, true);
    }

    pub(super) fn is_usable(&self) -> bool {
        matches!(self.stage, Stage::Usable)
    }

    /// Whether the node has not accepted the connection yet.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting)
    }

    /// When the node must have acted.
    pub(super) fn deadline(&self) -> Instant {
        let within = match (&self.stage, self.is_pinged) {
            (Stage::Usable, false) => PING_AFTER,
            (Stage::Usable, true) => PONG_WITHIN,
            _ => STEP_WITHIN,
        };
        self.since + within
    }

    /// The next received operation.
    pub(super) fn next_op(&mut self) -> Result<Option<Op<'_>>, String> {
        self.decoder.next_op().map_err(|error| error.to_string())
    }

    fn enter(&mut self, stage: Stage, now: Instant) {
        (self.stage, self.since) = (stage, now);
    }

    /// Takes the steps towards a usable connection that are possible now. `name` is the client name. Returns
    /// the node's INFO when the connection is usable.
    pub(super) fn establish(
        &mut self,
        options: &Options,
        name: &str,
        now: Instant,
    ) -> Result<Option<Info>, String> {
        loop {
            let step = match &mut self.stage {
                Stage::Connecting => self.connect(now)?,
                Stage::Securing(_) => self.secure(options, name, now)?,
                Stage::Greeting(_) => self.greet(options, name, now)?,
                Stage::Usable => Step::Waits,
            };
            match step {
                Step::Done => {}
                Step::Usable(info) => {
                    self.enter(Stage::Usable, now);
                    return Ok(Some(info));
                }
                Step::Waits if now >= self.deadline() => return Err("no answer".to_owned()),
                Step::Waits => return Ok(None),
            }
        }
    }

    fn connect(&mut self, now: Instant) -> Result<Step, String> {
        let socket = &self.stream.socket;
        if let Some(error) = socket.take_error().unwrap_or_else(Some) {
            return Err(error.to_string());
        }
        if !self.writable || socket.peer_addr().is_err() {
            return Ok(Step::Waits);
        }
        let set = socket.set_nodelay(true);
        set.map_err(|error| error.to_string())?;
        self.enter(Stage::Greeting(State::default()), now);
        Ok(Step::Done)
    }

    fn secure(&mut self, options: &Options, name: &str, now: Instant) -> Result<Step, String> {
        if !self.stream.handshake().map_err(|error| error.to_string())? {
            return Ok(Step::Waits);
        }
        let Stage::Securing(state) = &mut self.stage else {
            return Ok(Step::Waits);
        };
        let mut state = std::mem::take(state);
        let credentials = options.credentials.as_deref();
        Handshake::of(&self.node, credentials, name, &mut state).secured(self.out.small())?;
        self.enter(Stage::Greeting(state), now);
        Ok(Step::Done)
    }

    /// Handles what the node has sent, and sends the client's side of the handshake.
    fn greet(&mut self, options: &Options, name: &str, now: Instant) -> Result<Step, String> {
        self.flush(&[])?;
        let Stage::Greeting(state) = &mut self.stage else {
            return Ok(Step::Waits);
        };
        let credentials = options.credentials.as_deref();
        let mut handshake = Handshake::of(&self.node, credentials, name, state);
        while let Some(op) = self.decoder.next_op().map_err(|error| error.to_string())? {
            match handshake.take(&op, self.out.small())? {
                Progress::Waits => {}
                Progress::Done(info) => return Ok(Step::Usable(info)),
                Progress::StartTls => {
                    if !self.decoder.is_empty() {
                        return Err("it spoke on where TLS should begin".to_owned());
                    }
                    let session = options.connector()?.begin(self.node.tls_name())?;
                    self.stream.secure(session);
                    let state = std::mem::take(state);
                    self.enter(Stage::Securing(state), now);
                    return Ok(Step::Done);
                }
            }
        }
        self.flush(&[])?;
        Ok(if self.fill()? { Step::Done } else { Step::Waits })
    }

    /// Receives, sends, and keeps a usable connection alive. `payload` is the one that is being sent.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        payload: &[u8],
    ) -> Result<Option<LinkEvent>, String> {
        if self.fill()? {
            (self.since, self.is_pinged) = (now, false);
            return Ok(Some(LinkEvent::Received));
        }
        if now >= self.deadline() {
            if self.is_pinged {
                return Err("it does not answer".to_owned());
            }
            protocol::ping(self.out.small());
            (self.since, self.is_pinged) = (now, true);
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
