//! A thread of the instrument: its own `mio::Poll`, its share of the connections.
//!
//! A worker's life is in [`Worker::run`]: connect, wait for the others, measure, wait for the
//! replies that are still owed. What it does with one connection is in three places:
//! [`connect`](self::connect) makes it, [`send`](self::send) decides what goes out and when, and
//! here is what comes in.

mod connect;
mod send;

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::drive::clock::{Nanos, Usage};
use crate::drive::connection::{Connection, Stage};
use crate::drive::figures::INTERVAL;
use crate::drive::plan::{Control, Done, News, Plan};
use crate::drive::replies::{Expected, Reply};
use crate::drive::schedule::Schedule;
use crate::drive::served::Served;
use crate::drive::tally::Tally;
use crate::drive::timer::Timer;

const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// Room for replies, lent to whichever connection is read.
const INPUT: usize = 64 << 10;

/// How often one connection is read before the others have a turn.
const READS: u32 = 16;

/// A message that is due sooner than this is waited for by polling: the timer takes longer.
const SOON: Nanos = 10_000;

/// One thread's part of a run.
#[derive(Debug)]
pub(crate) struct Worker {
    plan: Arc<Plan>,
    control: Arc<Control>,
    news: Sender<News>,
    number: usize,
    poll: Poll,
    timer: Timer,
    /// A connection's token is its index. None is ever removed, so no event can go astray.
    connections: Vec<Connection>,
    /// How many this worker is to have.
    share: usize,
    /// How many are ready to send.
    ready: usize,
    /// How long each took to be made.
    connect_times: Vec<Nanos>,
    /// Why the run cannot take place.
    failure: Option<String>,
    expected: Expected,
    input: Box<[u8]>,
    output: Vec<u8>,
    tally: Tally,
    /// The open loop's.
    schedule: Option<Schedule>,
    /// The open loop's: connections with room for a message, each once.
    free: VecDeque<usize>,
    /// The closed loop's: the first connection that has not sent anything yet.
    unfilled: usize,
    /// Connections that were not read to the end, each once.
    unread: Vec<usize>,
    sending: bool,
    /// Measured messages that are still to be sent.
    quota: u64,
    /// When sending ends.
    end: Nanos,
    alive: usize,
    next_sweep: Nanos,
    /// CPU time when the measurement began.
    begun: Option<Usage>,
    /// The server's, then; the first worker looks for all.
    served: Option<Served>,
}

impl Worker {
    /// Worker `number` of the plan's, and what wakes it.
    pub(crate) fn new(
        plan: Arc<Plan>,
        control: Arc<Control>,
        news: Sender<News>,
        number: usize,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let share = plan.share(plan.connections as u64, number) as usize;
        let quota = plan.messages.map_or(u64::MAX, |n| plan.share(n, number));
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
            tally: Tally::new(plan.keep),
            schedule: None,
            free: VecDeque::new(),
            unfilled: 0,
            unread: Vec::new(),
            sending: false,
            quota,
            end: Nanos::MAX,
            alive: 0,
            next_sweep: 0,
            begun: None,
            served: None,
            plan,
            control,
            news,
        };
        Ok((worker, waker))
    }

    /// Does the worker's part and tells what came of it. The coordinator outlives its workers, so
    /// a message that cannot be delivered has nobody to miss it.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let done = self.connect(&mut events).and_then(|()| {
            self.await_start(&mut events)?;
            self.measure(&mut events)?;
            let sent_until = self.plan.clock.now().min(self.end);
            self.sending = false;
            self.drain(&mut events)?;
            Ok(sent_until)
        });
        match done {
            Ok(sent_until) => self.finish(sent_until),
            Err(error) => {
                let failure = self.failure.take().unwrap_or_else(|| error.to_string());
                _ = self.news.send(News::Failed(failure));
            }
        }
    }

    fn await_start(&mut self, events: &mut Events) -> io::Result<()> {
        let times = std::mem::take(&mut self.connect_times);
        _ = self.news.send(News::Connected(times));
        self.next_sweep = Nanos::MAX;
        let start = loop {
            let start = self.control.start.load(Ordering::Acquire);
            if start > 0 {
                break start;
            }
            self.check_abort()?;
            self.turn(events, Some(Nanos::MAX))?;
        };
        let begin = start + self.plan.warmup;
        self.tally.begin = begin;
        self.end = self
            .plan
            .duration
            .map_or(Nanos::MAX, |d| begin.saturating_add(d));
        self.next_sweep = start + self.sweep_period();
        while self.plan.clock.now() < start {
            self.turn(events, Some(start))?;
        }
        self.sending = true;
        let Some(rate) = self.plan.rate else {
            return Ok(());
        };
        let times = (start, begin, self.end);
        self.schedule = Some(Schedule::new(times, rate, self.plan.workers, self.number));
        self.unfilled = self.connections.len();
        for index in 0..self.connections.len() {
            self.refill(index);
        }
        Ok(())
    }

    fn measure(&mut self, events: &mut Events) -> io::Result<()> {
        loop {
            let now = self.housekeeping();
            let over = now >= self.end || self.quota == 0 || self.alive == 0;
            if over || self.control.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.send_due(now);
            self.fill_first();
            let can_wait = self.unfilled == self.connections.len() && self.set_timer()?;
            self.turn(events, can_wait.then_some(self.end))?;
        }
    }

    /// Sees to it that the next planned message wakes the worker; false if it is due already, or
    /// nearly so.
    fn set_timer(&mut self) -> io::Result<bool> {
        let next = self.schedule.as_ref().and_then(Schedule::next_at);
        let Some(next) = next.filter(|_| !self.free.is_empty()) else {
            return Ok(true);
        };
        let now = self.plan.clock.now();
        if next <= now + SOON {
            return Ok(false);
        }
        self.timer.set(next, now)?;
        Ok(true)
    }

    /// Waits for what is owed.
    fn drain(&mut self, events: &mut Events) -> io::Result<()> {
        while self.tally.owed > 0 {
            let now = self.housekeeping();
            let give_up_at = match self.control.give_up_at.load(Ordering::Relaxed) {
                0 => Nanos::MAX,
                at => at,
            };
            if now >= give_up_at {
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
            self.tally.leave(&mut connection.pending);
        }
        let never_sent = self
            .schedule
            .as_ref()
            .map_or(0, |schedule| schedule.due(sent_until).min(self.quota));
        let connections = self.connections.into_iter();
        let done = Done {
            worker: self.number,
            ledgers: connections.map(|connection| connection.ledger).collect(),
            tally: self.tally,
            schedule: self.schedule,
            sent_until,
            quota_left: self.quota,
            never_sent,
            usage: (self.begun.unwrap_or(now), now),
            served: self.served.zip(served),
        };
        _ = self.news.send(News::Done(Box::new(done)));
    }

    fn look_at_server(&self) -> Option<Served> {
        let pid = self.plan.pid.filter(|_| self.number == 0)?;
        Served::by(pid)
    }

    /// What has to be done from time to time; returns the time.
    fn housekeeping(&mut self) -> Nanos {
        let now = self.plan.clock.now();
        if now >= self.tally.begin && self.begun.is_none() {
            self.served = self.look_at_server();
            self.begun = Some(Usage::now());
        }
        while now >= self.interval_end() {
            _ = self.news.send(News::Interval(self.tally.roll()));
        }
        if self.tally.progress > 0 {
            let progress = std::mem::take(&mut self.tally.progress);
            self.control
                .acknowledged
                .fetch_add(progress, Ordering::Relaxed);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + self.sweep_period();
            self.sweep(now);
        }
        now
    }

    fn interval_end(&self) -> Nanos {
        let length = (self.tally.interval.index + 1) * INTERVAL;
        self.tally.begin.saturating_add(length)
    }

    /// `-timeout` is kept to within a tenth.
    fn sweep_period(&self) -> Nanos {
        (self.plan.timeout / 10).clamp(1_000_000, 1_000_000_000)
    }

    /// Gives up the connections on which the server owes a reply and says nothing.
    fn sweep(&mut self, now: Nanos) {
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            let silent_for = now.saturating_sub(connection.heard_at);
            if connection.pending.count > 0 && silent_for >= self.plan.timeout {
                self.tally.time_out(&mut connection.pending);
                self.lose(index, "no reply in time");
            }
        }
    }

    /// Waits for events, at most until `until` (none: not at all), and handles them.
    fn turn(&mut self, events: &mut Events, until: Option<Nanos>) -> io::Result<()> {
        let timeout = match until {
            Some(until) if self.unread.is_empty() => {
                let until = until.min(self.interval_end()).min(self.next_sweep);
                let wait = until.saturating_sub(self.plan.clock.now());
                // A signal or an abort is noticed within a second even if its wake-up is lost.
                Duration::from_nanos(wait.min(1_000_000_000))
            }
            _ => Duration::ZERO,
        };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
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

    fn dispatch(&mut self, index: usize, event: &Event) {
        if let Stage::Connecting(_) = self.connections[index].stage
            && !self.complete_connect(index)
        {
            return;
        }
        let connection = &mut self.connections[index];
        if connection.stage == Stage::Closed {
            return;
        }
        if event.is_writable() && connection.has_unsent() {
            match connection.flush() {
                Ok(()) => self.refill(index),
                Err(error) => return self.fail_to_send(index, &error),
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.receive(index, event.is_read_closed() || event.is_error());
        }
    }

    /// Reads what the server said. `to_the_end`: its end may have come with the last bytes, so a
    /// short read does not mean that there is no more.
    fn receive(&mut self, index: usize, to_the_end: bool) {
        for _ in 0..READS {
            match self.connections[index].read(&mut self.input) {
                Ok(None) => return,
                Ok(Some(0)) => return self.lose(index, "closed by the server"),
                Ok(Some(n)) => {
                    self.digest(index, n);
                    self.refill(index);
                    if self.connections[index].stage == Stage::Closed {
                        return;
                    }
                    if n < self.input.len() && !to_the_end {
                        return;
                    }
                }
                Err(error) => return self.lose(index, &error.to_string()),
            }
        }
        let connection = &mut self.connections[index];
        if !connection.unread {
            connection.unread = true;
            self.unread.push(index);
        }
    }

    /// Counts the replies in the first `n` bytes of the input.
    fn digest(&mut self, index: usize, n: usize) {
        let now = self.plan.clock.now();
        let Connection {
            replies,
            pending,
            ledger,
            heard_at,
            ..
        } = &mut self.connections[index];
        *heard_at = now;
        let tally = &mut self.tally;
        tally.received(n, now);
        let mut errors = false;
        replies.feed(&mut self.expected, &self.input[..n], |reply| match reply {
            Reply::Good(n) => tally.acknowledge(pending, ledger, n, now),
            Reply::Error(line) => {
                tally.reject(pending, ledger, line, now);
                errors = true;
            }
        });
        if errors && self.plan.stop_on_error {
            self.control.error_seen.store(true, Ordering::Relaxed);
            self.control.stop.store(true, Ordering::Relaxed);
        }
        if self.connections[index].stage == Stage::Greeting {
            self.check_greeting(index);
        }
    }

    /// The connection takes part no more.
    fn lose(&mut self, index: usize, why: &str) {
        if self.tally.begin == Nanos::MAX {
            return self.fail_to_connect(why);
        }
        let connection = &mut self.connections[index];
        if connection.stage == Stage::Closed {
            return;
        }
        connection.stage = Stage::Closed;
        self.alive -= 1;
        self.tally.lose(&mut connection.pending, why);
        _ = connection.stream.shutdown(Shutdown::Both);
        _ = self.poll.registry().deregister(&mut connection.stream);
    }
}
