//! A stream from some message on: each once and in order, whatever happens to the servers meanwhile.
//!
//! It is read by a consumer that belongs to this reader alone and lives in the memory of one server. It may
//! be gone at any moment; then another one begins behind the last message that was given.
//!
//! - `feed`: what one consumer sends
//! - `position`: how far the stream was read, and whether it is still the same
//! - `outage`: when to try again, and for how long

mod feed;
mod outage;
mod position;

use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::client::{Client, Received};
use crate::consumer::{self, Begin, ConsumerInfo};
use crate::jetstream::{self, Answer, ApiError, StreamInfo};
use crate::options::Options;

use self::feed::{Feed, News};
use self::outage::Outage;
use self::position::{StreamPosition, Wrong};

/// How long a server waits for messages to come, and how often it says meanwhile that it is there.
const EXPIRES: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Who says nothing for so long is not there.
const SILENCE: Duration = Duration::from_secs(3);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// What nobody asks for so long is removed.
const UNUSED: Duration = Duration::from_secs(30);

/// How long a stream may have no leader when reading begins: longer than an election takes.
const OPENING: Duration = Duration::from_secs(12);

/// The message that is read first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first that is there.
    First,
    /// The first of the last so many, or one before it; of none, what comes from now on.
    Last(u64),
    /// The first that was stored then (RFC 3339) or later.
    Time(String),
}

/// A message of the stream.
#[derive(Debug)]
pub struct Delivered {
    /// Its position in the stream.
    pub sequence: u64,
    /// When it was stored.
    pub time: SystemTime,
    /// Its subject, headers and payload.
    pub message: Received,
}

/// Reads a stream.
#[derive(Debug)]
pub struct Pull {
    /// The servers, the one that is tried next at first.
    options: Options,
    /// Who we are, for the servers' lists.
    name: String,
    stream: String,
    start: Start,
    /// How long to try without success; none: for ever.
    patience: Option<Duration>,
    client: Option<Client>,
    feed: Option<Feed>,
    position: Option<StreamPosition>,
    /// What is there by now is to belong to what is read.
    extends: bool,
    /// How many more there are, as far as is known.
    pending: u64,
    /// How long nothing has come that was waited for.
    silence: Duration,
    outage: Option<Outage>,
    notices: Vec<String>,
}

/// Why it cannot begin.
#[derive(Debug)]
enum Trouble {
    /// It may be able to later, or at another server.
    Passing(String),
    /// It will not be.
    Lasting(String),
}

impl Pull {
    /// Looks for a stream; `name` is who we are, for the servers' lists. Trouble that comes later may last
    /// as long as `patience`, or for ever.
    ///
    /// # Errors
    /// A line: no server can be used, there is no such stream, it may not be read.
    pub fn open(
        options: Options,
        name: &str,
        stream: &str,
        start: Start,
        patience: Option<Duration>,
    ) -> Result<Self, String> {
        let urls = options.servers()?;
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
            outage: None,
            notices: Vec::new(),
        };
        // What was typed wrong is said at once.
        pull.connect()?;
        while pull.feed.is_none() {
            pull.begin_again(Instant::now() + OPENING)?;
        }
        pull.patience = patience;
        Ok(pull)
    }

    /// The next message, or none until the deadline.
    ///
    /// # Errors
    /// A line: the stream is gone, or is another one by now; or patience is over.
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
                        // What is not allowed will not be the next time, either.
                        client.denial().map_or(Ok(()), Err)?;
                        self.lose("nobody sends what was asked for");
                    } else if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) => self.disconnect(&error.to_string()),
            }
        }
    }

    /// Everything was given that was there when the stream was opened or last [extended](Self::extend).
    pub fn is_done(&self) -> bool {
        !self.extends && self.position.as_ref().is_some_and(StreamPosition::is_done)
    }

    /// How many more messages there are, as far as the servers have said.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Has what was stored by now belong to what [is to be given](Self::is_done).
    pub fn extend(&mut self) {
        self.extends = true;
        self.feed = None;
    }

    /// What is to be told since this was last asked.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Looks at what came: whether it is the next message.
    fn take(&mut self, received: Received) -> Option<Delivered> {
        let (feed, position) = (self.feed.as_mut()?, self.position.as_mut()?);
        let (sequence, time) = match feed.take(&received) {
            News::Nothing => return None,
            News::Broken(why) => {
                self.lose(&why);
                return None;
            }
            News::Idle(last) => {
                let removed = position.arrive_at(last.saturating_add(1));
                self.pending = 0;
                self.is_well(removed);
                return None;
            }
            News::Message(it) => {
                self.pending = it.pending;
                (it.stream_sequence, it.time)
            }
        };
        // It was told of as removed: what sends it does not know that yet.
        if sequence < position.next() {
            return None;
        }
        let removed = position.arrive_at(sequence);
        position.pass(sequence);
        self.is_well(removed);
        Some(Delivered {
            sequence,
            time,
            message: received,
        })
    }

    /// Messages come, or would.
    fn is_well(&mut self, removed: Option<RangeInclusive<u64>>) {
        self.tell_removed(removed);
        let client = self.client.as_ref();
        if self.outage.take().is_some_and(|outage| outage.is_told)
            && let Some(client) = client
        {
            let notice = format!("reading on from {}", client.address());
            self.notices.push(notice);
        }
    }

    fn tell_removed(&mut self, removed: Option<RangeInclusive<u64>>) {
        let Some(removed) = removed else { return };
        let (first, last) = removed.into_inner();
        let which = match last - first {
            0 => format!("message {first} of stream {} was", self.stream),
            _ => format!("messages {first} to {last} of stream {} were", self.stream),
        };
        self.notices.push(format!("{which} removed unread"));
    }

    /// The consumer is of no use any more.
    fn lose(&mut self, why: &str) {
        self.feed = None;
        self.silence = Duration::ZERO;
        let now = Instant::now();
        let outage = self.outage.get_or_insert_with(|| Outage::begin(now));
        outage.postpone(now, fastrand::f64(), why);
    }

    /// The connection is of no use any more.
    fn disconnect(&mut self, why: &str) {
        self.client = None;
        self.lose(why);
    }

    /// Tries to begin behind what was given, when it is time for that, and until the deadline at most.
    fn begin_again(&mut self, deadline: Instant) -> Result<(), String> {
        if let Some(outage) = &mut self.outage {
            if outage.is_over(Instant::now(), self.patience) {
                return Err(format!("stream {}: {}", self.stream, outage.why));
            }
            if outage.is_to_be_told() {
                let notice = format!("stream {}: {}; trying again", self.stream, outage.why);
                self.notices.push(notice);
            }
            let until = outage.next.min(deadline);
            thread::sleep(until.saturating_duration_since(Instant::now()));
            if outage.next > deadline {
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
        let info = self.look()?;
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

    /// Looks at the stream: whether it is there, and the one that was read so far.
    fn look(&mut self) -> Result<StreamInfo, Trouble> {
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
                // A leader that was just elected may not know all yet.
                let now = Instant::now();
                let outage = self.outage.as_ref();
                if outage.is_some_and(|outage| outage.is_over(now, Some(OPENING))) {
                    return Err(Trouble::Lasting(why));
                }
                return Err(Trouble::Passing(why));
            }
        }
        let removed = position.arrive_at(info.state.first_seq.max(1));
        self.tell_removed(removed);
        Ok(info)
    }

    /// Connects to the next server that can be used, and puts it behind all others.
    fn connect(&mut self) -> Result<(), String> {
        let client = Client::connect(&self.options, &self.name)?;
        let urls = &mut self.options.urls;
        for position in &client.info().connect_urls {
            urls.extend(
                client
                    .address()
                    .sibling(position)
                    .filter(|it| !urls.contains(it)),
            );
        }
        if let Some(at) = urls.iter().position(|url| url == client.address()) {
            urls.rotate_left(at + 1);
        }
        self.client = Some(client);
        Ok(())
    }

    /// Asks the `JetStream` API.
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

    /// What it means when the API does not do something.
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

/// Nobody has to look after the consumer until it is removed by itself.
impl Drop for Pull {
    fn drop(&mut self) {
        if let (Some(client), Some(feed)) = (&mut self.client, &self.feed) {
            let subject = consumer::delete_subject(&self.stream, &feed.consumer);
            client.publish(&subject, None, b"", b"");
            // Where this does not arrive, it takes a little longer.
            _ = client.flush();
        }
    }
}
