//! The log as a replicated NATS `JetStream` stream. Each batch is one message of the stream. One batch is in
//! flight at a time; the next one is collected meanwhile.
//!
//! - [`publisher`]: the rule that makes a reply truthful; [`identity`]: the IDs of batches
//! - [`link`]: the connection to a usable node; [`nodes`], [`outgoing`]: its parts
//! - [`inbound`]: what a node sends; [`limits`]: the size of batches
//! - [`check`]: the checks at start; [`settings`]: the options
//! - [`status`]: reports and health

pub mod check;
pub mod identity;
pub mod inbound;
pub mod limits;
pub mod link;
pub mod nodes;
pub mod outgoing;
pub mod publisher;
pub mod settings;
pub mod status;

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use common::protocol::Reply;
use common::record::Format;
use mio::{Registry, Token};
use nats::headers;
use nats::info::Info;
use nats::jetstream::{Answer, ApiError, last_message_of, message_subject};
use nats::protocol;

use super::{BackEnd, CommitOutcome, Finished, LogSpace, StreamFigures};
use crate::batch::Batch;
use check::Found;
use inbound::{ANSWERS, Inbound, PRESENCE};
use limits::{AROUND_BYTES, batch_bytes, most_record};
use link::{Link, LinkEvent};
use publisher::{Action, BatchOutcome, Event, Publisher};
use settings::Settings;
use status::StreamStatus;

/// The stream as a back end of the event loop.
#[derive(Debug)]
pub struct StreamLog {
    settings: Settings,
    format: Format,
    replicas: usize,
    link: Link,
    publisher: Publisher,
    /// The prefix of reply subjects: `INBOX.NUMBER.ATTEMPT` and `INBOX.query.QUERY`.
    inbox: String,
    batch_bytes: usize,
    /// The maximum size of one record, in bytes.
    most_record: usize,
    /// The maximum payload that the connected node accepts, in bytes.
    max_payload: usize,
    batch: Option<Batch>,
    /// At most two: one that was answered, and behind it one that has only errors.
    finished: VecDeque<Finished>,
    status: StreamStatus,
    figures: StreamFigures,
}

impl StreamLog {
    /// Checks the stream, logs warnings, and opens it as the log.
    ///
    /// # Errors
    /// One line that says what is wrong and how to correct it.
    pub fn open(settings: Settings, format: Format, max_message: usize) -> Result<Self, String> {
        let found = check::check(&settings)?;
        for warning in &found.warnings {
            log::warn!("{warning}");
        }
        Self::new(settings, &found, format, max_message, Instant::now())
    }

    /// What an `ok` means, as one line for the start of the server. The sync interval of the nodes cannot be
    /// queried.
    pub fn promise(&self) -> String {
        let (stream, replicas) = (&self.settings.stream, self.replicas);
        let have_it = match replicas {
            ..=1 => "the one server that keeps it has the line".to_owned(),
            n => format!("{} of the {n} nodes that keep it have the line", n / 2 + 1),
        };
        format!(
            "stream {stream}: 'ok' means that {have_it}, on disk only if their configuration says \
             'sync_interval: always'"
        )
    }

    /// A back end for a stream that has passed the checks. Messages have up to `max_message` bytes.
    ///
    /// # Errors
    /// One line that says which limits conflict.
    fn new(
        settings: Settings,
        found: &Found,
        format: Format,
        max_message: usize,
        now: Instant,
    ) -> Result<Self, String> {
        let batch_bytes = batch_bytes(found.max_payload, format, max_message)?;
        let nodes = settings.nats.nodes()?;
        let link = Link::new(settings.nats.clone(), nodes, settings.client_name(), now);
        let (stream, subject) = (&settings.stream, settings.subject());
        let mut publisher =
            Publisher::new(stream, &subject, found.identity.clone(), found.sequence);
        publisher.give_up_after(settings.ack_wait);
        Ok(Self {
            status: StreamStatus::new(&settings.stream, now),
            settings,
            format,
            replicas: found.config.num_replicas,
            link,
            publisher,
            inbox: format!("_INBOX.{:016x}", fastrand::u64(..)),
            batch_bytes,
            most_record: most_record(format, max_message),
            max_payload: found.max_payload,
            batch: None,
            finished: VecDeque::new(),
            figures: StreamFigures::default(),
        })
    }

    /// Handles the events of the link until there are none.
    fn take_link_events(&mut self, now: Instant) {
        loop {
            let payload = self.batch.as_ref().map_or(&[][..], Batch::records);
            let Some(event) = self.link.advance(now, payload) else {
                return;
            };
            self.on_link_event(event, now);
        }
    }

    fn on_link_event(&mut self, event: LinkEvent, now: Instant) {
        match event {
            LinkEvent::Up(info) => self.begin_using(&info, now),
            LinkEvent::Lost(why) => {
                self.figures.connected = false;
                self.status.lost(&why, now);
                self.publisher_event(Event::Disconnected, now);
            }
            LinkEvent::Failed(why) => self.status.persists(&why, now),
            LinkEvent::Sent => self.publisher_event(Event::Progress, now),
            LinkEvent::Received => self.receive(now),
        }
    }

    fn begin_using(&mut self, info: &Info, now: Instant) {
        self.figures.connected = true;
        self.figures.connections += 1;
        self.max_payload = info.max_payload;
        if let Some(out) = self.link.small() {
            protocol::subscribe(out, &format!("{}.>", self.inbox), ANSWERS);
            protocol::subscribe(out, &self.settings.presence(), PRESENCE);
        }
        if let Some(node) = self.link.node() {
            self.status.connected(node, now);
        }
        self.publisher_event(Event::Connected, now);
    }

    /// Handles the operations that were received, one by one.
    fn receive(&mut self, now: Instant) {
        while let Some(op) = self.link.next_op() {
            let inbound = match op {
                Ok(op) => Inbound::of(&op, &self.inbox),
                Err(malformed) => {
                    self.leave(&malformed, now);
                    return;
                }
            };
            match inbound {
                Inbound::Event(event) => self.publisher_event(event, now),
                Inbound::Ping => _ = self.link.small().map(protocol::pong),
                Inbound::Error(why) => self.status.node_error(&why, now),
                Inbound::DuplicateCheck(reply) => self.answer_duplicate_check(&reply),
                Inbound::Info(json) => self.take_info(&json, now),
                Inbound::Nothing => {}
            }
        }
    }

    /// Handles an INFO: the node's settings have changed.
    fn take_info(&mut self, json: &[u8], now: Instant) {
        match Info::parse(json) {
            Ok(info) => {
                self.link.learn(&info);
                self.max_payload = info.max_payload;
                if info.ldm {
                    self.leave("it is about to stop", now);
                }
            }
            Err(why) => self.leave(&why, now),
        }
    }

    fn leave(&mut self, why: &str, now: Instant) {
        let event = self.link.leave(now, why);
        self.on_link_event(event, now);
    }

    /// Answers another server with this `-id` that checks for a duplicate.
    fn answer_duplicate_check(&mut self, reply: &str) {
        let (process, host) = (std::process::id(), rustix::system::uname());
        let who = format!("process {process} on {}", host.nodename().to_string_lossy());
        if let Some(out) = self.link.small() {
            protocol::publish(out, reply, None, b"", who.as_bytes());
        }
    }

    fn publisher_event(&mut self, event: Event, now: Instant) {
        if let Some(action) = self.publisher.on(event, now) {
            self.perform(action, now);
        }
        if self.publisher.was_disturbed() {
            self.status.disturbed(self.publisher.subject(), now);
        }
        if let Some(error) = self.publisher.last_error() {
            self.status.persists(error, now);
        }
    }

    fn perform(&mut self, action: Action, now: Instant) {
        match action {
            Action::Publish => self.publish(now),
            Action::Query => {
                let reply = format!("{}.query.{}", self.inbox, self.publisher.query());
                let query = last_message_of(self.publisher.subject());
                let subject = message_subject(&self.settings.stream);
                if let Some(out) = self.link.small() {
                    protocol::publish(out, &subject, Some(&reply), b"", &query);
                }
            }
            Action::Ping => _ = self.link.small().map(protocol::ping),
            Action::Reconnect => self.leave("it does not answer", now),
            Action::Finish(outcome) => self.finish(outcome, now),
        }
    }

    fn publish(&mut self, now: Instant) {
        let Some(batch) = &self.batch else {
            return;
        };
        self.figures.attempts += 1;
        let (number, attempt) = self.publisher.attempt();
        let payload = batch.records();
        if payload.len() + AROUND_BYTES > self.max_payload {
            // The node would close the connection for it.
            let answer = Answer::No(ApiError::too_large());
            let refused = Event::Answered { number, attempt, answer };
            return self.publisher_event(refused, now);
        }
        let block = self.headers_of(batch);
        debug_assert!(block.len() < AROUND_BYTES);
        let reply = format!("{}.{number}.{attempt}", self.inbox);
        let subject = self.publisher.subject();
        let head = |out: &mut Vec<u8>| {
            protocol::publish_head(out, subject, Some(&reply), &block, payload.len());
        };
        self.link.publish(head, payload);
    }

    /// The headers of a batch, for the stream and for its readers.
    fn headers_of(&self, batch: &Batch) -> Vec<u8> {
        let [id, stream, sequence] = self.publisher.headers();
        let count = batch.messages().to_string();
        let mut block = Vec::new();
        headers::write(
            &mut block,
            &[
                (id.0, &id.1),
                (stream.0, &stream.1),
                (sequence.0, &sequence.1),
                ("Line-Log-Format", self.format.name()),
                ("Line-Log-Count", &count),
            ],
        );
        block
    }

    fn finish(&mut self, outcome: BatchOutcome, now: Instant) {
        if let Some(event) = self.link.take_back(now) {
            self.on_link_event(event, now);
        }
        let Some(batch) = self.batch.take() else {
            debug_assert!(false, "no batch is under way: {outcome:?}");
            return;
        };
        let messages = batch.messages();
        let outcome = match outcome {
            BatchOutcome::Stored => {
                self.status.acknowledged(now);
                CommitOutcome::Committed
            }
            BatchOutcome::Rejected(error) => {
                let subject = self.publisher.subject();
                self.status.refused(&error, subject, messages, now);
                CommitOutcome::Rejected(Reply::Stream(error.number()))
            }
            BatchOutcome::Unknown => {
                self.figures.unknown += messages;
                self.status.unknown(messages, self.settings.ack_wait, now);
                CommitOutcome::Unknown
            }
            BatchOutcome::Fenced(_) => CommitOutcome::Fatal(format!(
                "another server publishes to {} as {}: what was not answered may be in the stream or \
                 not; give each server an -id of its own",
                self.publisher.subject(),
                self.settings.id
            )),
        };
        debug_assert!(self.finished.is_empty(), "one batch at a time");
        self.finished.push_back(Finished { batch, outcome });
    }
}

impl BackEnd for StreamLog {
    /// These records would double the bytes that are replicated, and take the space of messages.
    const RECORDS_REPLIES: bool = false;

    fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.link.register(registry, token)
    }

    fn on_event(&mut self) {
        self.link.on_event();
    }

    fn advance(&mut self, now: Instant) {
        self.take_link_events(now);
        if self.publisher.deadline().is_some_and(|deadline| now >= deadline) {
            self.publisher_event(Event::Tick, now);
            self.take_link_events(now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.publisher.deadline(), Some(self.link.deadline())];
        deadlines.into_iter().flatten().min()
    }

    fn has_room(&self) -> bool {
        self.batch.is_none()
    }

    fn submit(&mut self, batch: Batch, now: Instant) {
        debug_assert!(self.has_room());
        debug_assert!(batch.records().len() <= self.batch_bytes + self.most_record);
        // A batch that has only errors is not stored. It is finished behind the batches that were answered
        // before.
        if batch.messages() == 0 {
            debug_assert!(batch.records().is_empty() && self.finished.len() < 2);
            let outcome = CommitOutcome::Committed;
            self.finished.push_back(Finished { batch, outcome });
            return;
        }
        self.status.waits(now);
        self.batch = Some(batch);
        self.publisher_event(Event::Submitted, now);
        self.take_link_events(now);
    }

    fn finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// A stream has no name that could lead to another one.
    fn reopen(&mut self, _now: Instant) {}

    fn is_worth_sharing(&self) -> bool {
        true
    }

    fn delays_commits(&self) -> bool {
        true
    }

    fn run_periodic_tasks(&mut self, _now: Instant) {}

    fn needs_periodic_tasks(&self) -> bool {
        false
    }

    fn space(&self) -> LogSpace {
        LogSpace {
            failure: self.status.failure(Instant::now()),
            stream: Some(self.figures.clone()),
            ..LogSpace::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use nats::jetstream::StreamConfig;

    use super::*;
    use crate::batch::ClientId;
    use identity::Identity;

    fn found(max_payload: usize) -> Found {
        Found {
            config: StreamConfig::default(),
            max_payload,
            identity: Identity::of_run("me", 1),
            sequence: 0,
            warnings: Vec::new(),
        }
    }

    fn stream() -> StreamLog {
        let (settings, found) = (Settings::default(), found(1 << 20));
        StreamLog::new(settings, &found, Format::Original, 65_536, Instant::now()).unwrap()
    }

    const CLIENT: ClientId = ClientId { key: 1, serial: 1 };

    #[test]
    fn a_batch_of_errors_is_finished_behind_the_batches_before_it() {
        let (mut stream, now) = (stream(), Instant::now());
        let mut lines = Batch::default();
        lines.record(b"> ", b"a line");
        lines.owe(CLIENT, Reply::Ok);
        stream.submit(lines, now);
        assert!(!stream.has_room());
        stream.perform(Action::Finish(BatchOutcome::Stored), now);
        assert!(stream.has_room());
        let mut errors = Batch::default();
        errors.owe(CLIENT, Reply::TooLong(8));
        stream.submit(errors, now);
        assert!(stream.has_room(), "nothing has to be stored");
        let finished: Vec<_> = std::iter::from_fn(|| stream.finished()).collect();
        let replies: Vec<_> = finished.iter().map(|it| it.batch.replies()[0].reply).collect();
        assert_eq!(replies, [Reply::Ok, Reply::TooLong(8)]);
        assert!(finished.iter().all(|it| matches!(it.outcome, CommitOutcome::Committed)));
    }
}
