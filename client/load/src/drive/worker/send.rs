//! Sending: the closed loop sends a message after each reply, the open loop follows its schedule.

use std::io;

use super::Worker;
use crate::drive::clock::Nanos;
use crate::drive::connection::Stage;

/// How many connections send for the first time before replies are read.
const FIRST: usize = 64;

impl Worker {
    /// Starts the closed loop: sends on connections that have not sent anything yet.
    pub(crate) fn fill_first(&mut self) {
        let end = self.connections.len().min(self.unfilled + FIRST);
        while self.unfilled < end {
            self.fill(self.unfilled);
            self.unfilled += 1;
        }
    }

    /// Uses a connection that may have room for messages again.
    pub(crate) fn refill(&mut self, index: usize) {
        if !self.sending {
            return;
        }
        let Some(pace) = &mut self.pace else {
            return self.fill(index);
        };
        let connection = &mut self.connections[index];
        let has_room = connection.can_send() && connection.pending.count < self.plan.load.pipeline;
        if has_room && !connection.queued {
            if self.free.is_empty() {
                pace.block(self.full_since, self.waited_until);
            }
            connection.queued = true;
            self.free.push_back(index);
        }
    }

    /// Closed loop: sends as many messages as may be unanswered.
    fn fill(&mut self, index: usize) {
        loop {
            let connection = &mut self.connections[index];
            let room = self.plan.load.pipeline - connection.pending.count;
            if room == 0 || !connection.can_send() {
                return;
            }
            let is_measured = self.begun.is_some();
            let mut n = room.min(self.at_once);
            if is_measured {
                n = self.control.quota.take(u64::from(n)) as u32;
            }
            if n == 0 {
                return;
            }
            self.output.clear();
            for seq in (connection.ack_log.sent..).take(n as usize) {
                let number = connection.number;
                self.plan.message.render(number, seq, &mut self.output);
            }
            // Latency counts from here. A message that was begun in the warm-up is not measured.
            let now = match self.plan.clock.now() {
                now if is_measured => now,
                now => now.min(self.counters.begin - 1),
            };
            if now >= self.end {
                return self.control.quota.give_back(u64::from(n));
            }
            connection.owe(now, n, now);
            self.counters.sent(now, n, self.output.len());
            if let Err(error) = self.connections[index].send(&self.output) {
                return self.fail_to_send(index, &error);
            }
        }
    }

    /// Open loop: sends the messages planned up to `now`, as far as connections have room.
    pub(crate) fn send_due(&mut self, now: Nanos) {
        loop {
            let (Some(schedule), Some(pace)) = (self.control.schedule.get(), &self.pace) else {
                return;
            };
            let due = pace.due(schedule, now);
            if due == 0 {
                return;
            }
            let Some(index) = self.next_free() else {
                return self.release();
            };
            // Overdue messages are spread over the free connections, one write each.
            let fair = due.div_ceil(self.free.len() as u64 + 1);
            self.send_planned(index, now, fair);
        }
    }

    /// Sends up to `most` of the messages due at `now` on a connection that has room.
    fn send_planned(&mut self, index: usize, now: Nanos, most: u64) {
        let (Some(schedule), Some(pace)) = (self.control.schedule.get(), &mut self.pace) else {
            return;
        };
        let connection = &mut self.connections[index];
        let room = (self.plan.load.pipeline - connection.pending.count).min(self.at_once);
        let sent_at = self.plan.clock.now();
        if self.free.is_empty() {
            self.full_since = sent_at;
        }
        self.output.clear();
        for message in pace.take(schedule, now, most.min(u64::from(room))) {
            let from = self.output.len();
            let seq = connection.ack_log.sent;
            let number = connection.number;
            self.plan.message.render(number, seq, &mut self.output);
            let planned = schedule.planned(message);
            if schedule.is_measured(message) {
                pace.sent(planned, sent_at);
            }
            connection.owe(planned, 1, sent_at);
            self.counters.sent(planned, 1, self.output.len() - from);
        }
        match connection.send(&self.output) {
            Ok(()) => self.refill(index),
            Err(error) => self.fail_to_send(index, &error),
        }
    }

    /// A connection that has room for a message.
    fn next_free(&mut self) -> Option<usize> {
        while let Some(index) = self.free.pop_front() {
            let connection = &mut self.connections[index];
            connection.queued = false;
            if connection.can_send() {
                return Some(index);
            }
        }
        None
    }

    /// Gives the message that this worker waited to send back to the schedule, for the others.
    fn release(&mut self) {
        if let (Some(schedule), Some(pace)) = (self.control.schedule.get(), &mut self.pace)
            && pace.release(schedule)
        {
            self.control.wake();
        }
    }

    /// Stops sending and replacing connections.
    pub(crate) fn end_sending(&mut self) {
        self.sending = false;
        self.retries.clear();
        self.release();
    }

    /// Closes a connection that cannot send. Replies that came before the error are read first and
    /// count.
    pub(crate) fn fail_to_send(&mut self, index: usize, error: &io::Error) {
        self.connections[index].stage = Stage::Broken;
        self.receive(index, true);
        self.lose(index, &error.to_string());
    }
}
