//! Requests of the processes, and the answers to them.

use std::time::Duration;

use nats::jetstream::{Answer, ApiError, PubAck, Stored, StoredMessage, header};

use super::stream::{Attempt, Refusal, ack, error, in_process};
use super::{Happening, SERVER, SUBJECT, World};
use crate::backend::stream::identity::Identity;
use crate::backend::stream::publisher::Event;

/// A request of a process on a connection to a node.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) process: usize,
    pub(super) connection: u64,
    pub(super) node: usize,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Publish(Attempt),
    Look(u64),
    Ping,
}

impl Request {
    fn attempt(&self) -> Option<&Attempt> {
        match &self.what {
            What::Publish(attempt) => Some(attempt),
            What::Look(_) | What::Ping => None,
        }
    }
}

impl World<'_> {
    pub(super) fn arrive(&mut self, request: &Request) {
        let process = &self.processes[request.process];
        if !process.has(request.connection) && self.rng.bool() {
            // It was lost in flight when the connection ended.
            return;
        }
        match (&request.what, &self.stream) {
            (What::Ping, _) => self.answer(request, Event::Pong),
            (_, Some(_)) => self.route(request),
            (What::Look(_), None) => self.deny(request, error(404, 10059, "stream not found")),
            (What::Publish(_), None) if self.is_another => {
                self.deny(request, error(400, 10060, "expected stream does not match"));
            }
            (What::Publish(_), None) => self.deny(request, ApiError::no_responders()),
        }
    }

    /// Forwards it to the leader, and to a former leader that is paused.
    fn route(&mut self, request: &Request) {
        let leads = |&node: &usize| self.leader == Some(node) || self.nodes[node].is_deposed;
        let leaders: Vec<_> = (0..self.nodes.len()).filter(leads).collect();
        if leaders.is_empty() || self.chance(1) {
            if self.rng.u32(..4) > 0 {
                self.deny(request, ApiError::no_responders());
            }
            return;
        }
        let losses = self.setting.losses;
        for leader in leaders {
            let copies = 1 + u32::from(self.chance(losses)) - u32::from(self.chance(losses));
            for _ in 0..copies {
                let is_held = self.chance(losses);
                let wait = self.some(if is_held { 200_000 } else { 10 });
                self.after(wait, Happening::Judged(leader, request.clone()));
            }
        }
    }

    pub(super) fn judge(&mut self, node: usize, request: Request) {
        if self.chance(4) {
            // A fault during the request is the hardest case.
            let wait = self.some(5);
            self.after(wait, Happening::Fault);
        }
        if self.leader != Some(node) {
            return self.judge_late(&request);
        }
        if self.chance(2) {
            return self.hesitate(&request);
        }
        let Some(attempt) = request.attempt() else {
            return self.show_last(node, &request);
        };
        let Some(stream) = &self.stream else {
            return;
        };
        let key = (attempt.id, attempt.number);
        if self.dismissed.contains(&key) {
            return;
        }
        let proposed = self.proposed.as_ref().and_then(Request::attempt);
        let was_taken = self.taken.contains(&key);
        match stream.judge(attempt, proposed, was_taken, self.now) {
            Some(outcome) => {
                if Refusal::is_said(&outcome) {
                    self.dismissed.insert(key);
                }
                self.say(&request, outcome);
            }
            None if !stream.is_meant_by(attempt) => {}
            None => {
                self.taken.insert(key);
                self.proposed = Some(request);
                let wait = self.some(50);
                self.after(wait, Happening::Agreed(self.term));
            }
        }
    }

    /// The leader takes no action and returns an inconclusive error.
    fn hesitate(&mut self, request: &Request) {
        let error = match self.rng.u32(..4) {
            0 => error(429, 10167, "too many requests"),
            1 => error(503, 10008, "temporarily unavailable"),
            2 => error(503, 0, "raft: not leader"),
            _ => in_process(),
        };
        self.deny(request, error);
    }

    /// An answer of a former leader proves nothing.
    fn judge_late(&mut self, request: &Request) {
        let Some(attempt) = request.attempt() else {
            return;
        };
        let is_in = self.stream.as_ref().is_some_and(|it| it.has(attempt.id));
        let is_shown = is_in && self.nodes.iter().all(|node| node.broken.is_none());
        let error = match self.rng.u32(..8) {
            0 | 1 => error(400, 10164, "wrong last sequence"),
            2 => error(400, 10071, "wrong last sequence: 0"),
            3 => error(503, 10008, "temporarily unavailable"),
            4..7 if is_shown => Refusal::ALL[self.rng.usize(..Refusal::ALL.len())].error(),
            _ => return,
        };
        if is_in {
            self.count("an error for what is stored");
        }
        self.deny(request, error);
    }

    /// Commits the proposal, if there is a majority for it.
    pub(super) fn agree(&mut self, term: u64) {
        let Some(leader) = self.leader.filter(|_| term == self.term) else {
            return;
        };
        if !self.has_majority() {
            return self.after(Duration::from_millis(500), Happening::Agreed(term));
        }
        let Some(request) = self.proposed.take() else {
            return;
        };
        let ack = self.store(&request);
        if self.nodes[leader].broken.is_none() {
            return self.say(&request, ack);
        }
        self.count("a disk fails under what is stored");
        let words = "write msgs/1.blk: no space left on device";
        self.deny(&request, error(503, 10077, words));
    }

    pub(super) fn store(&mut self, request: &Request) -> Answer<PubAck> {
        let others = self.rng.u64(..3);
        let batch = request.attempt().expect("it is an attempt").id;
        if self.refused.contains(&batch) {
            self.lie = Some(format!("{batch:?} is stored after it was refused"));
        }
        self.stored.insert(batch);
        self.report(|_| format!("stored: {batch:?}"));
        let stream = self.stream.as_mut().expect("proposals end with the stream");
        let seq = stream.store(Some(batch), others, self.now);
        let seq = seq.unwrap_or_else(|lie| {
            self.lie = Some(lie);
            0
        });
        ack(seq, false)
    }

    fn show_last(&mut self, leader: usize, request: &Request) {
        let Some(stream) = &self.stream else {
            return;
        };
        let last = self.nodes[leader].broken.unwrap_or(stream.last);
        let Some((seq, batch)) = last else {
            return self.deny(request, error(404, 10037, "no message found"));
        };
        let mut block = Vec::new();
        if let Some(id) = batch {
            let text = Identity::of_run(SERVER, id.run).text(id);
            nats::headers::write(&mut block, &[(header::MESSAGE_ID, &text)]);
        }
        let message = Stored::new(seq, SUBJECT, &block);
        self.show(request, Answer::Yes(StoredMessage { message }));
    }

    /// Answers an attempt.
    pub(super) fn say(&mut self, request: &Request, answer: Answer<PubAck>) {
        if let What::Publish(attempt) = &request.what {
            let event =
                Event::Answered { number: attempt.id.number, attempt: attempt.number, answer };
            self.answer(request, event);
        }
    }

    /// Answers a query.
    fn show(&mut self, request: &Request, answer: Answer<StoredMessage>) {
        if let What::Look(query) = request.what {
            self.answer(request, Event::Queried { query, answer });
        }
    }

    /// Answers any request with an error.
    fn deny(&mut self, request: &Request, error: ApiError) {
        self.say(request, Answer::No(error.clone()));
        self.show(request, Answer::No(error));
    }

    fn answer(&mut self, request: &Request, event: Event) {
        let losses = self.setting.losses;
        if self.chance(losses) {
            return;
        }
        let is_late = self.chance(losses);
        let wait = self.some(if is_late { 20_000 } else { 10 });
        let (process, connection) = (request.process, request.connection);
        self.after(wait, Happening::Inbound(process, connection, event));
    }
}
