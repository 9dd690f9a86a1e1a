//! The nodes of the simulated cluster: their health, and which one leads.

use std::time::Duration;

use super::stream::{Last, Stream};
use super::{Happening, World};

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) health: Health,
    /// It was the leader when it was paused, and has a successor. Requests to the leader reach it as well.
    pub(super) is_deposed: bool,
    /// The last message when its disk failed. The other nodes store what it proposes.
    pub(super) broken: Option<Last>,
    /// What arrives while it is paused.
    inbox: Vec<Happening>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Health {
    #[default]
    Up,
    Stopped,
    Dead,
}

impl Node {
    pub(super) fn can_lead(&self) -> bool {
        self.health == Health::Up && self.broken.is_none()
    }
}

impl World<'_> {
    /// Returns the event, unless its node is paused or dead. A paused node gets it later.
    pub(super) fn taken(&mut self, happening: Happening) -> Option<Happening> {
        let node = match &happening {
            Happening::Arrives(request) => Some(request.node),
            Happening::Judged(node, _) => Some(*node),
            Happening::Agreed(_) => self.leader,
            Happening::Inbound(process, ..) => self.processes[*process].node(),
            _ => None,
        };
        let Some(node) = node.map(|node| &mut self.nodes[node]) else {
            return Some(happening);
        };
        match node.health {
            Health::Up => return Some(happening),
            Health::Stopped => node.inbox.push(happening),
            Health::Dead => {}
        }
        None
    }

    pub(super) fn has_majority(&self) -> bool {
        let up = self.nodes.iter().filter(|node| node.health == Health::Up);
        up.count() > self.nodes.len() / 2
    }

    /// Whether there is a leader that works.
    pub(super) fn leads_well(&self) -> bool {
        let leader = self.leader.map(|leader| &self.nodes[leader]);
        leader.is_some_and(Node::can_lead)
    }

    /// Elects a node that can lead, if there is no working leader. The last proposal of the old leader may or
    /// may not have reached the new one.
    pub(super) fn elect(&mut self) {
        if self.leads_well() {
            return;
        }
        let able = (0..self.nodes.len()).filter(|&node| self.nodes[node].can_lead());
        let next = self.rng.choice(able.collect::<Vec<_>>());
        let Some(next) = next.filter(|_| self.has_majority()) else {
            return self.after(Duration::from_secs(1), Happening::Elected);
        };
        self.succeed(next);
    }

    pub(super) fn succeed(&mut self, next: usize) {
        self.report(|_| format!("node {next} leads"));
        let last = self.leader.replace(next);
        self.term += 1;
        let proposed = self.proposed.take();
        if let Some(last) = last {
            self.nodes[last].is_deposed = self.nodes[last].health == Health::Stopped;
            if let Some(request) = proposed.clone() {
                self.after(Duration::ZERO, Happening::Judged(last, request));
            }
        }
        if let Some(request) = proposed
            && self.rng.bool()
        {
            let ack = self.store(&request);
            if self.rng.u32(..4) == 0 {
                self.say(&request, ack);
            }
        }
    }

    pub(super) fn stop(&mut self, node: usize, wait: Option<Duration>) {
        if self.nodes[node].health != Health::Up {
            return;
        }
        self.report(|_| format!("node {node} is stopped"));
        self.nodes[node].health = Health::Stopped;
        if let Some(wait) = wait {
            self.after(wait, Happening::Woken(node));
        }
        self.miss(node);
    }

    pub(super) fn kill(&mut self, node: usize) {
        if self.nodes[node].health == Health::Dead {
            return;
        }
        self.report(|_| format!("node {node} is killed"));
        self.nodes[node] = Node { health: Health::Dead, ..Node::default() };
        self.miss(node);
        self.leader = self.leader.filter(|leader| *leader != node);
        let wait = self.some(30_000);
        self.after(wait, Happening::Restarted(node));
        for process in 0..self.processes.len() {
            let at = &self.processes[process];
            if let Some(connection) = at.connection().filter(|_| at.node() == Some(node)) {
                self.after(Duration::ZERO, Happening::Disconnected(process, connection));
            }
        }
    }

    /// If the node was the leader, schedules an election.
    pub(super) fn miss(&mut self, node: usize) {
        if self.leader == Some(node) {
            let wait = Duration::from_millis(self.rng.u64(1000..9000));
            self.after(wait, Happening::Elected);
        }
    }

    pub(super) fn wake(&mut self, node: usize) {
        if self.nodes[node].health != Health::Stopped {
            return;
        }
        self.report(|_| format!("node {node} wakes up"));
        self.nodes[node].health = Health::Up;
        self.nodes[node].is_deposed = false;
        for happening in std::mem::take(&mut self.nodes[node].inbox) {
            self.after(Duration::ZERO, happening);
        }
    }

    pub(super) fn restart(&mut self, node: usize) {
        if self.nodes[node].health == Health::Dead {
            self.nodes[node].health = Health::Up;
        }
    }

    pub(super) fn create(&mut self) {
        if self.stream.is_none() {
            let stream = Stream::new(self.setting.rules, self.setting.window, self.now);
            self.stream = Some(stream);
        }
    }
}
