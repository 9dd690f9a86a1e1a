//! A blocking NATS client.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::connect::connect;
use serde::de::DeserializeOwned;
use tls::Stream;

use crate::address::Address;
use crate::handshake::{Handshake, Progress, State};
use crate::headers::Headers;
use crate::info::Info;
use crate::jetstream::Answer;
use crate::options::Options;
use crate::protocol::{self, Decoder, Op};

/// The timeout of connecting to one node, and of a write to it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message of one of the client's subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The subject that it was published to.
    pub subject: String,
    /// The ID of the subscription.
    pub subscription: u64,
    /// The reply subject. In a message of a stream it holds the message's metadata.
    pub reply: Option<String>,
    /// The block of headers.
    pub headers: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Received {
    /// The headers of the message.
    pub fn headers(&self) -> Headers<'_> {
        Headers(&self.headers)
    }
}

/// A connection to one node.
#[derive(Debug)]
pub struct Client {
    stream: Stream<TcpStream>,
    decoder: Decoder,
    out: Vec<u8>,
    info: Info,
    address: Address,
    /// The prefix of reply subjects: `PREFIX.N`.
    inbox: String,
    subscriptions: u64,
    requests: u64,
    /// The last error that the node has sent.
    last_error: Option<String>,
}

/// The subscription ID of replies.
const ANSWERS: u64 = 1;

impl Client {
    /// Connects to the first usable node. `name` is the client name in the node's connection list.
    ///
    /// # Errors
    /// One line that says what is wrong with each node.
    pub fn connect(options: &Options, name: &str) -> Result<Self, String> {
        let mut failures = BTreeMap::<String, Vec<String>>::new();
        for address in options.nodes()? {
            match Self::connect_to(&address, options, name) {
                Ok(client) => return Ok(client),
                Err(why) => failures.entry(why).or_default().push(address.to_string()),
            }
        }
        let failures = failures.iter();
        let failures = failures.map(|(why, places)| format!("{}: {why}", places.join(", ")));
        let failures: Vec<_> = failures.collect();
        Err(format!("cannot use NATS: {}", failures.join("; ")))
    }

    fn connect_to(address: &Address, options: &Options, name: &str) -> Result<Self, String> {
        let socket = connect(&address.host, address.port, PATIENCE)?;
        let prepared =
            socket.set_nodelay(true).and_then(|()| socket.set_write_timeout(Some(PATIENCE)));
        prepared.map_err(|error| error.to_string())?;
        let mut client = Self {
            stream: Stream::new(socket, None),
            decoder: Decoder::default(),
            out: Vec::new(),
            info: Info::default(),
            address: address.clone(),
            inbox: format!("_INBOX.{:016x}", fastrand::u64(..)),
            subscriptions: ANSWERS,
            requests: 0,
            last_error: None,
        };
        client.shake_hands(options, name)?;
        protocol::subscribe(&mut client.out, &format!("{}.*", client.inbox), ANSWERS);
        Ok(client)
    }

    fn shake_hands(&mut self, options: &Options, name: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let address = self.address.clone();
        let mut state = State::default();
        let mut handshake =
            Handshake::of(&address, options.credentials.as_deref(), name, &mut state);
        loop {
            while let Some(op) = self.decoder.next_op().map_err(|error| error.to_string())? {
                match handshake.take(&op, &mut self.out)? {
                    Progress::Waits => {}
                    Progress::Done(info) => {
                        self.info = info;
                        return Ok(());
                    }
                    Progress::StartTls => {
                        self.start_tls(options)?;
                        handshake.secured(&mut self.out)?;
                    }
                }
            }
            self.flush().map_err(|error| error.to_string())?;
            self.fill(deadline).map_err(|error| match error.kind() {
                ErrorKind::TimedOut => "it says nothing".to_owned(),
                ErrorKind::UnexpectedEof => "it ended the connection".to_owned(),
                _ => error.to_string(),
            })?;
        }
    }

    fn start_tls(&mut self, options: &Options) -> Result<(), String> {
        if !self.decoder.is_empty() {
            return Err("it spoke on where TLS should begin".to_owned());
        }
        let session = options.connector()?.begin(self.address.tls_name())?;
        let socket = self.stream.socket.try_clone().map_err(|error| error.to_string())?;
        self.stream = Stream::new(socket, Some(session));
        let set = self.stream.socket.set_read_timeout(Some(PATIENCE));
        let done = set.and_then(|()| self.stream.handshake()).map_err(|error| error.to_string())?;
        done.then_some(()).ok_or_else(|| "it does not answer in TLS".to_owned())
    }

    /// The node's INFO.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The node's address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Subscribes to a subject. Returns the ID of the subscription.
    pub fn subscribe(&mut self, subject: &str) -> u64 {
        self.subscriptions += 1;
        protocol::subscribe(&mut self.out, subject, self.subscriptions);
        self.subscriptions
    }

    /// Publishes a message. It is sent by the next call that waits, or by [`flush`](Self::flush).
    pub fn publish(&mut self, subject: &str, reply: Option<&str>, headers: &[u8], payload: &[u8]) {
        protocol::publish(&mut self.out, subject, reply, headers, payload);
    }

    /// Publishes a request and returns its reply subject. [`next`](Self::next) returns the reply, under that
    /// subject.
    pub fn ask(&mut self, subject: &str, headers: &[u8], payload: &[u8]) -> String {
        self.requests += 1;
        let reply = format!("{}.{}", self.inbox, self.requests);
        self.publish(subject, Some(&reply), headers, payload);
        reply
    }

    /// Sends a request and waits for the reply. Other messages that arrive before it are dropped.
    ///
    /// # Errors
    /// `TimedOut` without a reply in time, `PermissionDenied` if the node has reported a permissions
    /// violation.
    pub fn request(
        &mut self,
        subject: &str,
        headers: &[u8],
        payload: &[u8],
        timeout: Duration,
    ) -> io::Result<Received> {
        let deadline = Instant::now() + timeout;
        let reply = self.ask(subject, headers, payload);
        loop {
            match self.next(deadline)? {
                Some(message) if message.subject == reply => return Ok(message),
                Some(_) => {}
                None => {
                    if let Some(why) = self.denial() {
                        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
                    }
                    let why = self.last_error.take();
                    let why = why.unwrap_or_else(|| format!("no answer to {subject}"));
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
            }
        }
    }

    /// Calls the `JetStream` API.
    ///
    /// # Errors
    /// See [`request`](Self::request).
    pub fn call<T: DeserializeOwned>(
        &mut self,
        subject: &str,
        json: &[u8],
        timeout: Duration,
    ) -> io::Result<Answer<T>> {
        let answer = self.request(subject, b"", json, timeout)?;
        Ok(Answer::parse(answer.headers(), &answer.payload))
    }

    /// The next message of any subscription, or `None` at the deadline.
    ///
    /// # Errors
    /// The connection is not usable any more.
    pub fn next(&mut self, deadline: Instant) -> io::Result<Option<Received>> {
        loop {
            while let Some(op) = self.decoder.next_op().map_err(io::Error::other)? {
                match op {
                    Op::Message(message) => {
                        return Ok(Some(Received {
                            subject: message.subject.to_owned(),
                            subscription: message.subscription,
                            reply: message.reply.map(str::to_owned),
                            headers: message.headers.0.to_vec(),
                            payload: message.payload.to_vec(),
                        }));
                    }
                    Op::Ping => protocol::pong(&mut self.out),
                    Op::Err(why) => self.last_error = Some(format!("the NATS server says: {why}")),
                    Op::Info(json) => self.info = Info::parse(json).map_err(io::Error::other)?,
                    Op::Pong | Op::Ok => {}
                }
            }
            self.flush()?;
            match self.fill(deadline) {
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(None),
                filled => filled?,
            }
        }
    }

    /// A permissions violation that the node has reported. A request that is not permitted gets no reply.
    pub fn denial(&mut self) -> Option<String> {
        let is_denial = |error: &mut String| error.contains("Permissions Violation");
        self.last_error.take_if(is_denial)
    }

    /// Sends the published messages.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        self.stream.flush()
    }

    /// Waits for at least one byte. `TimedOut` at the deadline.
    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.socket.set_read_timeout(Some(left))?;
        match self.stream.read(self.decoder.space()) {
            Ok(0) => Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                self.last_error
                    .take()
                    .unwrap_or_else(|| "the NATS server ended the connection".to_owned()),
            )),
            Ok(n) => {
                self.decoder.filled(n);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}
