//! The stream as the nodes have agreed on it, and the rules by which a leader judges an attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use nats::jetstream::{Answer, ApiError, PubAck};

use super::STREAM;
use crate::backend::stream::identity::BatchId;

/// What a leader checks first, and its answer to a message ID that is proposed but not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// The message ID; an error. Streams of several replicas since 2.12.
    IdentityFirst,
    /// The sequence; an error. Streams of one replica.
    SequenceFirst,
    /// The sequence; an acknowledgement without a sequence. 2.10.
    Old,
}

/// An attempt at a batch in flight.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) id: BatchId,
    pub(super) number: u32,
    pub(super) expected: u64,
    pub(super) sent: Duration,
}

/// The error of a leader that rejects every message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal(u16, u16, &'static str);

impl Refusal {
    pub(super) const ALL: [Self; 4] = [
        Self(503, 10077, "maximum bytes exceeded"),
        Self(503, 10077, "maximum messages per subject exceeded"),
        Self(400, 10054, "message size exceeds maximum allowed"),
        Self(400, 10109, "invalid operation on sealed stream"),
    ];

    pub(super) fn error(self) -> ApiError {
        error(self.0, self.1, self.2)
    }

    pub(super) fn is_said(answer: &Answer<PubAck>) -> bool {
        matches!(answer, Answer::No(error) if Self::ALL.iter().any(|it| it.1 == error.err_code))
    }

    /// Whether it is a limit, which is checked last.
    fn is_full(self) -> bool {
        self.1 == 10077
    }
}

pub(super) fn error(code: u16, err_code: u16, description: &str) -> ApiError {
    ApiError { code, err_code, description: description.to_owned() }
}

pub(super) fn in_process() -> ApiError {
    error(409, 10158, "duplicate message id is in process")
}

/// The acknowledgement of a stored message.
pub(super) fn ack(seq: u64, duplicate: bool) -> Answer<PubAck> {
    Answer::Yes(PubAck { stream: STREAM.to_owned(), seq, duplicate })
}

/// The last message of the subject: its sequence, and its batch, if it has one.
pub(super) type Last = Option<(u64, Option<BatchId>)>;

#[derive(Debug)]
pub(super) struct Stream {
    rules: Rules,
    /// The duplicate window.
    window: Duration,
    pub(super) refusal: Option<Refusal>,
    pub(super) last: Last,
    /// Since when it is the last message.
    since: Duration,
    /// The sequence of the last message of any subject.
    end: u64,
    /// All batches that were ever stored in it: the sequence, and the time.
    batches: BTreeMap<BatchId, (u64, Duration)>,
    /// Messages of the subject up to this sequence were removed by the limits.
    gone: u64,
}

impl Stream {
    pub(super) fn new(rules: Rules, window: Duration, created: Duration) -> Self {
        Self {
            rules,
            window,
            refusal: None,
            last: None,
            since: created,
            end: 0,
            batches: BTreeMap::new(),
            gone: 0,
        }
    }

    /// The leader's answer to an attempt, or `None` if it proposes the attempt. `proposed` is the pending
    /// proposal. A repeated attempt that was accepted before is not rejected.
    pub(super) fn judge(
        &self,
        attempt: &Attempt,
        proposed: Option<&Attempt>,
        was_taken: bool,
        now: Duration,
    ) -> Option<Answer<PubAck>> {
        let known = || self.known(attempt, proposed, now);
        let moved = || {
            let last = self.last.map_or(0, |(place, _)| place);
            let words = format!("wrong last sequence: {last}");
            (last != attempt.expected).then(|| Answer::No(error(400, 10071, &words)))
        };
        let occupied = || proposed.map(|_| Answer::No(error(400, 10164, "wrong last sequence")));
        let refusal = self.refusal.filter(|_| !was_taken);
        let refused = |is_full| {
            let refusal = refusal.filter(|refusal| refusal.is_full() == is_full)?;
            Some(Answer::No(refusal.error()))
        };
        let outcome = refused(false);
        let outcome = match self.rules {
            Rules::IdentityFirst => outcome.or_else(known).or_else(moved),
            Rules::SequenceFirst | Rules::Old => outcome.or_else(moved).or_else(known),
        };
        outcome.or_else(occupied).or_else(|| refused(true))
    }

    /// Whether the attempt expects the present last message. One that was sent before that message was stored
    /// does not, even if the number matches.
    pub(super) fn is_meant_by(&self, attempt: &Attempt) -> bool {
        attempt.sent >= self.since
    }

    fn known(
        &self,
        attempt: &Attempt,
        proposed: Option<&Attempt>,
        now: Duration,
    ) -> Option<Answer<PubAck>> {
        match self.batches.get(&attempt.id) {
            Some(&(place, at)) if now < at + self.window => Some(ack(place, true)),
            _ if proposed.is_none_or(|it| it.id != attempt.id) => None,
            _ if self.rules == Rules::Old => Some(ack(0, true)),
            _ => Some(Answer::No(in_process())),
        }
    }

    /// Stores a message on the subject: a batch or a foreign message. An impossible order is an error.
    pub(super) fn store(
        &mut self,
        batch: Option<BatchId>,
        others: u64,
        now: Duration,
    ) -> Result<u64, String> {
        self.end += others + 1;
        self.last = Some((self.end, batch));
        self.since = now;
        let Some(id) = batch else {
            return Ok(self.end);
        };
        let of_the_run = id..BatchId { run: id.run + 1, number: 0 };
        if let Some((later, _)) = self.batches.range(of_the_run).next() {
            return Err(if *later == id {
                format!("{id:?} is stored twice")
            } else {
                format!("{id:?} is stored after {later:?}")
            });
        }
        self.batches.insert(id, (self.end, now));
        Ok(self.end)
    }

    /// Whether a batch is in the stream now.
    pub(super) fn has(&self, id: BatchId) -> bool {
        let place = self.batches.get(&id);
        place.is_some_and(|(place, _)| *place > self.gone)
    }

    /// The limits remove the last message of the subject.
    pub(super) fn evict(&mut self, now: Duration) {
        self.last = None;
        self.since = now;
        self.gone = self.end;
    }
}
