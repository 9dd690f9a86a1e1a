//! Connection to a server, and the lines in flight.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::backoff::Backoff;
use common::connect::resolve;
use common::protocol::Framing;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use tls::{Connector, Stream};

use crate::queue::Queue;
use crate::replies::{Replies, Said};

/// The token of the connection. All other tokens are free for the caller.
const SERVER: Token = Token(usize::MAX);

/// About how many bytes of lines one write takes from the queue.
const OUTPUT: usize = 64 << 10;

/// Timeout of a name lookup.
const RESOLVING: Duration = Duration::from_secs(5);

/// The shortest and the longest pause between two rounds through all addresses.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Configuration of a [`Sender`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Hosts and ports, the preferred one first. All addresses of a name are tried.
    pub hosts: Vec<(String, u16)>,
    /// Maximum number of unsettled lines.
    pub pipeline: usize,
    /// Maximum size of the unsettled lines in bytes. One line may exceed it.
    pub max_bytes: usize,
    /// How long the server may be silent while lines wait for a reply. After that the connection is
    /// closed.
    pub timeout: Duration,
    /// How long to retry while no server takes lines. `None` means no limit.
    pub retry: Option<Duration>,
    /// How messages and replies are delimited.
    pub framing: Framing,
    /// Makes TLS sessions. `None` means no TLS.
    pub connector: Option<Connector>,
}

impl Config {
    /// The default configuration for these hosts.
    pub fn to(hosts: &[(String, u16)]) -> Self {
        Self {
            hosts: hosts.to_vec(),
            pipeline: 1024,
            max_bytes: 8 << 20,
            timeout: Duration::from_secs(10),
            retry: None,
            framing: Framing::Line,
            connector: None,
        }
    }
}

/// The number of a line that was given to a [`Sender`], counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// An event of a [`Sender`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The line is in the server's log.
    Kept(Ticket),
    /// The line was rejected permanently and is not in the log, for this reason.
    Refused(Ticket, String),
    /// Lines cannot be sent, for this reason. The sender retries.
    Lost(String),
    /// The server at this address takes lines again, after an outage of this length.
    Back(SocketAddr, Duration),
    /// The sender has stopped retrying, for this reason. The pending lines stay pending.
    GaveUp(String),
}

/// A sender that keeps each line until it is acknowledged.
#[derive(Debug)]
pub struct Sender {
    config: Config,
    poll: Poll,
    events: Events,
    queue: Queue,
    link: Option<Link>,
    /// The addresses to try, the next one first, each with the index of its host in `hosts`.
    addresses: VecDeque<(SocketAddr, usize)>,
    backoff: Option<Backoff>,
    /// Whether the present problem was reported.
    is_loss_reported: bool,
    gave_up: bool,
    happened: VecDeque<Event>,
    /// How many times a line was sent again.
    sent_again: u64,
    /// The number after the last line that was ever sent.
    sent_until: u64,
    input: Box<[u8]>,
}

/// A connection, established or being established.
#[derive(Debug)]
struct Link {
    stream: Stream<TcpStream>,
    address: SocketAddr,
    is_made: bool,
    replies: Replies,
    unsent: Vec<u8>,
    /// When data last came, or the server began to owe a reply.
    heard_at: Instant,
    /// Whether the server failed to write a line. No new lines are sent until it has answered all
    /// in flight.
    is_paused: bool,
}

impl Sender {
    /// A sender without lines. It connects when it has a line to send.
    ///
    /// # Errors
    ///
    /// The poll cannot be created.
    pub fn new(config: Config) -> io::Result<Self> {
        Ok(Self {
            config,
            poll: Poll::new()?,
            events: Events::with_capacity(64),
            queue: Queue::default(),
            link: None,
            addresses: VecDeque::new(),
            backoff: None,
            is_loss_reported: false,
            gave_up: false,
            happened: VecDeque::new(),
            sent_again: 0,
            sent_until: 0,
            input: vec![0; 16 << 10].into(),
        })
    }

    /// The registry for other sources that wake up [`Sender::wait`].
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Whether there is room for another line.
    pub fn has_room(&self) -> bool {
        self.queue.pending() < self.config.pipeline && self.queue.bytes() < self.config.max_bytes
    }

    /// Queues a line, given without its line end.
    ///
    /// Call it only while [`Sender::has_room`].
    pub fn send(&mut self, line: &[u8]) -> Ticket {
        debug_assert!(self.has_room(), "lines are kept within bounds");
        let mut framed = Vec::with_capacity(line.len() + 1);
        framed.extend_from_slice(line);
        self.config.framing.finish_message(&mut framed, 0);
        Ticket(self.queue.push(framed))
    }

    /// The number of lines neither acknowledged nor rejected.
    pub fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// The number of lines that were sent and have no reply yet.
    pub fn on_the_way(&self) -> usize {
        self.queue.on_the_way()
    }

    /// How many times a line was sent again.
    pub fn sent_again(&self) -> u64 {
        self.sent_again
    }

    /// The events since the last call.
    pub fn events(&mut self) -> impl Iterator<Item = Event> + use<> {
        std::mem::take(&mut self.happened).into_iter()
    }

    /// Sends and receives until an event happens or another registered source wakes it, for at most
    /// `limit`.
    ///
    /// # Errors
    ///
    /// The poll fails.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let now = Instant::now();
        self.keep_connected(now);
        self.transmit(now);
        let timeout = if self.happened.is_empty() {
            let until = self.deadline().map(|at| at.saturating_duration_since(now));
            limit.into_iter().chain(until).min()
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        // Read first, whatever the events are: data that has arrived counts before a timeout.
        self.receive(now);
        self.transmit(now);
        self.judge_silence(now);
        Ok(())
    }

    /// The earliest of the timeout and the next attempt to connect. No event reports these.
    fn deadline(&self) -> Option<Instant> {
        let silent = self.link.as_ref().filter(|link| self.is_owed(link));
        let silent = silent.map(|link| link.heard_at + self.config.timeout);
        let retry = self.backoff.as_ref().filter(|_| self.wants_link());
        let retry = retry.map(Backoff::next);
        silent.into_iter().chain(retry).min()
    }

    /// Whether the server owes a reply, or the connection itself.
    fn is_owed(&self, link: &Link) -> bool {
        !link.is_made || self.queue.on_the_way() > 0
    }

    fn wants_link(&self) -> bool {
        self.link.is_none() && self.queue.pending() > 0 && !self.gave_up
    }

    /// Connects if there are lines to send and the backoff is over.
    fn keep_connected(&mut self, now: Instant) {
        if !self.wants_link() || self.backoff.as_ref().is_some_and(|backoff| now < backoff.next()) {
            return;
        }
        if self.addresses.is_empty()
            && let Err(why) = self.look_up()
        {
            return self.lose(&why, now);
        }
        let Some((address, host)) = self.addresses.pop_front() else {
            return;
        };
        match self.connect(address, host) {
            Ok(stream) => {
                self.link = Some(Link {
                    stream,
                    address,
                    is_made: false,
                    replies: Replies::default(),
                    unsent: Vec::new(),
                    heard_at: now,
                    is_paused: false,
                });
            }
            Err(error) => self.lose(&format!("{address}: {error}"), now),
        }
    }

    /// Begins to connect to an address of the host with index `host`.
    fn connect(&self, address: SocketAddr, host: usize) -> io::Result<Stream<TcpStream>> {
        let (host, _) = &self.config.hosts[host];
        let session = self.config.connector.as_ref();
        let session = session.map(|connector| connector.begin(host));
        let session = session.transpose().map_err(io::Error::other)?;
        let mut socket = TcpStream::connect(address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut socket, SERVER, interest)?;
        Ok(Stream::new(socket, session))
    }

    /// Looks up all addresses of all hosts, in order.
    fn look_up(&mut self) -> Result<(), String> {
        let mut failed = String::new();
        for (index, (host, port)) in self.config.hosts.iter().enumerate() {
            match resolve(host, *port, RESOLVING) {
                Ok(found) => {
                    let found = found.into_iter().map(|address| (address, index));
                    self.addresses.extend(found);
                }
                Err(error) => failed = format!("cannot find the address of '{host}': {error}"),
            }
        }
        if self.addresses.is_empty() {
            return Err(failed);
        }
        Ok(())
    }

    /// Sends lines as far as the connection takes them.
    fn transmit(&mut self, now: Instant) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_made) else {
            return;
        };
        loop {
            if link.stream.flush().is_err() {
                // As for a failed write below.
                return;
            }
            if link.unsent.is_empty() {
                if link.is_paused {
                    return;
                }
                let was_owed = self.queue.on_the_way() > 0;
                self.sent_again += self.queue.take(OUTPUT, &mut link.unsent, self.sent_until);
                self.sent_until = self.sent_until.max(self.queue.sent_until());
                if link.unsent.is_empty() {
                    return;
                }
                if !was_owed {
                    link.heard_at = now;
                }
            }
            match link.stream.write(&link.unsent) {
                Ok(n) if n == link.unsent.len() => link.unsent.clear(),
                Ok(n) => drop(link.unsent.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The socket is full, or the connection is broken. Then the replies that came
                // before are read first.
                Err(_) => return,
            }
        }
    }

    /// Completes the connection, then reads replies.
    fn receive(&mut self, now: Instant) {
        let Some(link) = &mut self.link else {
            return;
        };
        if !link.is_made {
            match link.stream.socket.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => return self.break_off(&error.to_string(), now),
            }
            if link.stream.socket.peer_addr().is_err() {
                return;
            }
            match link.stream.handshake() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.break_off(&error.to_string(), now),
            }
            link.is_made = true;
            link.heard_at = now;
            // A failure would only add latency.
            _ = link.stream.socket.set_nodelay(true);
        }
        loop {
            let Some(link) = &mut self.link else {
                return;
            };
            match link.stream.fill(&mut self.input) {
                Ok(0) => return self.break_off("the server closed the connection", now),
                Ok(n) => self.take_replies(n, now),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted => {}
                    _ => return self.break_off(&error.to_string(), now),
                },
            }
        }
    }

    fn take_replies(&mut self, n: usize, now: Instant) {
        let Some(link) = &mut self.link else {
            return;
        };
        link.heard_at = now;
        let (queue, happened) = (&mut self.queue, &mut self.happened);
        let (backoff, is_loss_reported) = (&mut self.backoff, &mut self.is_loss_reported);
        let (address, mut ends, mut not_now) = (link.address, None, None);
        let is_paused = link.is_paused;
        link.replies.feed(self.config.framing, &self.input[..n], |said| match said {
            _ if ends.is_some() => {}
            Said::Kept => match queue.settle() {
                Some(number) => {
                    // An `ok` for a line sent before the failed line does not end the outage.
                    let is_good = !is_paused && not_now.is_none();
                    if is_good
                        && let Some(backoff) = backoff.take()
                        && std::mem::take(is_loss_reported)
                    {
                        happened.push_back(Event::Back(address, now - backoff.since()));
                    }
                    happened.push_back(Event::Kept(Ticket(number)));
                }
                None => ends = Some("it acknowledged what it was not sent".to_owned()),
            },
            Said::Refused(why) => match queue.settle() {
                Some(number) => happened.push_back(Event::Refused(Ticket(number), why)),
                None => ends = Some(why),
            },
            Said::NotNow(why) => match queue.put_back() {
                Some(_) => not_now = Some(why),
                None => ends = Some(why),
            },
            Said::Ends(why) => ends = Some(why),
        });
        if let Some(why) = ends {
            return self.break_off(&why, now);
        }
        if let Some(why) = not_now {
            link.is_paused = true;
            self.report(&format!("{address}: {why}"), now);
        }
        if self.link.as_ref().is_some_and(|link| link.is_paused) && self.queue.on_the_way() == 0 {
            // The server has answered everything and cannot write now. Another server may.
            self.drop_link();
            self.postpone(now);
        }
    }

    /// Closes the connection if the server owes a reply and was silent for the timeout.
    fn judge_silence(&mut self, now: Instant) {
        let Some(link) = self.link.as_ref().filter(|link| self.is_owed(link)) else {
            return;
        };
        if now.duration_since(link.heard_at) >= self.config.timeout {
            let seconds = self.config.timeout.as_secs_f64();
            let what = if link.is_made { "no reply" } else { "no answer" };
            self.break_off(&format!("{what} within {seconds} s"), now);
        }
    }

    /// Closes the connection, for this reason.
    fn break_off(&mut self, why: &str, now: Instant) {
        let address = self.link.as_ref().map(|link| link.address);
        self.drop_link();
        let who = address.map_or(String::new(), |address| format!("{address}: "));
        self.lose(&format!("{who}{why}"), now);
    }

    fn drop_link(&mut self) {
        if let Some(mut link) = self.link.take() {
            _ = self.poll.registry().deregister(&mut link.stream.socket);
        }
        self.queue.put_all_back();
    }

    /// Begins or continues an outage. Without pending lines nothing is lost.
    fn lose(&mut self, why: &str, now: Instant) {
        if self.queue.pending() > 0 {
            self.report(why, now);
            self.postpone(now);
        }
    }

    /// Reports an outage once, and gives up when `retry` is over.
    fn report(&mut self, why: &str, now: Instant) {
        let backoff = self.backoff.get_or_insert_with(|| begin_backoff(now));
        if !std::mem::replace(&mut self.is_loss_reported, true) {
            self.happened.push_back(Event::Lost(why.to_owned()));
        }
        let tried_all = self.addresses.is_empty();
        if tried_all && backoff.has_lasted(now, self.config.retry) && !self.gave_up {
            self.gave_up = true;
            self.happened.push_back(Event::GaveUp(why.to_owned()));
        }
    }

    fn postpone(&mut self, now: Instant) {
        // The remaining addresses are tried without a backoff.
        let at_once = !self.addresses.is_empty();
        let backoff = self.backoff.get_or_insert_with(|| begin_backoff(now));
        if !at_once {
            backoff.postpone(now, fastrand::f64());
        }
    }
}

fn begin_backoff(now: Instant) -> Backoff {
    Backoff::begin(SHORTEST_PAUSE, LONGEST_PAUSE, now)
}
