//! Faults, and the end of them.

use std::time::Duration;

use super::stream::Refusal;
use super::{Event, Happening, World};

/// A fault that can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    StopLeader,
    StopNode,
    KillLeader,
    KillNode,
    /// Another node becomes the leader.
    StepDown,
    /// The leader's disk fails.
    Break,
    Disconnect,
    /// The stream rejects everything for a while.
    Refuse,
    /// The stream is deleted, and created again later.
    Delete,
    /// The stream's limits remove the messages of the subject.
    Evict,
    /// A foreign client publishes to the subject.
    Intrude,
    /// A process is killed, and another one starts.
    Restart,
    /// A process starts while another one has the same identity.
    Rival,
    /// Processes get events that change nothing.
    Chatter,
}

impl Fault {
    pub(super) const ALL: [Self; 14] = [
        Self::StopLeader,
        Self::StopNode,
        Self::KillLeader,
        Self::KillNode,
        Self::StepDown,
        Self::Break,
        Self::Disconnect,
        Self::Refuse,
        Self::Delete,
        Self::Evict,
        Self::Intrude,
        Self::Restart,
        Self::Rival,
        Self::Chatter,
    ];

    /// Whether only the duplicate window keeps a batch from being stored twice after this fault.
    pub(super) fn needs_identities(self, has_rivals: bool) -> bool {
        matches!(self, Self::Evict | Self::Intrude) || (self == Self::Delete && has_rivals)
    }
}

impl World<'_> {
    pub(super) fn fault(&mut self) {
        let fault = self.rng.choice(&self.setting.faults).copied();
        if let Some(fault) = fault.filter(|_| self.well.is_none()) {
            self.commit(fault);
        }
    }

    fn commit(&mut self, fault: Fault) {
        self.report(|_| format!("{fault:?}"));
        let any = self.rng.usize(..self.nodes.len());
        let leader = self.leader.unwrap_or(any);
        match fault {
            Fault::StopLeader | Fault::StopNode => {
                let node = [any, leader][usize::from(fault == Fault::StopLeader)];
                let wait = self.some(30_000);
                self.stop(node, Some(wait));
            }
            Fault::KillLeader => self.kill(leader),
            Fault::KillNode => self.kill(any),
            Fault::StepDown => self.step_down(any),
            Fault::Break => self.break_disk(leader),
            Fault::Disconnect => {
                let ended = self.processes.iter().enumerate();
                let ended = ended.filter_map(|(i, process)| Some((i, process.connection()?)));
                for (process, connection) in ended.collect::<Vec<_>>() {
                    self.disconnect(process, connection);
                }
            }
            Fault::Refuse => {
                let refusal = self.rng.choice(Refusal::ALL);
                if let Some(stream) = &mut self.stream {
                    stream.refusal = refusal.filter(|_| stream.refusal.is_none());
                }
            }
            Fault::Delete => {
                self.stream = None;
                self.proposed = None;
                self.nodes.iter_mut().for_each(|node| node.broken = None);
                self.is_another = self.rng.bool();
                let wait = self.some(10_000);
                self.after(wait, Happening::Created);
            }
            Fault::Evict => {
                if let Some(stream) = &mut self.stream {
                    stream.evict(self.now);
                }
            }
            Fault::Intrude => self.intrude(),
            Fault::Restart => {
                if let Some(process) = self.processes.iter_mut().find(|it| it.is_alive()) {
                    process.end();
                    self.after_a_while(Happening::Started);
                }
            }
            Fault::Rival => self.after_a_while(Happening::Started),
            Fault::Chatter => {
                for process in 0..self.processes.len() {
                    self.drive(process, Event::Tick);
                    self.drive(process, Event::Progress);
                }
            }
        }
    }

    pub(super) fn after_a_while(&mut self, happening: Happening) {
        let wait = self.some(2000);
        self.after(wait, happening);
    }

    fn step_down(&mut self, next: usize) {
        if self.leader.is_some() && self.nodes[next].can_lead() {
            self.succeed(next);
        }
    }

    fn break_disk(&mut self, leader: usize) {
        let last = self.stream.as_ref().map(|stream| stream.last);
        let node = &mut self.nodes[leader];
        node.broken = node.broken.or(last);
        self.miss(leader);
    }

    fn intrude(&mut self) {
        // While a proposal for the subject is pending, no other message is accepted.
        if let (Some(stream), None) = (&mut self.stream, &self.proposed) {
            let stored = stream.store(None, 0, self.now);
            stored.expect("who is a stranger has no order");
        }
    }

    /// Ends all faults. One node may still be paused, and packets in flight arrive late.
    pub(super) fn heal(&mut self) {
        self.report(|_| "all is well".to_owned());
        self.well = Some(self.now);
        for node in 0..self.nodes.len() {
            self.wake(node);
            self.restart(node);
            self.nodes[node].broken = None;
        }
        let asleep = self.rng.usize(..self.nodes.len());
        if self.rng.bool() {
            self.stop(asleep, None);
        }
        self.create();
        self.stream.iter_mut().for_each(|it| it.refusal = None);
        self.after(Duration::from_millis(500), Happening::Elected);
        if self.alive() == 0 {
            self.after(Duration::ZERO, Happening::Started);
        }
    }
}
