//! The log as a replicated stream of NATS `JetStream`: each batch is one message of it, one is on its
//! way at a time, and the next one gathers meanwhile.
//!
//! - [`publisher`]: the rule by which a reply is truthful; [`identity`]: what batches are called
//! - [`link`]: the connection to whichever server can be used; [`servers`], [`outgoing`]: its parts
//! - [`check`]: what is looked at before the first line is taken; [`settings`]: what can be typed
//! - [`trouble`]: what people are told

pub mod check;
pub mod identity;
pub mod link;
pub mod outgoing;
pub mod publisher;
pub mod servers;
pub mod settings;
pub mod trouble;

use std::io;
use std::time::Instant;

use common::protocol::Reply;
use common::record::Format;
use mio::{Registry, Token};
use nats::headers;
use nats::info::Info;
use nats::jetstream::{Answer, ApiError, last_message_of, message_subject};
use nats::protocol::{self, Message, Op};

use super::{BackEnd, Finished, LogSpace, StreamFigures, Verdict};
use crate::batch::Batch;
use check::Found;
use link::{Link, Notice};
use publisher::{Do, Event, Outcome, Publisher};
use settings::Settings;
use trouble::Trouble;

/// The most bytes of a batch, however much the servers take at once: replicas copy it whole.
const BATCH_BYTES: usize = 512 << 10;

/// What stands around the records of a batch, at most: headers and the words of the protocol.
const AROUND_BYTES: usize = 4 << 10;

/// What a record has beside its message, at most: its time, its peer, and a client's name.
const AROUND_MESSAGE_BYTES: usize = 2 << 10;

/// The subscription of all that is answered to us.
const ANSWERS: u64 = 1;
/// And the one of those who ask whether somebody has our name.
const PRESENCE: u64 = 2;

/// The stream as the back end of the loop.
#[derive(Debug)]
pub struct StreamLog {
    settings: Settings,
    format: Format,
    replicas: usize,
    link: Link,
    publisher: Publisher,
    /// What answers come to: `INBOX.NUMBER.ATTEMPT` and `INBOX.look.QUESTION`.
    inbox: String,
    batch_bytes: usize,
    /// The most bytes of a message that the present server takes.
    max_payload: usize,
    batch: Option<Batch>,
    finished: Option<Finished>,
    trouble: Trouble,
    figures: StreamFigures,
}

impl StreamLog {
    /// Looks at the stream, says what should be known of it, and uses it.
    ///
    /// # Errors
    /// A line that says what will not do, and what would.
    pub fn open(settings: Settings, format: Format, max_message: usize) -> Result<Self, String> {
        let found = check::check(&settings)?;
        for warning in &found.warnings {
            log::warn!("{warning}");
        }
        Self::new(settings, &found, format, max_message, Instant::now())
    }

    /// What an `ok` means, in a line for whoever starts the server: how often servers sync cannot be
    /// asked.
    pub fn promise(&self) -> String {
        let (stream, replicas) = (&self.settings.stream, self.replicas);
        let have_it = match replicas {
            ..=1 => "the one server that keeps it has the line".to_owned(),
            n => format!(
                "{} of the {n} servers that keep it have the line",
                n / 2 + 1
            ),
        };
        format!(
            "stream {stream}: 'ok' means that {have_it}, on disk only if their configuration says \
             'sync_interval: always'"
        )
    }

    /// A back end for a stream that was found to be good. Messages have up to `max_message` bytes.
    ///
    /// # Errors
    /// A line that says which limits do not go together.
    fn new(
        settings: Settings,
        found: &Found,
        format: Format,
        max_message: usize,
        now: Instant,
    ) -> Result<Self, String> {
        let batch_bytes = batch_bytes(found.max_payload, format, max_message)?;
        let servers = settings.nats.servers()?;
        let link = Link::new(settings.nats.clone(), servers, settings.client_name(), now);
        let (stream, subject) = (&settings.stream, settings.subject());
        let mut publisher =
            Publisher::new(stream, &subject, found.identity.clone(), found.sequence);
        publisher.give_up_after(settings.ack_wait);
        Ok(Self {
            trouble: Trouble::new(&settings.stream, now),
            settings,
            format,
            replicas: found.config.num_replicas,
            link,
            publisher,
            inbox: format!("_INBOX.{:016x}", fastrand::u64(..)),
            batch_bytes,
            max_payload: found.max_payload,
            batch: None,
            finished: None,
            figures: StreamFigures::default(),
        })
    }

    /// What the connection brings, as long as it brings something.
    fn take_notices(&mut self, now: Instant) {
        loop {
            let payload = self.batch.as_ref().map_or(&[][..], Batch::records);
            let Some(notice) = self.link.go_on(now, payload) else {
                return;
            };
            self.take_notice(notice, now);
        }
    }

    fn take_notice(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Up(info) => self.begin_using(&info, now),
            Notice::Lost(why) => {
                self.figures.connected = false;
                self.trouble.lost(&why, now);
                self.happen(Event::Disconnected, now);
            }
            Notice::Failed(why) => self.trouble.still(&why, now),
            Notice::Sent(_) => self.happen(Event::Progress, now),
            Notice::Heard => self.hear(now),
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
        if let Some(server) = self.link.server() {
            self.trouble.connected(server, now);
        }
        self.happen(Event::Connected, now);
    }

    /// Takes what has come, one after another.
    fn hear(&mut self, now: Instant) {
        while let Some(op) = self.link.next_op() {
            let heard = match op {
                Ok(Op::Message(message)) => heard_of(&message, &self.inbox),
                Ok(Op::Ping) => Heard::Ping,
                Ok(Op::Pong) => Heard::Event(Event::Pong),
                Ok(Op::Err(why)) => Heard::Complaint(why.to_owned()),
                Ok(Op::Info(json)) => Heard::Info(json.to_vec()),
                Ok(Op::Ok) => Heard::Nothing,
                Err(malformed) => Heard::Malformed(malformed),
            };
            match heard {
                Heard::Event(event) => self.happen(event, now),
                Heard::Ping => _ = self.link.small().map(protocol::pong),
                Heard::Complaint(why) => self.trouble.complain(&why, now),
                Heard::Asked(reply) => self.answer_for_our_name(&reply),
                Heard::Info(json) => self.take_info(&json, now),
                Heard::Malformed(why) => self.leave(&why, now),
                Heard::Nothing => {}
            }
        }
    }

    /// A server tells what has changed.
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
        let notice = self.link.leave(now, why);
        self.take_notice(notice, now);
    }

    /// Somebody who has our name asks whether somebody has it.
    fn answer_for_our_name(&mut self, reply: &str) {
        let (process, host) = (std::process::id(), rustix::system::uname());
        let who = format!("process {process} on {}", host.nodename().to_string_lossy());
        if let Some(out) = self.link.small() {
            protocol::publish(out, reply, None, b"", who.as_bytes());
        }
    }

    fn happen(&mut self, event: Event, now: Instant) {
        if let Some(what) = self.publisher.on(event, now) {
            self.obey(what, now);
        }
        if self.publisher.was_disturbed() {
            self.trouble.disturbed(self.publisher.subject(), now);
        }
        if let Some(complaint) = self.publisher.complaint() {
            self.trouble.still(complaint, now);
        }
    }

    fn obey(&mut self, what: Do, now: Instant) {
        match what {
            Do::Publish => self.publish(now),
            Do::Look => {
                let reply = format!("{}.look.{}", self.inbox, self.publisher.question());
                let question = last_message_of(self.publisher.subject());
                let subject = message_subject(&self.settings.stream);
                if let Some(out) = self.link.small() {
                    protocol::publish(out, &subject, Some(&reply), b"", &question);
                }
            }
            Do::Ping => _ = self.link.small().map(protocol::ping),
            Do::Reconnect => self.leave("it does not answer", now),
            Do::Finish(outcome) => self.finish(outcome, now),
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
            // The server would end the connection for it.
            let answer = Answer::No(ApiError::too_large());
            return self.happen(
                Event::Answered {
                    number,
                    attempt,
                    answer,
                },
                now,
            );
        }
        let mut block = Vec::new();
        let fields = self.publisher.headers();
        let count = batch.messages().to_string();
        let [a, b, c] = fields
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let format = self.format.name();
        headers::write(
            &mut block,
            &[
                a,
                b,
                c,
                ("Line-Log-Format", format),
                ("Line-Log-Count", &count),
            ],
        );
        debug_assert!(block.len() < AROUND_BYTES);
        let reply = format!("{}.{number}.{attempt}", self.inbox);
        let subject = self.publisher.subject();
        let head = |out: &mut Vec<u8>| {
            protocol::publish_head(out, subject, Some(&reply), &block, payload.len());
        };
        self.link.publish(head, payload);
    }

    fn finish(&mut self, outcome: Outcome, now: Instant) {
        if let Some(notice) = self.link.take_back(now) {
            self.take_notice(notice, now);
        }
        let Some(batch) = self.batch.take() else {
            debug_assert!(false, "no batch is under way: {outcome:?}");
            return;
        };
        let messages = batch.messages();
        let verdict = match outcome {
            Outcome::Kept => {
                self.trouble.acknowledged(now);
                Verdict::Kept
            }
            Outcome::Refused(error) => {
                self.trouble.refused(&error, messages, now);
                Verdict::Refused(Reply::Stream(error.number()))
            }
            Outcome::Unknown => {
                self.figures.unknown += messages;
                self.trouble.unknown(messages, self.settings.ack_wait, now);
                Verdict::Unknown
            }
            Outcome::Usurped(_) => Verdict::Ended(format!(
                "another server publishes to {} as {}: what was not answered may be in the stream or \
                 not; give each server an -id of its own",
                self.publisher.subject(),
                self.settings.id
            )),
        };
        debug_assert!(self.finished.is_none(), "one batch at a time");
        self.finished = Some(Finished { batch, verdict });
    }
}

/// How much a batch may hold before one more message begins.
fn batch_bytes(max_payload: usize, format: Format, max_message: usize) -> Result<usize, String> {
    let most_record = max_message.saturating_mul(format.growth()) + AROUND_MESSAGE_BYTES;
    let left = max_payload.checked_sub(most_record + AROUND_BYTES);
    left.filter(|left| *left > 0)
        .map(|left| left.min(BATCH_BYTES))
        .ok_or_else(|| {
            let possible = max_payload.saturating_sub(AROUND_MESSAGE_BYTES + AROUND_BYTES) / format.growth();
            format!(
                "a message of -max-message {max_message} can take {most_record} bytes, and the stream \
                 takes {max_payload} at once: -max-message {possible} fits, or a larger max_payload of \
                 nats-server"
            )
        })
}

/// What was heard, without what it was heard from.
enum Heard {
    Event(Event),
    Ping,
    Complaint(String),
    Asked(String),
    Info(Vec<u8>),
    Malformed(String),
    Nothing,
}

fn heard_of(message: &Message<'_>, inbox: &str) -> Heard {
    if message.subscription == PRESENCE {
        let reply = message.reply.map(str::to_owned);
        return reply.map_or(Heard::Nothing, Heard::Asked);
    }
    let to = message
        .subject
        .strip_prefix(inbox)
        .and_then(|to| to.strip_prefix('.'));
    let Some((what, number)) = to.and_then(|to| to.split_once('.')) else {
        return Heard::Nothing;
    };
    let event = match (what.parse(), number.parse()) {
        (Err(_), Ok(question)) if what == "look" => Event::Seen {
            question,
            answer: Answer::read(message),
        },
        (Ok(batch), Ok(attempt)) => Event::Answered {
            number: batch,
            attempt: attempt as u32,
            answer: Answer::read(message),
        },
        _ => return Heard::Nothing,
    };
    Heard::Event(event)
}

impl BackEnd for StreamLog {
    /// They would double what is copied, and take the place of a batch of messages.
    const RECORDS_REPLIES: bool = false;

    fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.link.register(registry, token)
    }

    fn note(&mut self) {
        self.link.note();
    }

    fn go_on(&mut self, now: Instant) {
        self.take_notices(now);
        if self
            .publisher
            .deadline()
            .is_some_and(|deadline| now >= deadline)
        {
            self.happen(Event::Tick, now);
            self.take_notices(now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.publisher.deadline(), self.link.deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn has_room(&self) -> bool {
        self.batch.is_none()
    }

    fn submit(&mut self, batch: Batch, now: Instant) {
        debug_assert!(self.has_room());
        debug_assert!(
            batch.records().len() <= self.batch_bytes + AROUND_BYTES || batch.messages() > 0
        );
        // A batch of errors alone has nothing to be stored.
        if batch.messages() == 0 {
            let verdict = Verdict::Kept;
            self.finished = Some(Finished { batch, verdict });
            return;
        }
        self.trouble.waits(now);
        self.batch = Some(batch);
        self.happen(Event::Submitted, now);
        self.take_notices(now);
    }

    fn finished(&mut self) -> Option<Finished> {
        self.finished.take()
    }

    /// A stream has no name that could come to mean another.
    fn reopen(&mut self, _now: Instant) {}

    fn is_worth_sharing(&self) -> bool {
        true
    }

    fn do_chores(&mut self, _now: Instant) {}

    fn needs_chores(&self) -> bool {
        false
    }

    fn space(&self) -> LogSpace {
        LogSpace {
            failure: self.trouble.failure(Instant::now()),
            stream: Some(self.figures.clone()),
            ..LogSpace::default()
        }
    }
}
