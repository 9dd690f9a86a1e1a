//! A queue of connections that lets light clients pass heavy ones, and starves neither.

use std::collections::VecDeque;

use slab::Slab;

use crate::connection::{Connection, Place};

/// Connections that want something, by the rule of `fq_codel` (RFC 8290, section 4.2, without its
/// CoDel): whoever is newly ready is served first, for one share, and then waits in the old list
/// for the next one like everybody else. Whoever is served while others wait goes through the old
/// list even if nothing is left to do, so that one who comes again and again cannot always pass.
///
/// A connection knows by its [`Place`] where it is, so it is never in the queue twice, and a key
/// that has become stale, or belongs to another client by now, does nothing.
#[derive(Debug)]
pub(super) struct FairQueue {
    new: VecDeque<u32>,
    old: VecDeque<u32>,
    place: fn(&mut Connection) -> &mut Place,
    /// Whether a connection wants what this queue is for.
    wants: fn(&Connection) -> bool,
}

impl FairQueue {
    pub(super) fn new(
        place: fn(&mut Connection) -> &mut Place,
        wants: fn(&Connection) -> bool,
    ) -> Self {
        let (new, old) = (VecDeque::new(), VecDeque::new());
        Self {
            new,
            old,
            place,
            wants,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }

    /// How many entries there are, stale ones included.
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.old.len()
    }

    /// Lets a connection in that wants something and is not in yet.
    pub(super) fn enter(&mut self, key: u32, connection: &mut Connection) {
        if (self.wants)(connection) && *(self.place)(connection) == Place::Out {
            *(self.place)(connection) = Place::New;
            self.new.push_back(key);
        }
    }

    /// Takes out the next connection that still wants something. When it has been served, it is to
    /// be [put back](FairQueue::put_back).
    pub(super) fn next(&mut self, connections: &mut Slab<Connection>) -> Option<u32> {
        loop {
            let (key, from) = match self.new.pop_front() {
                Some(key) => (key, Place::New),
                None => (self.old.pop_front()?, Place::Old),
            };
            let Some(connection) = connections.get_mut(key as usize) else {
                continue;
            };
            if *(self.place)(connection) != from {
                continue;
            }
            if (self.wants)(connection) {
                return Some(key);
            }
            *(self.place)(connection) = Place::Out;
        }
    }

    /// Puts a connection back that has had its share.
    pub(super) fn put_back(&mut self, key: u32, connection: &mut Connection) {
        let wants_more = (self.wants)(connection);
        let place = (self.place)(connection);
        debug_assert!(*place != Place::Out, "it was taken out of a list");
        let others_wait = *place == Place::New && !self.old.is_empty();
        if wants_more || others_wait {
            *place = Place::Old;
            self.old.push_back(key);
        } else {
            *place = Place::Out;
        }
    }

    /// Whether a connection is in the list that its place says.
    #[cfg(test)]
    pub(super) fn holds(&self, key: u32, place: Place) -> bool {
        match place {
            Place::Out => false,
            Place::New => self.new.contains(&key),
            Place::Old => self.old.contains(&key),
        }
    }
}
