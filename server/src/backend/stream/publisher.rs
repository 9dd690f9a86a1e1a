//! The rule that makes a reply truthful, as a state machine without I/O. It takes events about a batch on its
//! way to the stream, and returns the next action.
//!
//! A batch is one message of the stream, on a subject that no other server uses. Its message ID prevents a
//! second copy within the duplicate window. The expected last sequence of the subject prevents it without a
//! time limit: of all attempts, however late, only the first can be the next message of the subject. So the
//! same attempt can be repeated, and only what the answers prove matters:
//!
//! - An acknowledgement of any attempt: the batch is stored.
//! - "Wrong last sequence" proves nothing: our own earlier attempt may have changed the sequence. The last
//!   message of the subject shows whether it did.
//! - No answer, a lost connection, or an inconclusive error: the outcome is unknown. The attempt is repeated.
//! - A rejection counts only if *every* attempt was rejected permanently, and the last message of the subject
//!   shows that the batch is not stored. A leader that was paused can wake up and reject what its successor
//!   has stored. "No responders" counts only after a few seconds of attempts: an election may be under way.
//! - A batch that is still unknown at its deadline stays unknown.
//!
//! All of this was found by experiment with nats-server 2.15. Its error numbers are in its `errors.json`.

#[cfg(test)]
mod cluster;
mod event;
mod meaning;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use common::backoff::Backoff;
use fastrand::Rng;
use nats::jetstream::{Answer, ApiError, PubAck, Stored, StoredMessage, header};

use super::identity::{BatchId, Identity};
pub use event::{Action, BatchOutcome, Event};
use meaning::Meaning;

/// How long an attempt or a query may go unanswered before the node gets a PING.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long the PONG may take.
pub const PONG_WITHIN: Duration = Duration::from_secs(1);

/// The shortest and the longest pause before another attempt, after an inconclusive answer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// How long "no responders" from an existing stream is taken for an election. After that, the stream does not
/// store this subject.
const BETWEEN_LEADERS: Duration = Duration::from_secs(5);

/// How many queries may find a changed sequence before the next attempts wait for a backoff.
const EAGER_QUERIES: u32 = 3;

/// The publisher of one subject.
#[derive(Debug)]
pub struct Publisher {
    stream: String,
    subject: String,
    identity: Identity,
    ack_wait: Duration,
    /// The sequence of the last message on the subject, as far as known. 0: there is none.
    sequence: u64,
    /// The number of the current or last batch, from 1.
    number: u64,
    last_query: u64,
    node: Node,
    batch: Option<UnderWay>,
    /// Whether a batch of an earlier run was stored after this run began.
    was_preceded: bool,
    /// Whether a foreign message was found on the subject.
    disturbed: bool,
    jitter: Rng,
}

/// The batch in flight.
#[derive(Debug)]
struct UnderWay {
    give_up_at: Instant,
    /// The sequence of the last message before the first attempt.
    before: u64,
    step: Step,
    /// For each attempt, whether it was rejected permanently.
    refused: Vec<bool>,
    /// The backoff since the batch was submitted.
    backoff: Backoff,
    /// How many queries have found that the sequence had changed.
    queries: u32,
    /// The last answer that was not an acknowledgement.
    last_error: Option<String>,
}

/// The state of the connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Disconnected,
    Connected,
    /// It owed an answer when `-ack-wait` ended for the last batch. A PING comes before the next publish:
    /// with a short `-ack-wait`, no other timeout would detect that the node is dead.
    Suspect,
}

/// What the publisher waits for.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// The end of the backoff, and a connection.
    Paused { until: Instant },
    /// The answer to the last attempt.
    Published { since: Instant },
    /// The answer to a query for the last message. `refusal` is the reason if every attempt was rejected
    /// permanently.
    Querying { since: Instant, refusal: Option<ApiError> },
    /// A PONG.
    Pinged { since: Instant },
}

impl Publisher {
    /// A publisher for a subject whose last message has this `sequence`, 0 if there is none.
    pub fn new(stream: &str, subject: &str, identity: Identity, sequence: u64) -> Self {
        Self {
            stream: stream.to_owned(),
            subject: subject.to_owned(),
            identity,
            ack_wait: Duration::from_secs(30),
            sequence,
            number: 0,
            last_query: 0,
            node: Node::Disconnected,
            batch: None,
            was_preceded: false,
            disturbed: false,
            jitter: Rng::new(),
        }
    }

    /// Sets how long a batch may take before its outcome is unknown.
    pub fn give_up_after(&mut self, ack_wait: Duration) {
        self.ack_wait = ack_wait;
    }

    /// The subject that it publishes to.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The number of the current batch, and of the last attempt at it.
    pub fn attempt(&self) -> (u64, u32) {
        let attempts = self.batch.as_ref().map_or(0, |batch| batch.refused.len());
        (self.number, attempts as u32)
    }

    /// The number of the last query for the last message.
    pub fn query(&self) -> u64 {
        self.last_query
    }

    /// The headers of the last attempt that the stream evaluates.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        let id = self.identity.batch(self.number);
        [
            (header::MESSAGE_ID, self.identity.text(id)),
            (header::EXPECTED_STREAM, self.stream.clone()),
            (header::EXPECTED_LAST_SUBJECT_SEQUENCE, self.sequence.to_string()),
        ]
    }

    /// The last answer about the current batch that was not an acknowledgement.
    pub fn last_error(&self) -> Option<&str> {
        self.batch.as_ref()?.last_error.as_deref()
    }

    /// Whether a foreign message was found on the subject since the last call.
    pub fn was_disturbed(&mut self) -> bool {
        std::mem::take(&mut self.disturbed)
    }

    /// When an [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let batch = self.batch.as_ref()?;
        let step = match batch.step {
            Step::Paused { until } => (self.node != Node::Disconnected).then_some(until),
            Step::Published { since } | Step::Querying { since, .. } => Some(since + ANSWER_WITHIN),
            Step::Pinged { since } => Some(since + PONG_WITHIN),
        };
        Some(step.map_or(batch.give_up_at, |step| step.min(batch.give_up_at)))
    }

    /// Handles an event, and returns the next action, if any.
    pub fn on(&mut self, event: Event, now: Instant) -> Option<Action> {
        match event {
            Event::Submitted => self.submit(now),
            Event::Connected => {
                self.node = Node::Connected;
                self.batch.is_some().then(|| self.publish(now))
            }
            Event::Disconnected => {
                self.node = Node::Disconnected;
                let batch = self.batch.as_mut()?;
                batch.step = Step::Paused { until: now };
                None
            }
            Event::Progress => {
                if let Some(Step::Published { since }) = self.step() {
                    *since = now;
                }
                None
            }
            Event::Answered { number, attempt, answer } if number == self.number => {
                self.take_answer(attempt, answer, now)
            }
            Event::Queried { query, answer } if query == self.last_query => {
                self.take_last_message(answer, now)
            }
            Event::Answered { .. } | Event::Queried { .. } => None,
            Event::Pong => {
                self.node = Node::Connected;
                match self.step()? {
                    Step::Pinged { .. } => Some(self.publish(now)),
                    _ => None,
                }
            }
            Event::Tick => self.tick(now),
        }
    }

    fn step(&mut self) -> Option<&mut Step> {
        Some(&mut self.batch.as_mut()?.step)
    }

    fn submit(&mut self, now: Instant) -> Option<Action> {
        debug_assert!(self.batch.is_none(), "one batch at a time");
        self.number += 1;
        self.batch = Some(UnderWay {
            give_up_at: now + self.ack_wait,
            before: self.sequence,
            step: Step::Paused { until: now },
            refused: Vec::new(),
            backoff: Backoff::begin(SHORTEST_PAUSE, LONGEST_PAUSE, now),
            queries: 0,
            last_error: None,
        });
        match self.node {
            Node::Disconnected => None,
            Node::Connected => Some(self.publish(now)),
            Node::Suspect => self.ping(now),
        }
    }

    /// Every attempt has the same bytes and the same message ID.
    fn publish(&mut self, now: Instant) -> Action {
        debug_assert!(self.node != Node::Disconnected, "a node is connected");
        if let Some(batch) = &mut self.batch {
            batch.refused.push(false);
            batch.step = Step::Published { since: now };
        }
        Action::Publish
    }

    fn ping(&mut self, now: Instant) -> Option<Action> {
        let batch = self.batch.as_mut()?;
        batch.last_error = Some("no answer".to_owned());
        batch.step = Step::Pinged { since: now };
        Some(Action::Ping)
    }

    fn ask(&mut self, refusal: Option<ApiError>, now: Instant) -> Action {
        self.last_query += 1;
        if let Some(batch) = &mut self.batch {
            batch.step = Step::Querying { since: now, refusal };
        }
        Action::Query
    }

    /// Schedules another attempt after an exponential backoff with jitter.
    fn pause(&mut self, now: Instant) -> Option<Action> {
        let batch = self.batch.as_mut()?;
        batch.backoff.postpone(now, self.jitter.f64());
        batch.step = Step::Paused { until: batch.backoff.next() };
        None
    }

    fn finish(&mut self, outcome: BatchOutcome) -> Action {
        self.batch = None;
        Action::Finish(outcome)
    }

    fn take_answer(
        &mut self,
        attempt: u32,
        answer: Answer<PubAck>,
        now: Instant,
    ) -> Option<Action> {
        let batch = self.batch.as_mut()?;
        let index = (attempt as usize).checked_sub(1)?;
        let is_last = attempt as usize == batch.refused.len();
        let awaited = is_last && matches!(batch.step, Step::Published { .. } | Step::Pinged { .. });
        let (meaning, error) = match &answer {
            Answer::Yes(ack) if ack.stream == self.stream && ack.seq > 0 => {
                self.sequence = ack.seq;
                return Some(self.finish(BatchOutcome::Stored));
            }
            answer => describe(answer),
        };
        batch.last_error = Some(error);
        if meaning == Meaning::Rejected {
            *batch.refused.get_mut(index)? = true;
        }
        if !awaited {
            return None;
        }
        let all_refused = batch.refused.iter().all(|refused| *refused);
        match (meaning, answer) {
            (Meaning::Moved, _) => Some(self.ask(None, now)),
            (Meaning::Rejected, Answer::No(error)) if all_refused => {
                Some(self.ask(Some(error), now))
            }
            _ => self.pause(now),
        }
    }

    /// The last message of the subject shows whether the batch is stored.
    fn take_last_message(&mut self, answer: Answer<StoredMessage>, now: Instant) -> Option<Action> {
        let batch = self.batch.as_mut()?;
        let Step::Querying { refusal, .. } = &mut batch.step else {
            return None;
        };
        let refusal = refusal.take();
        let error = match answer {
            Answer::Yes(stored) => return self.compare(&stored.message, refusal, now),
            Answer::No(ApiError {
                err_code: code @ (ApiError::NO_MESSAGE_FOUND | ApiError::STREAM_NOT_FOUND),
                ..
            }) => {
                self.sequence = 0;
                return self.take_absence(refusal, code == ApiError::NO_MESSAGE_FOUND, now);
            }
            Answer::No(error) => error.to_string(),
            Answer::Nonsense(what) => format!("the answer is not understood: {what}"),
        };
        batch.last_error = Some(error);
        self.pause(now)
    }

    /// Compares the last message of the subject with the batch.
    fn compare(
        &mut self,
        last: &Stored,
        refusal: Option<ApiError>,
        now: Instant,
    ) -> Option<Action> {
        let before = self.batch.as_ref()?.before;
        let id = last.header(header::MESSAGE_ID);
        let id = id.and_then(|id| self.identity.recognise(&id));
        let own = self.identity.batch(self.number);
        let is_earlier = last.seq == before || id.is_some_and(|id| id.run == own.run);
        match id {
            Some(id) if id == own => {
                self.sequence = last.seq;
                Some(self.finish(BatchOutcome::Stored))
            }
            Some(id) if id > own || self.is_alive(id, last.seq) => {
                Some(self.finish(BatchOutcome::Fenced(id)))
            }
            // The last message precedes this batch, so no attempt at this batch is stored.
            _ if is_earlier => {
                self.sequence = last.seq;
                self.take_absence(refusal, true, now)
            }
            // Messages before a foreign one cannot be seen. The next attempt relies on the duplicate window.
            _ => {
                self.disturbed |= id.is_none();
                self.sequence = last.seq;
                self.pause(now)
            }
        }
    }

    /// Whether the run of this batch is still active. An earlier run may leave one late attempt. A second one
    /// shows that it still runs.
    fn is_alive(&mut self, id: BatchId, sequence: u64) -> bool {
        let is_new = id.run != self.identity.run() && sequence > self.sequence;
        is_new && std::mem::replace(&mut self.was_preceded, true)
    }

    /// The batch is not stored. The stream itself may be missing.
    fn take_absence(
        &mut self,
        refusal: Option<ApiError>,
        is_stream_there: bool,
        now: Instant,
    ) -> Option<Action> {
        let batch = self.batch.as_mut()?;
        if let Some(error) = refusal {
            let may_pass = is_stream_there && error.is_no_responders();
            if may_pass && now < batch.backoff.since() + BETWEEN_LEADERS {
                return self.pause(now);
            }
            return Some(self.finish(BatchOutcome::Rejected(error)));
        }
        batch.queries += 1;
        if batch.queries > EAGER_QUERIES {
            return self.pause(now);
        }
        Some(self.publish(now))
    }

    fn tick(&mut self, now: Instant) -> Option<Action> {
        let connected = self.node != Node::Disconnected;
        let batch = self.batch.as_mut()?;
        match batch.step {
            // This is checked before the deadline of the batch, so that the next batch need not wait again.
            Step::Pinged { since } if now >= since + PONG_WITHIN => {
                // The state stays the same until the connection has ended.
                batch.step = Step::Pinged { since: now };
                Some(Action::Reconnect)
            }
            _ if now >= batch.give_up_at => {
                if !matches!(batch.step, Step::Paused { .. }) {
                    self.node = Node::Suspect;
                }
                Some(self.finish(BatchOutcome::Unknown))
            }
            Step::Paused { until } if connected && now >= until => Some(self.publish(now)),
            Step::Published { since } | Step::Querying { since, .. }
                if now >= since + ANSWER_WITHIN =>
            {
                self.ping(now)
            }
            _ => None,
        }
    }
}

/// What an answer that does not acknowledge this batch proves, and its text.
fn describe(answer: &Answer<PubAck>) -> (Meaning, String) {
    match answer {
        // 2.10 acknowledges with sequence 0 a message that it knows and that is not committed.
        Answer::Yes(PubAck { seq: 0, .. }) => (Meaning::Nothing, "it has no place yet".to_owned()),
        Answer::Yes(ack) => {
            let other = format!("the stream {} took it", ack.stream);
            (Meaning::Nothing, other)
        }
        Answer::No(error) => (Meaning::of(error), error.to_string()),
        Answer::Nonsense(what) => {
            let malformed = format!("the answer is not understood: {what}");
            (Meaning::Nothing, malformed)
        }
    }
}
