//! A run of the server: its publisher, its connection, and the outcomes that it reports.

use std::time::{Duration, Instant};

use nats::jetstream::header;

use super::nodes::Health;
use super::requests::{Request, What};
use super::stream::Attempt;
use super::{Happening, RECOVERY, SERVER, STREAM, SUBJECT, World};
use crate::backend::stream::identity::{BatchId, Identity};
use crate::backend::stream::publisher::{Action, BatchOutcome, Event, Publisher};

/// The maximum number of actions for a batch: at the beginning, and per second.
const MAX_AT_ONCE: u64 = 30;
const MAX_A_SECOND: u64 = 8;

#[derive(Debug)]
pub(super) struct Process {
    publisher: Publisher,
    run: u64,
    is_alive: bool,
    /// The node it is connected to, and the serial number of the connection.
    connection: Option<(usize, u64)>,
    /// When its last request arrives. Later requests do not overtake it.
    written: Duration,
    /// When the current batch was submitted.
    submitted: Duration,
    /// How many actions the current batch has taken.
    actions: u64,
}

impl Process {
    pub(super) fn is_alive(&self) -> bool {
        self.is_alive
    }

    pub(super) fn end(&mut self) {
        self.is_alive = false;
        self.connection = None;
    }

    /// Whether a batch is stuck.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_alive && self.publisher.batch.is_some()
    }

    pub(super) fn has(&self, connection: u64) -> bool {
        self.connection() == Some(connection)
    }

    pub(super) fn connection(&self) -> Option<u64> {
        self.connection.map(|(_, connection)| connection)
    }

    pub(super) fn node(&self) -> Option<usize> {
        self.connection.map(|(node, _)| node)
    }

    pub(super) fn deadline(&self, epoch: Instant) -> Option<Duration> {
        let deadline = self.publisher.deadline().filter(|_| self.is_alive)?;
        Some(deadline.saturating_duration_since(epoch))
    }
}

impl World<'_> {
    pub(super) fn alive(&self) -> usize {
        let alive = self.processes.iter().filter(|process| process.is_alive);
        alive.count()
    }

    /// Starts a process as the server starts: it reads the last message through the leader.
    pub(super) fn start(&mut self) {
        let most = 1 + usize::from(self.setting.has_rivals());
        if self.alive() >= most {
            return;
        }
        let answers = self.leads_well();
        let Some(stream) = self.stream.as_ref().filter(|_| answers) else {
            return self.after(Duration::from_millis(200), Happening::Started);
        };
        let sequence = stream.last.map_or(0, |(sequence, _)| sequence);
        let i = self.processes.len();
        let run = 1 + i as u64;
        let mut publisher =
            Publisher::new(STREAM, SUBJECT, Identity::of_run(SERVER, run), sequence);
        publisher.give_up_after(self.setting.ack_wait);
        self.report(|_| format!("run {run} begins after {sequence}"));
        self.processes.push(Process {
            publisher,
            run,
            is_alive: true,
            connection: None,
            written: Duration::ZERO,
            submitted: Duration::ZERO,
            actions: 0,
        });
        self.reconnect(i);
        self.advance(i);
    }

    fn reconnect(&mut self, i: usize) {
        let node = self.rng.usize(..self.nodes.len());
        let wait = self.some(500);
        self.after(wait, Happening::Connected(i, node));
    }

    pub(super) fn connect(&mut self, i: usize, node: usize) {
        if !self.processes[i].is_alive || self.processes[i].connection.is_some() {
            return;
        }
        if self.nodes[node].health != Health::Up {
            return self.reconnect(i);
        }
        self.serial += 1;
        self.processes[i].connection = Some((node, self.serial));
        self.drive(i, Event::Connected);
    }

    pub(super) fn disconnect(&mut self, i: usize, connection: u64) {
        if self.processes[i].has(connection) {
            self.processes[i].connection = None;
            self.drive(i, Event::Disconnected);
            self.reconnect(i);
        }
    }

    /// Schedules the next batch: at once if another process is running, else after a while.
    fn advance(&mut self, i: usize) {
        let wait = if self.alive() > 1 { Duration::ZERO } else { self.some(5000) };
        self.after(wait, Happening::Submitted(i));
    }

    pub(super) fn submit(&mut self, i: usize) {
        let process = &mut self.processes[i];
        if process.is_alive && process.publisher.batch.is_none() && !self.is_quiet {
            process.submitted = self.now;
            process.actions = 0;
            self.drive(i, Event::Submitted);
        }
    }

    /// A node's answer arrives on the current connection, if any: the inbox is the same for all connections.
    pub(super) fn hear(&mut self, i: usize, connection: u64, event: Event) {
        let present = self.processes[i].connection();
        let is_old = present != Some(connection);
        if present.is_none() || is_old && (event == Event::Pong || self.rng.bool()) {
            return;
        }
        self.drive(i, event);
    }

    pub(super) fn drive(&mut self, i: usize, event: Event) {
        if !self.processes[i].is_alive {
            return;
        }
        self.report(|world| format!("run {}: {event:?}", world.processes[i].run));
        let is_tick = event == Event::Tick;
        let now = self.epoch + self.now;
        let process = &mut self.processes[i];
        let action = process.publisher.on(event, now);
        if action.is_some() || is_tick {
            process.actions += 1;
            let seconds = self.now.saturating_sub(process.submitted).as_secs();
            if process.actions > MAX_AT_ONCE + MAX_A_SECOND * seconds {
                self.lie = Some(format!("it spins: {process:?}"));
            }
        }
        if let Some(action) = action {
            self.report(|world| format!("run {}: {action:?}", world.processes[i].run));
            self.act(i, action);
        }
    }

    fn act(&mut self, i: usize, action: Action) {
        let process = &self.processes[i];
        let what = match action {
            Action::Publish => What::Publish(self.attempt(process)),
            Action::Query => What::Look(process.publisher.query()),
            Action::Ping => What::Ping,
            Action::Reconnect => {
                let connection = process.connection();
                return connection.into_iter().for_each(|it| self.disconnect(i, it));
            }
            Action::Finish(outcome) => return self.finish(i, &outcome),
        };
        let Some((node, connection)) = process.connection else {
            self.lie = Some("it writes without a connection".to_owned());
            return;
        };
        let arrives = self.now + self.some(10);
        let process = &mut self.processes[i];
        process.written = process.written.max(arrives);
        let wait = process.written.saturating_sub(self.now);
        let request = Request { process: i, connection, node, what };
        self.after(wait, Happening::Arrives(request));
    }

    /// The attempt that the headers describe.
    fn attempt(&self, process: &Process) -> Attempt {
        let (_, number) = process.publisher.attempt();
        let [id, stream, expected] = process.publisher.headers();
        assert_eq!(stream, (header::EXPECTED_STREAM, STREAM.to_owned()));
        let id = Identity::of_run(SERVER, process.run).recognise(&id.1);
        Attempt {
            id: id.expect("it has an identity of this server"),
            number,
            expected: expected.1.parse().expect("a sequence is a number"),
            sent: self.now,
        }
    }

    /// Compares the outcome of a batch with the stream.
    fn finish(&mut self, i: usize, outcome: &BatchOutcome) {
        let process = &self.processes[i];
        let (number, _) = process.publisher.attempt();
        let run = process.run;
        let id = BatchId { run, number };
        let is_in = self.stream.as_ref().is_some_and(|it| it.has(id));
        let waited = self.now.saturating_sub(process.submitted);
        let is_recovered = self.well.is_some_and(|well| self.now > well + RECOVERY);
        let (what, is_true) = match outcome {
            BatchOutcome::Stored => ("kept", self.stored.contains(&id)),
            BatchOutcome::Rejected(_) => ("refused", !is_in && !is_recovered),
            BatchOutcome::Unknown => {
                let is_due = waited >= self.setting.ack_wait;
                ("unknown", is_due && !is_recovered)
            }
            BatchOutcome::Fenced(other) => {
                let is_other = other.run != run && self.stored.contains(other);
                ("fenced", is_other && self.setting.has_rivals())
            }
        };
        self.count(what);
        if !is_true {
            self.lie = Some(format!("{id:?} is not {outcome:?} after {waited:?}"));
        }
        match outcome {
            BatchOutcome::Rejected(_) => _ = self.refused.insert(id),
            BatchOutcome::Fenced(_) => {
                self.processes[i].end();
                if self.alive() == 0 || self.chance(20) {
                    self.after(Duration::from_secs(1), Happening::Started);
                }
                return;
            }
            BatchOutcome::Stored | BatchOutcome::Unknown => {}
        }
        self.advance(i);
    }
}
