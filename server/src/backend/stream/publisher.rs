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

use std::time::{Duration, Instant};

use fastrand::Rng;
use nats::jetstream::{Answer, ApiError, PubAck, StoredMessage, header};

use super::identity::{BatchId, Identity};

/// How long an attempt or a query may go unanswered before the node gets a PING.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long the PONG may take.
pub const PONG_WITHIN: Duration = Duration::from_secs(1);

/// The first backoff before another attempt, after an inconclusive answer. It doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest backoff.
const MAX_PAUSE: Duration = Duration::from_millis(640);

/// How long "no responders" from an existing stream is taken for an election. After that, the stream does not
/// store this subject.
const BETWEEN_LEADERS: Duration = Duration::from_secs(5);

/// How many queries may find a changed sequence before the next attempts wait for a backoff.
const EAGER_LOOKS: u32 = 3;

/// An input of the state machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A batch was submitted.
    Submitted,
    /// A connection is ready.
    Connected,
    /// The connection has ended.
    Disconnected,
    /// Bytes of the current attempt were sent.
    Progress,
    /// An answer to an attempt at a batch, perhaps an earlier batch.
    Answered {
        /// The batch's number.
        number: u64,
        /// The number of the attempt.
        attempt: u32,
        /// The answer.
        answer: Answer<PubAck>,
    },
    /// The last message of the subject, in answer to a query.
    Seen {
        /// The number of the query.
        question: u64,
        /// The answer.
        answer: Answer<StoredMessage>,
    },
    /// The node has answered a PING.
    Pong,
    /// A deadline may have been reached.
    Tick,
}

/// What the caller has to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Publish the current [attempt](Publisher::attempt) at the batch.
    Publish,
    /// Query the last message of the subject, with the number [question](Publisher::question).
    Look,
    /// Send the node a PING.
    Ping,
    /// Leave the node: it does not answer.
    Reconnect,
    /// The batch is finished.
    Finish(BatchOutcome),
}

/// The outcome of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchOutcome {
    /// It is stored in the stream.
    Kept,
    /// It is not stored and never will be.
    Refused(ApiError),
    /// It may or may not be stored.
    Unknown,
    /// Another server uses this identity. The batch may or may not be stored, and this server must exit.
    Fenced(BatchId),
}

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
    questions: u64,
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
    begun: Instant,
    give_up_at: Instant,
    /// The sequence of the last message before the first attempt.
    before: u64,
    step: Step,
    /// For each attempt, whether it was rejected permanently.
    refused: Vec<bool>,
    pause: Duration,
    looks: u32,
    /// The last answer that was not an acknowledgement.
    complaint: Option<String>,
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
    Looking {
        since: Instant,
        refusal: Option<ApiError>,
    },
    /// A PONG.
    Doubted { since: Instant },
}

/// What an error proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The last message of the subject is not the expected one.
    Moved,
    /// This attempt will never be stored.
    Refused,
    /// Nothing.
    Nothing,
}

impl Meaning {
    fn of(error: &ApiError) -> Self {
        match error.err_code {
            // 10071: wrong last sequence. 10164: the same while another message is proposed. 10201: a known
            // message ID.
            10071 | 10164 | 10201 => Self::Moved,
            // Too large, another stream's subject, sealed, not allowed by the stream.
            10054 | 10060 | 10109 | 10174 => Self::Refused,
            10077 if is_limit(&error.description) => Self::Refused,
            _ if error.is_no_responders() => Self::Refused,
            _ => Self::Nothing,
        }
    }
}

/// Whether the stream is full. Up to 2.12, a leader uses the same number, with another description, when its
/// disk has failed under a message that the other nodes have stored.
fn is_limit(description: &str) -> bool {
    description.starts_with("maximum ")
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
            questions: 0,
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
    pub fn question(&self) -> u64 {
        self.questions
    }

    /// The headers of the last attempt that the stream evaluates.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        let id = self.identity.batch(self.number);
        [
            (header::MESSAGE_ID, self.identity.text(id)),
            (header::EXPECTED_STREAM, self.stream.clone()),
            (
                header::EXPECTED_LAST_SUBJECT_SEQUENCE,
                self.sequence.to_string(),
            ),
        ]
    }

    /// The last answer about the current batch that was not an acknowledgement.
    pub fn complaint(&self) -> Option<&str> {
        self.batch.as_ref()?.complaint.as_deref()
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
            Step::Published { since } | Step::Looking { since, .. } => Some(since + ANSWER_WITHIN),
            Step::Doubted { since } => Some(since + PONG_WITHIN),
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
            Event::Answered {
                number,
                attempt,
                answer,
            } if number == self.number => self.take_answer(attempt, answer, now),
            Event::Seen { question, answer } if question == self.questions => {
                self.take_look(answer, now)
            }
            Event::Answered { .. } | Event::Seen { .. } => None,
            Event::Pong => {
                self.node = Node::Connected;
                match self.step()? {
                    Step::Doubted { .. } => Some(self.publish(now)),
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
            begun: now,
            give_up_at: now + self.ack_wait,
            before: self.sequence,
            step: Step::Paused { until: now },
            refused: Vec::new(),
            pause: FIRST_PAUSE,
            looks: 0,
            complaint: None,
        });
        match self.node {
            Node::Disconnected => None,
            Node::Connected => Some(self.publish(now)),
            Node::Suspect => self.doubt(now),
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

    fn doubt(&mut self, now: Instant) -> Option<Action> {
        let batch = self.batch.as_mut()?;
        batch.complaint = Some("no answer".to_owned());
        batch.step = Step::Doubted { since: now };
        Some(Action::Ping)
    }

    fn look(&mut self, refusal: Option<ApiError>, now: Instant) -> Action {
        self.questions += 1;
        if let Some(batch) = &mut self.batch {
            batch.step = Step::Looking {
                since: now,
                refusal,
            };
        }
        Action::Look
    }

    /// Schedules another attempt after an exponential backoff with jitter.
    fn pause(&mut self, now: Instant) -> Option<Action> {
        let batch = self.batch.as_mut()?;
        let jitter = self.jitter.f64() / 2.0 + 0.75;
        let until = now + batch.pause.mul_f64(jitter);
        batch.pause = (2 * batch.pause).min(MAX_PAUSE);
        batch.step = Step::Paused { until };
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
        let awaited =
            is_last && matches!(batch.step, Step::Published { .. } | Step::Doubted { .. });
        let (meaning, complaint) = match &answer {
            Answer::Yes(ack) if ack.stream != self.stream => (
                Meaning::Nothing,
                format!("the stream {} took it", ack.stream),
            ),
            // 2.10 acknowledges with sequence 0 a message that it knows and that is not committed.
            Answer::Yes(PubAck { seq: 0, .. }) => {
                (Meaning::Nothing, "it has no place yet".to_owned())
            }
            Answer::Yes(ack) => {
                self.sequence = ack.seq;
                return Some(self.finish(BatchOutcome::Kept));
            }
            Answer::No(error) => (Meaning::of(error), error.to_string()),
            Answer::Nonsense(what) => (
                Meaning::Nothing,
                format!("the answer is not understood: {what}"),
            ),
        };
        batch.complaint = Some(complaint);
        if meaning == Meaning::Refused {
            *batch.refused.get_mut(index)? = true;
        }
        if !awaited {
            return None;
        }
        let all_refused = batch.refused.iter().all(|refused| *refused);
        match (meaning, answer) {
            (Meaning::Moved, _) => Some(self.look(None, now)),
            (Meaning::Refused, Answer::No(error)) if all_refused => {
                Some(self.look(Some(error), now))
            }
            _ => self.pause(now),
        }
    }

    /// The last message of the subject shows whether the batch is stored.
    fn take_look(&mut self, answer: Answer<StoredMessage>, now: Instant) -> Option<Action> {
        let batch = self.batch.as_mut()?;
        let Step::Looking { refusal, .. } = &mut batch.step else {
            return None;
        };
        let refusal = refusal.take();
        let stored = match answer {
            Answer::Yes(stored) => stored.message,
            Answer::No(ApiError {
                err_code: code @ (ApiError::NO_MESSAGE_FOUND | ApiError::STREAM_NOT_FOUND),
                ..
            }) => {
                self.sequence = 0;
                return self.take_absence(refusal, code == ApiError::NO_MESSAGE_FOUND, now);
            }
            Answer::No(error) => {
                batch.complaint = Some(error.to_string());
                return self.pause(now);
            }
            Answer::Nonsense(what) => {
                batch.complaint = Some(format!("the answer is not understood: {what}"));
                return self.pause(now);
            }
        };
        let id = stored.header(header::MESSAGE_ID);
        let id = id.and_then(|id| self.identity.recognise(&id));
        let own = self.identity.batch(self.number);
        let is_earlier = stored.seq == batch.before || id.is_some_and(|id| id.run == own.run);
        match id {
            Some(id) if id == own => {
                self.sequence = stored.seq;
                Some(self.finish(BatchOutcome::Kept))
            }
            Some(id) if id > own || self.is_alive(id, stored.seq) => {
                Some(self.finish(BatchOutcome::Fenced(id)))
            }
            // The last message precedes this batch, so no attempt at this batch is stored.
            _ if is_earlier => {
                self.sequence = stored.seq;
                self.take_absence(refusal, true, now)
            }
            // Messages before a foreign one cannot be seen. The next attempt relies on the duplicate window.
            _ => {
                self.disturbed |= id.is_none();
                self.sequence = stored.seq;
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
            if may_pass && now < batch.begun + BETWEEN_LEADERS {
                return self.pause(now);
            }
            return Some(self.finish(BatchOutcome::Refused(error)));
        }
        batch.looks += 1;
        if batch.looks > EAGER_LOOKS {
            return self.pause(now);
        }
        Some(self.publish(now))
    }

    fn tick(&mut self, now: Instant) -> Option<Action> {
        let connected = self.node != Node::Disconnected;
        let batch = self.batch.as_mut()?;
        match batch.step {
            // This is checked before the deadline of the batch, so that the next batch need not wait again.
            Step::Doubted { since } if now >= since + PONG_WITHIN => {
                // The state stays the same until the connection has ended.
                batch.step = Step::Doubted { since: now };
                Some(Action::Reconnect)
            }
            _ if now >= batch.give_up_at => {
                if !matches!(batch.step, Step::Paused { .. }) {
                    self.node = Node::Suspect;
                }
                Some(self.finish(BatchOutcome::Unknown))
            }
            Step::Paused { until } if connected && now >= until => Some(self.publish(now)),
            Step::Published { since } | Step::Looking { since, .. }
                if now >= since + ANSWER_WITHIN =>
            {
                self.doubt(now)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod tests;
