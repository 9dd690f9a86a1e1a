//! A reader of a stream. It returns each message once and in order, whatever happens to the nodes.
//!
//! It uses a consumer of its own, in the memory of one node, which can disappear at any moment. Then it
//! creates another one that begins after the last returned message.
//!
//! - `feed`: the messages of one consumer
//! - `position`: the position in the stream, and whether it is still the same stream

mod feed;
mod position;

use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::backoff::Backoff;
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::client::{Client, Received};
use crate::consumer::{self, Begin, ConsumerInfo};
use crate::jetstream::{self, Answer, ApiError, StreamInfo};
use crate::options::Options;

use self::feed::{Feed, FeedEvent};
pub use self::position::Start;
use self::position::{StreamPosition, Wrong};

/// How long a node waits for messages, and the interval of its heartbeats.
const EXPIRES: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Heartbeat timeout.
const SILENCE: Duration = Duration::from_secs(3);

/// The timeout of one request.
const ANSWER: Duration = Duration::from_secs(2);

/// After this long without a request, the node deletes the consumer.
const UNUSED: Duration = Duration::from_secs(30);

/// The first retry is made at once. These are the shortest and the longest pause before further ones.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a stream may have no leader when reading begins. An election takes less.
const OPENING: Duration = Duration::from_secs(12);

/// A message of the stream.
#[derive(Debug)]
pub struct Delivered {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When it was stored.
    pub time: SystemTime,
    /// Its subject, headers and payload.
    pub message: Received,
}

/// A reader of a stream.
#[derive(Debug)]
pub struct Pull {
    /// The options of the connection. The next node to try is the first one.
    options: Options,
    /// The client name in a node's connection list.
    name: String,
    stream: String,
    start: Start,
    /// How long to retry without success. `None`: without limit.
    patience: Option<Duration>,
    client: Option<Client>,
    feed: Option<Feed>,
    position: Option<StreamPosition>,
    /// Whether messages stored by now are to be added to those to be returned.
    extends: bool,
    /// How many more messages there are, as far as known.
    pending: u64,
    /// How long the node has sent nothing although it should.
    silence: Duration,
    backoff: Option<Backoff>,
    /// The last error, while there is a backoff.
    last_error: String,
    /// Whether the present problem was reported.
    is_reported: bool,
    notices: Vec<String>,
}

/// Why reading cannot begin.
#[derive(Debug)]
enum Trouble {
    /// A temporary problem: a retry, perhaps at another node, may succeed.
    Passing(String),
    /// A permanent problem.
    Lasting(String),
}

impl Pull {
    /// Opens a stream for reading. `name` is the client name in a node's connection list. `patience` limits
    /// how long later problems may last; `None` means no limit.
    ///
    /// # Errors
    /// One line: no node is usable, the stream does not exist, or reading it is not permitted.
    pub fn open(
        options: Options,
        name: &str,
        stream: &str,
        start: Start,
        patience: Option<Duration>,
    ) -> Result<Self, String> {
        let urls = options.nodes()?;
        let mut pull = Self {
            options: Options { urls, ..options },
            name: name.to_owned(),
            stream: stream.to_owned(),
            start,
            patience: Some(OPENING),
            client: None,
            feed: None,
            position: None,
            extends: true,
            pending: 0,
            silence: Duration::ZERO,
            backoff: None,
            last_error: String::new(),
            is_reported: false,
            notices: Vec::new(),
        };
        // An error in the options is reported at once.
        pull.connect()?;
        while pull.feed.is_none() {
            pull.begin_again(Instant::now() + OPENING)?;
        }
        pull.patience = patience;
        Ok(pull)
    }

    /// The next message, or `None` at the deadline.
    ///
    /// # Errors
    /// One line: the stream was deleted or replaced, or `patience` is exceeded.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Delivered>, String> {
        loop {
            let (Some(client), Some(feed)) = (&mut self.client, &mut self.feed) else {
                self.begin_again(deadline)?;
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                continue;
            };
            if let Some((messages, bytes)) = feed.wants() {
                let subject = consumer::next_subject(&self.stream, &feed.consumer);
                let request = consumer::next(messages, bytes, EXPIRES, HEARTBEAT);
                feed.asked(client.ask(&subject, b"", &request), messages);
            }
            let begun = Instant::now();
            match client.next(deadline.min(begun + SILENCE.saturating_sub(self.silence))) {
                Ok(Some(received)) => {
                    self.silence = Duration::ZERO;
                    if let Some(delivered) = self.take(received) {
                        return Ok(Some(delivered));
                    }
                }
                Ok(None) => {
                    self.silence += begun.elapsed();
                    if self.silence >= SILENCE {
                        // A permission error is permanent.
                        client.denial().map_or(Ok(()), Err)?;
                        self.lose("no message or heartbeat arrives");
                    } else if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) => self.disconnect(&error.to_string()),
            }
        }
    }

    /// Whether all messages were returned that existed when the stream was opened or last
    /// [extended](Self::extend).
    pub fn is_done(&self) -> bool {
        !self.extends && self.position.as_ref().is_some_and(StreamPosition::is_done)
    }

    /// How many more messages there are, as far as the nodes have reported.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Adds messages that were stored since to those [to be returned](Self::is_done).
    pub fn extend(&mut self) {
        self.extends = true;
        self.feed = None;
    }

    /// The reports since the last call.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Handles a received message. Returns it if it is the next message of the stream.
    fn take(&mut self, received: Received) -> Option<Delivered> {
        let (feed, position) = (self.feed.as_mut()?, self.position.as_mut()?);
        let (sequence, time) = match feed.take(&received) {
            FeedEvent::Nothing => return None,
            FeedEvent::Broken(why) => {
                self.lose(&why);
                return None;
            }
            FeedEvent::Idle(last) => {
                let removed = position.arrive_at(last.saturating_add(1));
                self.pending = 0;
                self.is_well(removed);
                return None;
            }
            FeedEvent::Message(it) => {
                self.pending = it.pending;
                (it.stream_sequence, it.time)
            }
        };
        // It was reported as removed. The sending node does not know that yet.
        if sequence < position.next() {
            return None;
        }
        let removed = position.arrive_at(sequence);
        position.pass(sequence);
        self.is_well(removed);
        Some(Delivered { sequence, time, message: received })
    }

    /// Ends a problem: messages arrive, or would arrive.
    fn is_well(&mut self, removed: Option<RangeInclusive<u64>>) {
        self.report_removed(removed);
        self.backoff = None;
        if std::mem::take(&mut self.is_reported)
            && let Some(client) = &self.client
        {
            let address = client.address();
            self.notices.push(format!("reading on from {address}"));
        }
    }

    fn report_removed(&mut self, removed: Option<RangeInclusive<u64>>) {
        let Some(removed) = removed else { return };
        let (first, last) = removed.into_inner();
        let which = match last - first {
            0 => format!("message {first} of stream {} was", self.stream),
            _ => format!("messages {first} to {last} of stream {} were", self.stream),
        };
        self.notices.push(format!("{which} removed unread"));
    }

    /// Drops the consumer.
    fn lose(&mut self, why: &str) {
        self.feed = None;
        self.silence = Duration::ZERO;
        let now = Instant::now();
        match &mut self.backoff {
            None => self.backoff = Some(Backoff::begin(SHORTEST_PAUSE, LONGEST_PAUSE, now)),
            Some(backoff) => backoff.postpone(now, fastrand::f64()),
        }
        why.clone_into(&mut self.last_error);
    }

    /// Drops the connection.
    fn disconnect(&mut self, why: &str) {
        self.client = None;
        self.lose(why);
    }

    /// Tries to create a consumer after the last returned message, when the backoff is over, and waits until
    /// `deadline` at most.
    fn begin_again(&mut self, deadline: Instant) -> Result<(), String> {
        if let Some(backoff) = &self.backoff {
            let (stream, why) = (&self.stream, &self.last_error);
            if backoff.has_lasted(Instant::now(), self.patience) {
                return Err(format!("stream {stream}: {why}"));
            }
            // A problem that the first retry ends is not reported.
            if backoff.is_postponed() && !std::mem::replace(&mut self.is_reported, true) {
                let report = format!("stream {stream}: {why}; trying again");
                self.notices.push(report);
            }
            let until = backoff.next().min(deadline);
            thread::sleep(until.saturating_duration_since(Instant::now()));
            if backoff.next() > deadline {
                return Ok(());
            }
        }
        match self.begin() {
            Ok(()) => Ok(()),
            Err(Trouble::Lasting(why)) => Err(why),
            Err(Trouble::Passing(why)) => {
                self.disconnect(&why);
                Ok(())
            }
        }
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        if self.client.is_none() {
            self.connect().map_err(Trouble::Passing)?;
        }
        let info = self.query_stream()?;
        let name = format!("read-{:016x}", fastrand::u64(..));
        let begin = match (&self.start, &self.position) {
            (_, Some(position)) => Begin::Sequence(position.next()),
            (Start::Time(time), None) => Begin::Time(time),
            (start, None) => Begin::Sequence(StreamPosition::new(&info, start).next()),
        };
        let subject = consumer::create_subject(&self.stream, &name);
        let request = consumer::create(&self.stream, &name, begin, UNUSED);
        let made: ConsumerInfo = self.call(&subject, &request)?;
        let position = self.position.get_or_insert_with(|| {
            let mut position = StreamPosition::new(&info, &self.start);
            position.begin_at(made.delivered.stream_seq.saturating_add(1));
            position
        });
        if std::mem::take(&mut self.extends) {
            position.extend(&info.state);
        }
        self.feed = Some(Feed::of(name));
        Ok(())
    }

    /// Queries the stream: whether it exists, and is the one that was read before.
    fn query_stream(&mut self) -> Result<StreamInfo, Trouble> {
        let info: StreamInfo = self.call(&jetstream::info_subject(&self.stream), b"")?;
        if !info.has_leader() {
            return Err(Trouble::Passing("it has no leader".to_owned()));
        }
        let Some(position) = &mut self.position else {
            return Ok(info);
        };
        let stream = &self.stream;
        match position.check(&info) {
            Ok(()) => {}
            Err(Wrong::Remade) => {
                return Err(Trouble::Lasting(format!(
                    "stream {stream} was deleted and made again: what it holds now is another log"
                )));
            }
            Err(Wrong::Shorter(last)) => {
                let read = position.next() - 1;
                let why = format!(
                    "stream {stream} has lost messages: it was read to {read}, and ends with {last} now"
                );
                // A new leader may not know all messages yet.
                let now = Instant::now();
                let backoff = self.backoff.as_ref();
                if backoff.is_some_and(|backoff| backoff.has_lasted(now, Some(OPENING))) {
                    return Err(Trouble::Lasting(why));
                }
                return Err(Trouble::Passing(why));
            }
        }
        let removed = position.arrive_at(info.state.first_seq.max(1));
        self.report_removed(removed);
        Ok(info)
    }

    /// Connects to the next usable node, and moves it to the end of the list.
    fn connect(&mut self) -> Result<(), String> {
        let client = Client::connect(&self.options, &self.name)?;
        let urls = &mut self.options.urls;
        for position in &client.info().connect_urls {
            urls.extend(client.address().sibling(position).filter(|it| !urls.contains(it)));
        }
        if let Some(at) = urls.iter().position(|url| url == client.address()) {
            urls.rotate_left(at + 1);
        }
        self.client = Some(client);
        Ok(())
    }

    /// Calls the `JetStream` API.
    fn call<T: DeserializeOwned>(&mut self, subject: &str, json: &[u8]) -> Result<T, Trouble> {
        let Some(client) = &mut self.client else {
            return Err(Trouble::Passing("there is no connection".to_owned()));
        };
        let answer = client.call(subject, json, ANSWER);
        let (address, has_jetstream) = (client.address().clone(), client.info().jetstream);
        match answer {
            Ok(Answer::Yes(answer)) => Ok(answer),
            Ok(Answer::No(error)) if error.is_no_responders() && !has_jetstream => {
                Err(Trouble::Lasting(format!("{address} has no JetStream")))
            }
            Ok(Answer::No(error)) => Err(self.refused(&error, &address)),
            Ok(Answer::Nonsense(why)) => Err(Trouble::Passing(format!("{address}: {why}"))),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Trouble::Lasting(error.to_string()))
            }
            Err(error) => Err(Trouble::Passing(format!("{address}: {error}"))),
        }
    }

    /// Classifies an error of the API.
    fn refused(&self, error: &ApiError, address: &Address) -> Trouble {
        let stream = &self.stream;
        let is_missing = error.err_code == ApiError::STREAM_NOT_FOUND;
        match self.position {
            _ if error.is_passing() => Trouble::Passing(format!("{address}: {error}")),
            None if is_missing => {
                Trouble::Lasting(format!("there is no stream {stream} at {address}"))
            }
            Some(_) if is_missing => Trouble::Lasting(format!("stream {stream} was deleted")),
            _ => Trouble::Lasting(format!("stream {stream} cannot be read: {error}")),
        }
    }
}

/// Deletes the consumer, rather than leaving it to its timeout.
impl Drop for Pull {
    fn drop(&mut self) {
        if let (Some(client), Some(feed)) = (&mut self.client, &self.feed) {
            let subject = consumer::delete_subject(&self.stream, &feed.consumer);
            client.publish(&subject, None, b"", b"");
            // If this fails, the node deletes the consumer after its timeout.
            _ = client.flush();
        }
    }
}
