//! What goes out and when: the closed loop answers a reply with the next message, the open loop
//! keeps to its schedule.

use std::io;

use super::Worker;
use crate::drive::clock::Nanos;
use crate::drive::connection::Stage;

/// Messages are written in batches of about this many bytes.
const OUTPUT: usize = 64 << 10;

/// How many connections send for the first time before replies are looked at.
const FIRST: usize = 64;

impl Worker {
    /// The closed loop's beginning: connections that have not sent anything yet do.
    pub(crate) fn fill_first(&mut self) {
        let end = self.connections.len().min(self.unfilled + FIRST);
        while self.unfilled < end {
            self.fill(self.unfilled);
            self.unfilled += 1;
        }
    }

    /// The connection has, or may have, room for messages again.
    pub(crate) fn refill(&mut self, index: usize) {
        if !self.sending {
            return;
        }
        if self.schedule.is_none() {
            return self.fill(index);
        }
        let connection = &mut self.connections[index];
        let has_room = connection.can_send() && connection.pending.count < self.plan.pipeline;
        if has_room && !connection.queued {
            connection.queued = true;
            self.free.push_back(index);
        }
    }

    /// The closed loop: as many messages as may be unanswered.
    fn fill(&mut self, index: usize) {
        let number = self.plan.connection_number(self.number, index);
        loop {
            let connection = &mut self.connections[index];
            let room = u64::from(self.plan.pipeline - connection.pending.count).min(self.quota);
            if room == 0 || !connection.can_send() {
                return;
            }
            self.output.clear();
            let mut n = 0;
            while u64::from(n) < room && self.output.len() < OUTPUT {
                let seq = connection.ledger.sent + u64::from(n);
                self.plan.message.render(number, seq, &mut self.output);
                n += 1;
            }
            let now = self.plan.clock.now();
            if now >= self.end {
                return;
            }
            connection.owe(now, n, now);
            self.tally.sent(now, n, self.output.len());
            if now >= self.tally.begin {
                self.quota -= u64::from(n);
            }
            if let Err(error) = self.connections[index].send(&self.output) {
                return self.fail_to_send(index, &error);
            }
        }
    }

    /// The open loop: every message planned up to `now`, as far as connections have room.
    pub(crate) fn send_due(&mut self, now: Nanos) {
        while let Some(schedule) = &mut self.schedule {
            let due = schedule.due(now).min(self.quota);
            if due == 0 {
                return;
            }
            let Some(index) = self.free.pop_front() else {
                return schedule.block(now);
            };
            let connection = &mut self.connections[index];
            connection.queued = false;
            if !connection.can_send() {
                continue;
            }
            // What is overdue is spread over the connections, a write for each.
            let fair = due.div_ceil(self.free.len() as u64 + 1);
            let room = self.plan.pipeline - connection.pending.count;
            let n = fair.min(u64::from(room));
            let number = self.plan.connection_number(self.number, index);
            let sent_at = self.plan.clock.now();
            self.output.clear();
            for _ in 0..n {
                let from = self.output.len();
                if from >= OUTPUT {
                    break;
                }
                let seq = connection.ledger.sent;
                self.plan.message.render(number, seq, &mut self.output);
                let planned = schedule.take(sent_at);
                connection.owe(planned, 1, sent_at);
                self.tally.sent(planned, 1, self.output.len() - from);
                self.quota -= u64::from(planned >= self.tally.begin);
            }
            match connection.send(&self.output) {
                Ok(()) => self.refill(index),
                Err(error) => self.fail_to_send(index, &error),
            }
        }
    }

    /// The connection takes no more. What the server said before it closed may still be there, and
    /// those replies count.
    pub(crate) fn fail_to_send(&mut self, index: usize, error: &io::Error) {
        self.connections[index].stage = Stage::Broken;
        self.receive(index, true);
        self.lose(index, &error.to_string());
    }
}
