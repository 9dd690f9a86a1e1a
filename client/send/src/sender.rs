//! The connection, and what is on the way.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::connect::resolve;
use common::protocol::Framing;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use tls::{Connector, Stream};

use crate::outage::Outage;
use crate::queue::Queue;
use crate::replies::{Replies, Said};

/// The token of the server's connection. Others are for whoever uses the sender.
const SERVER: Token = Token(usize::MAX);

/// Written at once, in bytes.
const OUTPUT: usize = 64 << 10;

/// How long a name is looked up.
const RESOLVING: Duration = Duration::from_secs(5);

/// Where lines go, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hosts and ports, the preferred one first. All addresses of a name are tried.
    pub hosts: Vec<(String, u16)>,
    /// Lines on the way, at most.
    pub pipeline: usize,
    /// Bytes of lines that are kept, at most; one line may pass it.
    pub max_bytes: usize,
    /// With lines on the way, silence for so long is a broken connection.
    pub timeout: Duration,
    /// For how long to try again when there is no server; none: for ever.
    pub retry: Option<Duration>,
    /// What tells messages and replies apart.
    pub framing: Framing,
    /// Speaks TLS.
    pub connector: Option<Connector>,
}

impl Config {
    /// The defaults, for these hosts.
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

/// Names a line that was given to a [`Sender`]: they count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The line is in the server's log.
    Kept(Ticket),
    /// The line is not in the log and will not be, for this reason.
    Refused(Ticket, String),
    /// Lines cannot be sent, for this reason; it is tried again.
    Lost(String),
    /// Lines can be sent again, to this address, after so long.
    Back(SocketAddr, Duration),
    /// It is not tried any longer. The lines that are pending stay so.
    GaveUp(String),
}

/// Sends lines and keeps each until it is acknowledged.
#[derive(Debug)]
pub struct Sender {
    config: Config,
    poll: Poll,
    events: Events,
    queue: Queue,
    link: Option<Link>,
    /// Addresses to be tried, the next one first, and whose they are: indices of `hosts`.
    addresses: VecDeque<(SocketAddr, usize)>,
    outage: Option<Outage>,
    gave_up: bool,
    happened: VecDeque<Event>,
    /// Lines that were sent more than once, counted each time.
    sent_again: u64,
    /// After the last line that was ever sent.
    sent_until: u64,
    input: Box<[u8]>,
}

/// A connection, or the attempt to make one.
#[derive(Debug)]
struct Link {
    stream: Stream<TcpStream>,
    address: SocketAddr,
    is_made: bool,
    replies: Replies,
    unsent: Vec<u8>,
    /// When something last came, or the server began to owe something.
    heard_at: Instant,
    /// The server could not keep a line: nothing new is sent until it has answered what it has.
    is_paused: bool,
}

impl Sender {
    /// A sender that has sent nothing yet.
    pub fn new(config: Config) -> io::Result<Self> {
        Ok(Self {
            config,
            poll: Poll::new()?,
            events: Events::with_capacity(64),
            queue: Queue::default(),
            link: None,
            addresses: VecDeque::new(),
            outage: None,
            gave_up: false,
            happened: VecDeque::new(),
            sent_again: 0,
            sent_until: 0,
            input: vec![0; 16 << 10].into(),
        })
    }

    /// Where other sources can be registered that [`Sender::wait`] is to wake up for.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Whether another line may be given to it.
    pub fn has_room(&self) -> bool {
        self.queue.pending() < self.config.pipeline && self.queue.bytes() < self.config.max_bytes
    }

    /// Takes a line, without its end, to be sent after those before it.
    pub fn send(&mut self, line: &[u8]) -> Ticket {
        debug_assert!(self.has_room(), "lines are kept within bounds");
        let mut framed = Vec::with_capacity(line.len() + 1);
        framed.extend_from_slice(line);
        self.config.framing.finish_message(&mut framed, 0);
        Ticket(self.queue.push(framed))
    }

    /// Lines that are neither kept nor refused yet.
    pub fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// Lines that the server has and has not answered.
    pub fn on_the_way(&self) -> usize {
        self.queue.on_the_way()
    }

    /// How often lines were sent that had been sent before.
    pub fn sent_again(&self) -> u64 {
        self.sent_again
    }

    /// What has happened since this was last asked.
    pub fn events(&mut self) -> impl Iterator<Item = Event> + use<> {
        std::mem::take(&mut self.happened).into_iter()
    }

    /// Sends and receives, for `limit` at most, until something happens or one of the sources wakes it
    /// that others have registered.
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
        // Whatever the events say: what is there counts before any deadline is judged.
        self.receive(now);
        self.transmit(now);
        self.judge_silence(now);
        Ok(())
    }

    /// When something is to be done that no event reports.
    fn deadline(&self) -> Option<Instant> {
        let silent = self.link.as_ref().filter(|link| self.is_owed(link));
        let silent = silent.map(|link| link.heard_at + self.config.timeout);
        let retry = self.outage.as_ref().filter(|_| self.wants_link());
        let retry = retry.map(|outage| outage.next);
        silent.into_iter().chain(retry).min()
    }

    /// The server owes something: an answer, or the connection itself.
    fn is_owed(&self, link: &Link) -> bool {
        !link.is_made || self.queue.on_the_way() > 0
    }

    fn wants_link(&self) -> bool {
        self.link.is_none() && self.queue.pending() > 0 && !self.gave_up
    }

    /// Connects if there is something to send and it is time to try.
    fn keep_connected(&mut self, now: Instant) {
        if !self.wants_link() || self.outage.as_ref().is_some_and(|outage| now < outage.next) {
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

    /// Begins to make a connection to an address of one of the hosts.
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

    /// All addresses of all hosts, in their order.
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

    /// Sends what may be sent.
    fn transmit(&mut self, now: Instant) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_made) else {
            return;
        };
        loop {
            if link.stream.flush().is_err() {
                // As with a write below.
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
                // It takes no more; or it is broken, and what the server said before is read first.
                Err(_) => return,
            }
        }
    }

    /// Reads what the server says.
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
            // A failure would only cost time.
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
        let (queue, happened, outage) = (&mut self.queue, &mut self.happened, &mut self.outage);
        let (address, mut ends, mut not_now) = (link.address, None, None);
        let is_paused = link.is_paused;
        link.replies
            .feed(self.config.framing, &self.input[..n], |said| match said {
                _ if ends.is_some() => {}
                Said::Kept => match queue.settle() {
                    Some(number) => {
                        // What was sent before the line that was not kept says nothing about now.
                        let is_good = !is_paused && not_now.is_none();
                        if is_good && let Some(outage) = outage.take().filter(|outage| outage.told)
                        {
                            happened.push_back(Event::Back(address, now - outage.since));
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
            // It has answered everything, and cannot keep it now: another server may.
            self.drop_link();
            self.postpone(now);
        }
    }

    /// Silence with something owed is a broken connection.
    fn judge_silence(&mut self, now: Instant) {
        let Some(link) = self.link.as_ref().filter(|link| self.is_owed(link)) else {
            return;
        };
        if now.duration_since(link.heard_at) >= self.config.timeout {
            let seconds = self.config.timeout.as_secs_f64();
            let what = if link.is_made {
                "no reply"
            } else {
                "no answer"
            };
            self.break_off(&format!("{what} within {seconds} s"), now);
        }
    }

    /// The connection is of no use any more.
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

    /// Nothing can be sent for now. Without lines that wait it is no loss.
    fn lose(&mut self, why: &str, now: Instant) {
        if self.queue.pending() > 0 {
            self.report(why, now);
            self.postpone(now);
        }
    }

    /// Tells of an outage, once.
    fn report(&mut self, why: &str, now: Instant) {
        let outage = self.outage.get_or_insert_with(|| Outage::begin(now));
        if !outage.told {
            outage.told = true;
            self.happened.push_back(Event::Lost(why.to_owned()));
        }
        let tried_all = self.addresses.is_empty();
        if tried_all && outage.is_over(now, self.config.retry) && !self.gave_up {
            self.gave_up = true;
            self.happened.push_back(Event::GaveUp(why.to_owned()));
        }
    }

    fn postpone(&mut self, now: Instant) {
        // The next address of the same name is tried at once.
        let at_once = !self.addresses.is_empty();
        let outage = self.outage.get_or_insert_with(|| Outage::begin(now));
        if !at_once {
            outage.postpone(now, fastrand::f64());
        }
    }
}
