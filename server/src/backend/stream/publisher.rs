//! The rule by which a reply is truthful, as a state machine without I/O: what happens to a batch on
//! its way into the stream, and what is to be done next.
//!
//! A batch is one message of the stream, on a subject that no other server has. Its identity keeps it
//! from being stored twice within a while, and the sequence of the message before it for ever: whatever
//! attempt arrives late, only the first can be the next message of the subject. So the same attempt may
//! be made again and again, and all that has to be known is what the answers prove:
//!
//! - An acknowledgement of any attempt: it is in.
//! - "Wrong last sequence" is no answer: our own earlier attempt may have moved it. The last message of
//!   the subject tells.
//! - Silence, a lost connection, or an error that says nothing for certain: nobody knows. Again.
//! - A refusal counts only if *every* attempt was refused for good, and a look at the stream shows that
//!   the batch is not in: a leader that was stopped wakes up and refuses what its successor has stored.
//!   Where nobody is there to take it, it is asked again for a while before that is believed: a leader may be
//!   about to follow.
//! - What is still unknown after the time for it stays so.
//!
//! All of this was found by trying with nats-server 2.15; its error numbers are in its `errors.json`.

use std::time::{Duration, Instant};

use fastrand::Rng;
use nats::jetstream::{Answer, ApiError, PubAck, StoredMessage, header};

use super::identity::{BatchId, Identity};

/// How long an attempt, or a question, may go unanswered before it is asked whether the server answers
/// at all.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long it may take to answer that.
pub const PONG_WITHIN: Duration = Duration::from_secs(1);

/// The first pause before another attempt, after an answer that proves nothing. It doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_millis(640);

/// A stream that is there, though nobody takes its messages, is between two leaders. If it is so for
/// longer, it stores other subjects.
const BETWEEN_LEADERS: Duration = Duration::from_secs(5);

/// How often it may be found at once that the sequence was moved; from then on there are pauses.
const EAGER_LOOKS: u32 = 3;

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// There is a batch.
    Submitted,
    /// There is a connection.
    Connected,
    /// There is none any more.
    Disconnected,
    /// Bytes of the attempt under way have left.
    Progress,
    /// What was said to an attempt at a batch, perhaps an earlier one.
    Answered {
        /// The batch's number.
        number: u64,
        /// Which attempt at it.
        attempt: u32,
        /// What was said.
        answer: Answer<PubAck>,
    },
    /// The last message of the subject, as it was asked for.
    Seen {
        /// Which question this answers.
        question: u64,
        /// What was said.
        answer: Answer<StoredMessage>,
    },
    /// The server answers.
    Pong,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make an [attempt](Publisher::attempt) at the batch.
    Publish,
    /// Ask for the last message of the subject, as [question](Publisher::question) number so and so.
    Look,
    /// Ask the server whether it answers.
    Ping,
    /// Leave the server: it does not.
    Reconnect,
    /// The batch is done with.
    Finish(BatchOutcome),
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchOutcome {
    /// It is in the stream.
    Kept,
    /// It is not, and never will be.
    Refused(ApiError),
    /// Nobody knows.
    Unknown,
    /// Another server has this identity, and the batch may be in or not: this one has to end.
    Fenced(BatchId),
}

/// The publisher of one subject.
#[derive(Debug)]
pub struct Publisher {
    stream: String,
    subject: String,
    identity: Identity,
    ack_wait: Duration,
    /// The sequence of the last message on the subject, as far as is known; 0: there is none.
    sequence: u64,
    /// How many batches there were, the present one included.
    number: u64,
    questions: u64,
    node: Node,
    batch: Option<UnderWay>,
    /// A batch of an earlier run has come since this one began.
    was_preceded: bool,
    /// Somebody else's message was found on the subject.
    disturbed: bool,
    jitter: Rng,
}

/// The batch that is on its way.
#[derive(Debug)]
struct UnderWay {
    begun: Instant,
    give_up_at: Instant,
    /// The sequence of the last message before the first attempt.
    before: u64,
    step: Step,
    /// Of each attempt: it was refused for good.
    refused: Vec<bool>,
    pause: Duration,
    looks: u32,
    /// What was said last that was no acknowledgement.
    complaint: Option<String>,
}

/// What is known of the node that the publisher is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Disconnected,
    Connected,
    /// It owed an answer when `-ack-wait` ended for the last batch. A PING comes before the next
    /// publish: with a short `-ack-wait`, no other timeout would find out that the node is dead.
    Suspect,
}

/// What is awaited.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// A moment, and a connection.
    Paused { until: Instant },
    /// The answer to the last attempt.
    Published { since: Instant },
    /// The last message of the subject. If every attempt was refused for good, why.
    Looking {
        since: Instant,
        refusal: Option<ApiError>,
    },
    /// Whether the server answers at all.
    Doubted { since: Instant },
}

/// What an error proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The message before it is not the one that was expected.
    Moved,
    /// This attempt will never be stored.
    Refused,
    /// Nothing.
    Nothing,
}

impl Meaning {
    fn of(error: &ApiError) -> Self {
        match error.err_code {
            // Wrong last sequence, the same while another message is decided, an identity that is known.
            10071 | 10164 | 10201 => Self::Moved,
            // Too large, another stream's subject, sealed, not allowed by the stream.
            10054 | 10060 | 10109 | 10174 => Self::Refused,
            10077 if is_limit(&error.description) => Self::Refused,
            _ if error.is_no_responders() => Self::Refused,
            _ => Self::Nothing,
        }
    }
}

/// The stream could not store it because it is full. Up to 2.12, a leader says so as well, in other words,
/// when its disk has failed under a message that the others have stored.
fn is_limit(description: &str) -> bool {
    description.starts_with("maximum ")
}

impl Publisher {
    /// A publisher for a subject whose last message is `sequence`, 0 if there is none.
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

    /// Gives up a batch after so long.
    pub fn give_up_after(&mut self, ack_wait: Duration) {
        self.ack_wait = ack_wait;
    }

    /// Where it publishes.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The number of the batch under way, and of the last attempt at it.
    pub fn attempt(&self) -> (u64, u32) {
        let attempts = self.batch.as_ref().map_or(0, |batch| batch.refused.len());
        (self.number, attempts as u32)
    }

    /// The number of the last question for the last message.
    pub fn question(&self) -> u64 {
        self.questions
    }

    /// What the last attempt at the batch under way has for headers that a stream looks at.
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

    /// What was said last about the batch under way that was no acknowledgement.
    pub fn complaint(&self) -> Option<&str> {
        self.batch.as_ref()?.complaint.as_deref()
    }

    /// Whether somebody else's message was found on the subject, since this was asked last.
    pub fn was_disturbed(&mut self) -> bool {
        std::mem::take(&mut self.disturbed)
    }

    /// When a [`Event::Tick`] is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        let batch = self.batch.as_ref()?;
        let step = match batch.step {
            Step::Paused { until } => (self.node != Node::Disconnected).then_some(until),
            Step::Published { since } | Step::Looking { since, .. } => Some(since + ANSWER_WITHIN),
            Step::Doubted { since } => Some(since + PONG_WITHIN),
        };
        Some(step.map_or(batch.give_up_at, |step| step.min(batch.give_up_at)))
    }

    /// Takes note of what has happened, and says what is to be done about it, if anything.
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

    /// The same bytes and the same identity, whatever attempt it is.
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

    /// Nothing is known: another attempt, after a while that grows, and is never quite the same.
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
            // So 2.10 acknowledges what is known to it, but not decided.
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

    /// The last message of the subject shows whether the batch is in.
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
            // Nothing of ours is behind an earlier batch of this run, or behind what was there before.
            _ if is_earlier => {
                self.sequence = stored.seq;
                self.take_absence(refusal, true, now)
            }
            // What is behind it cannot be seen. The stream still knows the identity, for a while.
            _ => {
                self.disturbed |= id.is_none();
                self.sequence = stored.seq;
                self.pause(now)
            }
        }
    }

    /// An earlier run may have left one attempt on its way, which arrives late. If it leaves two, it
    /// has not ended.
    fn is_alive(&mut self, id: BatchId, sequence: u64) -> bool {
        let is_new = id.run != self.identity.run() && sequence > self.sequence;
        is_new && std::mem::replace(&mut self.was_preceded, true)
    }

    /// The batch is not in, be it that the stream itself is not there.
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
            // This comes before the end of the batch, so that the next batch need not wait again.
            Step::Doubted { since } if now >= since + PONG_WITHIN => {
                // It stays so until the connection has ended.
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
