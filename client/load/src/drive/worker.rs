//! Worker thread of the load generator, with its own `mio::Poll` and its share of the connections.
//!
//! [`Worker::run`] has the phases of a worker: connect, wait for the others, measure, wait for the
//! missing replies. The code for one connection is in three modules: [`connect`](self::connect)
//! makes it, [`send`](self::send) decides what to send and when, and [`receive`](self::receive)
//! reads replies.

mod connect;
mod receive;
mod send;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use crate::drive::clock::Nanos;
use crate::drive::connection::{Connection, Stage};
use crate::drive::counters::Counters;
use crate::drive::figures::INTERVAL;
use crate::drive::plan::{Control, Done, Plan, WorkerMessage};
use crate::drive::replies::Expected;
use crate::drive::schedule::Pace;
use crate::drive::timer::Timer;
use crate::drive::usage::{Served, Usage};
use crate::message::ack_log::AckLog;
use common::units::seconds;

const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// Size of the input buffer that all connections share, in bytes.
const INPUT: usize = 64 << 10;

/// About how many bytes of messages are written at once.
const OUTPUT: usize = 64 << 10;

/// A message due within this time, in nanoseconds, is awaited by polling. The timer would be late.
const SOON: Nanos = 10_000;

/// How often a worker without a free connection checks, so that it knows how long there was none.
const LOOK: Nanos = 10_000_000;

/// How much longer than asked a wait may last: `epoll_wait` has a resolution of milliseconds.
const SLACK: Nanos = 2_000_000;

/// The part of a run that one thread does.
#[derive(Debug)]
pub(crate) struct Worker {
    plan: Arc<Plan>,
    control: Arc<Control>,
    coordinator: Sender<WorkerMessage>,
    number: usize,
    poll: Poll,
    timer: Timer,
    /// A connection's token is its index. Connections are never removed, and a replacement takes
    /// its index between two turns. So no event reaches the wrong connection.
    connections: Vec<Connection>,
    /// How many connections this worker has to make.
    share: usize,
    /// How many connections are ready to send.
    ready: usize,
    /// How long each connection took to be made.
    connect_times: Vec<Nanos>,
    /// Why the run cannot begin.
    failure: Option<String>,
    expected: Expected,
    input: Box<[u8]>,
    output: Vec<u8>,
    /// Maximum number of messages in one write.
    at_once: u32,
    counters: Counters,
    /// The pace of the open loop.
    pace: Option<Pace>,
    /// Open loop: connections with room for a message, each once.
    free: VecDeque<usize>,
    /// Since when no connection has had room.
    full_since: Nanos,
    /// Until when the worker certainly waited for the server. A later delay may be its own.
    waited_until: Nanos,
    /// Closed loop: the first connection that has not sent anything yet.
    unfilled: usize,
    /// Connections with unread data, each once.
    unread: Vec<usize>,
    sending: bool,
    /// When sending ends.
    end: Nanos,
    /// The number of established connections.
    alive: usize,
    /// When the last connection was lost.
    disconnected_at: Nanos,
    /// Connections to replace, by the time of the next attempt.
    retries: BTreeSet<(Nanos, usize)>,
    /// The acknowledgement logs of connections that were replaced.
    ack_logs: Vec<(u64, AckLog)>,
    next_sweep: Nanos,
    /// CPU usage when the measurement began.
    begun: Option<Usage>,
    /// The server's usage at that time. Only the first worker measures it.
    served: Option<Served>,
}

impl Worker {
    /// Worker `number` of the plan, and its waker.
    pub(crate) fn new(
        plan: Arc<Plan>,
        control: Arc<Control>,
        coordinator: Sender<WorkerMessage>,
        number: usize,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let share = plan.load.share(plan.load.connections as u64, number) as usize;
        let worker = Self {
            number,
            poll,
            timer,
            connections: Vec::with_capacity(share),
            share,
            ready: 0,
            connect_times: Vec::with_capacity(share),
            failure: None,
            expected: plan.expected.clone(),
            input: vec![0; INPUT].into_boxed_slice(),
            output: Vec::new(),
            at_once: (OUTPUT / plan.message.longest()).max(1) as u32,
            counters: Counters::new(plan.keep),
            pace: None,
            free: VecDeque::new(),
            full_since: Nanos::MAX,
            waited_until: 0,
            unfilled: 0,
            unread: Vec::new(),
            sending: false,
            end: Nanos::MAX,
            alive: 0,
            disconnected_at: 0,
            retries: BTreeSet::new(),
            ack_logs: Vec::new(),
            next_sweep: 0,
            begun: None,
            served: None,
            plan,
            control,
            coordinator,
        };
        Ok((worker, waker))
    }

    /// Runs the worker and sends its result. The coordinator outlives its workers, so a failed send
    /// can be ignored.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let done = self.connect(&mut events).and_then(|()| {
            self.await_start(&mut events)?;
            self.measure(&mut events)?;
            let sent_until = self.plan.clock.now().min(self.end);
            self.end_sending();
            self.drain(&mut events)?;
            Ok(sent_until)
        });
        match done {
            Ok(sent_until) => self.finish(sent_until),
            Err(error) => {
                let failure = self.failure.take().unwrap_or_else(|| error.to_string());
                _ = self.coordinator.send(WorkerMessage::Failed(failure));
            }
        }
    }

    fn await_start(&mut self, events: &mut Events) -> io::Result<()> {
        let times = std::mem::take(&mut self.connect_times);
        _ = self.coordinator.send(WorkerMessage::Connected(times));
        self.next_sweep = Nanos::MAX;
        let start = loop {
            let start = self.control.start.load(Ordering::Acquire);
            if start > 0 {
                break start;
            }
            self.check_abort()?;
            self.turn(events, Some(Nanos::MAX))?;
        };
        let begin = start + self.plan.load.warmup;
        self.counters.begin = begin;
        self.end = self.plan.load.duration.map_or(Nanos::MAX, |d| begin.saturating_add(d));
        self.next_sweep = start + self.sweep_period();
        while self.plan.clock.now() < start {
            self.turn(events, Some(start))?;
        }
        self.sending = true;
        if self.control.schedule.get().is_none() {
            return Ok(());
        }
        self.pace = Some(Pace::new());
        self.unfilled = self.connections.len();
        for index in 0..self.connections.len() {
            self.refill(index);
        }
        Ok(())
    }

    fn measure(&mut self, events: &mut Events) -> io::Result<()> {
        loop {
            let now = self.housekeeping();
            if now >= self.end || self.all_is_sent() || self.is_disconnected(now) {
                return Ok(());
            }
            if self.control.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.reconnect(now)?;
            self.send_due(now);
            self.fill_first();
            let until =
                if self.unfilled == self.connections.len() { self.set_timer()? } else { None };
            self.turn(events, until)?;
        }
    }

    /// Whether no message is left that this worker could send.
    fn all_is_sent(&self) -> bool {
        match (self.control.schedule.get(), &self.pace) {
            (Some(schedule), Some(pace)) => schedule.is_exhausted() && !pace.has_claim(),
            _ => self.control.quota.is_spent(),
        }
    }

    /// Whether all connections are lost for good.
    fn is_disconnected(&self, now: Nanos) -> bool {
        let patience = if self.plan.load.reconnect { self.plan.load.timeout } else { 0 };
        self.alive == 0 && now.saturating_sub(self.disconnected_at) >= patience
    }

    /// Sets the timer to the next planned message. Returns how long to wait for other events.
    /// `None` means not to wait, since the message is due or nearly due.
    fn set_timer(&mut self) -> io::Result<Option<Nanos>> {
        let (Some(schedule), Some(pace)) = (self.control.schedule.get(), &mut self.pace) else {
            return Ok(Some(self.end));
        };
        let now = self.plan.clock.now();
        if self.free.is_empty() {
            return Ok(Some(self.end.min(now + LOOK)));
        }
        let Some(next) = pace.next_at(schedule) else {
            return Ok(Some(self.end));
        };
        if next <= now + SOON {
            return Ok(None);
        }
        self.timer.set(next, now)?;
        Ok(Some(self.end))
    }

    /// Waits for the missing replies.
    fn drain(&mut self, events: &mut Events) -> io::Result<()> {
        while self.counters.owed > 0 {
            let now = self.housekeeping();
            let give_up_at = match self.control.give_up_at.load(Ordering::Relaxed) {
                0 => Nanos::MAX,
                at => at,
            };
            if now >= give_up_at {
                // Replies that have arrived count, however late this thread reads them.
                self.turn(events, None)?;
                break;
            }
            self.turn(events, Some(give_up_at))?;
        }
        Ok(())
    }

    fn finish(mut self, sent_until: Nanos) {
        self.housekeeping();
        let now = Usage::now();
        let served = self.look_at_server();
        for connection in &mut self.connections {
            self.counters.leave(&mut connection.pending);
        }
        let connections = self.connections.into_iter();
        let ack_logs = connections.map(|connection| (connection.number, connection.ack_log));
        self.ack_logs.extend(ack_logs);
        let done = Done {
            worker: self.number,
            ack_logs: self.ack_logs,
            counters: self.counters,
            pace: self.pace,
            sent_until,
            alive: self.alive,
            usage: (self.begun.unwrap_or(now), now),
            served: self.served.zip(served),
        };
        _ = self.coordinator.send(WorkerMessage::Done(Box::new(done)));
    }

    fn look_at_server(&self) -> Option<Served> {
        if self.number > 0 {
            return None;
        }
        Served::by(&self.plan.load.pids)
    }

    /// Does the periodic tasks. Returns the current time.
    fn housekeeping(&mut self) -> Nanos {
        let now = self.plan.clock.now();
        if now >= self.counters.begin && self.begun.is_none() {
            self.served = self.look_at_server();
            self.begun = Some(Usage::now());
        }
        while now >= self.interval_end() {
            _ = self.coordinator.send(WorkerMessage::Interval(self.counters.roll()));
        }
        if self.counters.progress > 0 {
            let progress = std::mem::take(&mut self.counters.progress);
            self.control.acknowledged.fetch_add(progress, Ordering::Relaxed);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + self.sweep_period();
            self.sweep(now);
        }
        now
    }

    fn interval_end(&self) -> Nanos {
        let length = (self.counters.interval.index + 1) * INTERVAL;
        self.counters.begin.saturating_add(length)
    }

    /// The period of the sweep. It keeps `-timeout` accurate to a tenth.
    fn sweep_period(&self) -> Nanos {
        (self.plan.load.timeout / 10).clamp(1_000_000, 1_000_000_000)
    }

    /// Closes connections on which the server owes data and was silent for `-timeout`.
    fn sweep(&mut self, now: Nanos) {
        for index in 0..self.connections.len() {
            if !self.is_late(index, now) {
                continue;
            }
            // The thread may not have run for a while. Replies may be in the socket.
            if let Stage::Connecting(_) = self.connections[index].stage {
                self.complete_connect(index);
            } else {
                self.receive(index, true);
            }
            if self.is_late(index, now) {
                self.give_up(index);
            }
        }
    }

    /// Whether the connection has been silent for `-timeout`.
    fn is_late(&self, index: usize, now: Nanos) -> bool {
        let connection = &self.connections[index];
        let is_awaited = match connection.stage {
            Stage::Connecting(_) | Stage::Greeting => true,
            Stage::Ready | Stage::Broken => connection.pending.count > 0,
            Stage::Closed => false,
        };
        is_awaited && now.saturating_sub(connection.heard_at) >= self.plan.load.timeout
    }

    fn give_up(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let timeout = seconds(self.plan.load.timeout as f64 / 1e9);
        match connection.stage {
            Stage::Connecting(_) => self.lose(index, &format!("no answer within {timeout}")),
            Stage::Greeting => {
                self.lose(index, &format!("no greeting (-hello-lines) within {timeout}"));
            }
            _ => {
                self.counters.time_out(&mut connection.pending);
                self.lose(index, "no reply in time");
            }
        }
    }

    /// Waits for events until `until` and handles them. `None` means not to wait.
    fn turn(&mut self, events: &mut Events, until: Option<Nanos>) -> io::Result<()> {
        let asked_at = self.plan.clock.now();
        let timeout = match until {
            Some(until) if self.unread.is_empty() => {
                let until = until.min(self.interval_end()).min(self.next_sweep);
                let until = until.min(self.next_retry());
                let wait = until.saturating_sub(asked_at);
                // A signal or an abort is noticed within a second even if its wake-up is lost.
                Duration::from_nanos(wait.min(1_000_000_000))
            }
            _ => Duration::ZERO,
        };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        if self.free.is_empty() && self.pace.is_some() {
            let asked = asked_at + timeout.as_nanos() as u64 + SLACK;
            let now = self.plan.clock.now();
            self.waited_until = now.min(asked);
            if now > asked && events.is_empty() {
                // The thread slept longer than asked. Events that came in the meantime are handled
                // now.
                self.poll.poll(events, Some(Duration::ZERO))?;
            }
        }
        for index in std::mem::take(&mut self.unread) {
            self.connections[index].unread = false;
            self.receive(index, true);
        }
        for event in &*events {
            match event.token() {
                WAKER | TIMER => {}
                Token(index) => self.dispatch(index, event),
            }
        }
        match self.failure {
            Some(_) => Err(io::ErrorKind::Other.into()),
            None => Ok(()),
        }
    }
}
