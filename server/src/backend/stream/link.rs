//! The connection to a usable node of the cluster, in the event loop's own poll. It chooses a node, resolves
//! its name, connects, and moves to another node when the connection is lost.

mod connection;
mod event;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use common::connect::{Addresses, begin_resolving};
use mio::{Registry, Token, Waker};
use nats::address::Address;
use nats::info::Info;
use nats::options::Options;
use nats::protocol::Op;
use nats::version::Version;

use super::nodes::Nodes;
use connection::{Connection, STEP_WITHIN};
pub use event::LinkEvent;

/// The oldest supported version. Before 2.10.25, expected sequences are not reliable.
pub const OLDEST: Version = Version::new(2, 10, 25);

/// The connection, or the attempt to make one.
#[derive(Debug)]
pub struct Link {
    options: Options,
    /// The client name in a node's connection list.
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
    Paused { until: Instant },
    /// A thread looks up the addresses.
    Resolving { node: Address, answer: Receiver<Addresses>, since: Instant },
    /// There is a socket. The other addresses of the node are tried if this one fails.
    Open(Box<Connection>, Vec<SocketAddr>),
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
            state: LinkState::Paused { until: now },
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
        if let LinkState::Open(connection, _) = &mut self.state {
            connection.on_event();
        }
    }

    /// The node that is in use.
    pub fn node(&self) -> Option<&Address> {
        match &self.state {
            LinkState::Open(connection, _) if connection.is_usable() => Some(&connection.node),
            _ => None,
        }
    }

    /// When [`advance`](Self::advance) is due even without an event.
    pub fn deadline(&self) -> Instant {
        match &self.state {
            LinkState::Paused { until } => *until,
            LinkState::Resolving { since, .. } => *since + STEP_WITHIN,
            LinkState::Open(connection, _) => connection.deadline(),
        }
    }

    /// Advances as far as possible and returns the next event. Call it until it returns `None`. `payload` is
    /// what was passed to [`publish`](Self::publish), while it is being sent.
    pub fn advance(&mut self, now: Instant, payload: &[u8]) -> Option<LinkEvent> {
        let advanced = match &mut self.state {
            LinkState::Paused { until } if now < *until => return None,
            LinkState::Paused { .. } => self.begin(now).map(|()| None),
            LinkState::Resolving { .. } => self.take_addresses(now).map(|()| None),
            LinkState::Open(connection, _) if connection.is_usable() => {
                connection.advance(now, payload)
            }
            LinkState::Open(..) => self.establish(now),
        };
        advanced.unwrap_or_else(|why| Some(self.leave(now, &why)))
    }

    /// The next received operation.
    pub fn next_op(&mut self) -> Option<Result<Op<'_>, String>> {
        match &mut self.state {
            LinkState::Open(connection, _) => connection.next_op().transpose(),
            _ => None,
        }
    }

    /// The buffer for small data, if the connection is usable.
    pub fn small(&mut self) -> Option<&mut Vec<u8>> {
        Some(self.usable()?.out.small())
    }

    fn usable(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            LinkState::Open(connection, _) if connection.is_usable() => Some(connection),
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
            LinkState::Open(connection, _) if connection.out.holds_payload() => {
                Some(self.leave(now, "what was half sent is not awaited any more"))
            }
            _ => None,
        }
    }

    /// Adds the other nodes that the node reports.
    pub fn learn(&mut self, info: &Info) {
        self.nodes.learn(&info.connect_urls);
    }

    /// Closes the connection and leaves the node for another one.
    pub fn leave(&mut self, now: Instant, why: &str) -> LinkEvent {
        let paused = LinkState::Paused { until: now };
        let why = match std::mem::replace(&mut self.state, paused) {
            LinkState::Open(connection, _) => {
                let why = format!("{}: {why}", connection.node);
                if connection.is_usable() {
                    return LinkEvent::Lost(why);
                }
                why
            }
            LinkState::Resolving { .. } | LinkState::Paused { .. } => why.to_owned(),
        };
        let until = self.nodes.next_attempt(now);
        self.state = LinkState::Paused { until };
        LinkEvent::Failed(why)
    }

    fn begin(&mut self, now: Instant) -> Result<(), String> {
        let node = self.nodes.choose();
        if let Ok(ip) = node.host.parse::<IpAddr>() {
            let address = SocketAddr::new(ip, node.port);
            return self.open(node, vec![address], now);
        }
        let waker = self.waker.clone();
        let wake = move || _ = waker.map(|waker| waker.wake());
        let answer = begin_resolving(&node.host, node.port, wake);
        let answer = answer.map_err(|error| error.to_string())?;
        self.state = LinkState::Resolving { node, answer, since: now };
        Ok(())
    }

    fn take_addresses(&mut self, now: Instant) -> Result<(), String> {
        let LinkState::Resolving { node, answer, since } = &self.state else {
            return Ok(());
        };
        let unknown = |why: &str| Err(format!("{node}: cannot find its address: {why}"));
        match answer.try_recv() {
            Ok(Ok(mut addresses)) => {
                addresses.reverse();
                self.open(node.clone(), addresses, now)
            }
            Ok(Err(error)) => unknown(&error.to_string()),
            Err(TryRecvError::Empty) if now < *since + STEP_WITHIN => Ok(()),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => unknown("no answer"),
        }
    }

    /// Connects to the last of these addresses.
    fn open(
        &mut self,
        node: Address,
        mut addresses: Vec<SocketAddr>,
        now: Instant,
    ) -> Result<(), String> {
        let Some((address, (registry, token))) = addresses.pop().zip(self.poll.as_ref()) else {
            return Err(format!("{node}: it cannot be reached"));
        };
        let connection = Connection::open(node, address, (registry, *token), now)?;
        self.state = LinkState::Open(Box::new(connection), addresses);
        Ok(())
    }

    /// Advances from a socket to a usable connection.
    fn establish(&mut self, now: Instant) -> Result<Option<LinkEvent>, String> {
        let LinkState::Open(connection, others) = &mut self.state else {
            return Ok(None);
        };
        match connection.establish(&self.options, &self.name, now) {
            Ok(None) => Ok(None),
            Ok(Some(info)) if info.is_at_least(&OLDEST) => {
                self.nodes.succeeded();
                self.nodes.learn(&info.connect_urls);
                Ok(Some(LinkEvent::Up(Box::new(info))))
            }
            Ok(Some(Info { version, .. })) => {
                Err(format!("version {version} is too old, {OLDEST} is needed"))
            }
            Err(_) if connection.is_connecting() && !others.is_empty() => {
                let (node, others) = (connection.node.clone(), std::mem::take(others));
                self.state = LinkState::Paused { until: now };
                self.open(node, others, now).map(|()| None)
            }
            Err(why) => Err(why),
        }
    }
}
