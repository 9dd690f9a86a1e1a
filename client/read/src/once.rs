//! Deduplication by number: each line of each sender once, in order, and the missing numbers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;

use common::units::{count, plural};
use rangemap::RangeSet;

use crate::message::Message;

/// Maximum number of missing ranges to print.
const NAMED: usize = 10;

/// Puts tagged messages in order and removes repeats. Other messages pass unchanged.
#[derive(Debug)]
pub(crate) struct Once {
    senders: BTreeMap<String, Sender>,
    ready: VecDeque<Message>,
    /// Maximum number of messages of one sender that wait for earlier ones. It covers the lines
    /// that a sender can have in flight.
    hold: usize,
    /// Whether the first numbers may be absent.
    is_partial: bool,
}

#[derive(Debug)]
struct Sender {
    /// The first expected number.
    first: u64,
    /// The next number to print.
    next: u64,
    /// The printed numbers, as ranges. Each gap costs 16 bytes.
    shown: RangeSet<u64>,
    /// Messages that wait for an earlier one, by number.
    held: BTreeMap<u64, Message>,
    repeats: u64,
    /// How many messages were printed after later ones.
    late: u64,
}

impl Once {
    pub(crate) fn new(is_partial: bool, hold: usize) -> Self {
        Self { senders: BTreeMap::new(), ready: VecDeque::new(), hold, is_partial }
    }

    /// Takes the next message of the logs.
    pub(crate) fn take(&mut self, mut message: Message) {
        message.untag();
        let Some((name, number)) = message.tag.clone() else {
            return self.ready.push_back(message);
        };
        let first = if self.is_partial { number } else { 1 };
        let sender = self.senders.entry(name).or_insert_with(|| Sender::new(first));
        sender.take(number, message, &mut self.ready);
        while sender.held.len() > self.hold {
            sender.skip(&mut self.ready);
        }
    }

    /// The next message that can be printed.
    pub(crate) fn ready(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    /// The next message at the end of the logs. It skips missing numbers.
    pub(crate) fn rest(&mut self) -> Option<Message> {
        for sender in self.senders.values_mut() {
            while self.ready.is_empty() && !sender.held.is_empty() {
                sender.skip(&mut self.ready);
            }
        }
        self.ready.pop_front()
    }

    /// A summary for each sender.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = Account> {
        self.senders.iter().map(|(name, sender)| {
            let all = sender.first..sender.next;
            let missing: Vec<_> =
                if all.is_empty() { Vec::new() } else { sender.shown.gaps(&all).collect() };
            Account {
                name: name.clone(),
                lines: sender.shown.iter().map(|run| run.end - run.start).sum(),
                repeats: sender.repeats,
                late: sender.late,
                missing,
            }
        })
    }
}

impl Sender {
    fn new(first: u64) -> Self {
        Self {
            first,
            next: first,
            shown: RangeSet::new(),
            held: BTreeMap::new(),
            repeats: 0,
            late: 0,
        }
    }

    fn take(&mut self, number: u64, message: Message, ready: &mut VecDeque<Message>) {
        if self.shown.contains(&number) || self.held.contains_key(&number) {
            self.repeats += 1;
        } else if number < self.next {
            // The number was skipped already, or is before the first one.
            self.late += 1;
            self.first = self.first.min(number);
            self.shown.insert(number..number + 1);
            ready.push_back(message);
        } else if number == self.next {
            self.show(number, message, ready);
            self.advance(ready);
        } else {
            self.held.insert(number, message);
        }
    }

    fn show(&mut self, number: u64, message: Message, ready: &mut VecDeque<Message>) {
        self.shown.insert(number..number + 1);
        self.next = number + 1;
        ready.push_back(message);
    }

    /// Prints the held messages that directly follow.
    fn advance(&mut self, ready: &mut VecDeque<Message>) {
        while let Some(message) = self.held.remove(&self.next) {
            self.show(self.next, message, ready);
        }
    }

    /// Skips the missing numbers before the earliest held message.
    fn skip(&mut self, ready: &mut VecDeque<Message>) {
        if let Some((number, message)) = self.held.pop_first() {
            self.show(number, message, ready);
            self.advance(ready);
        }
    }
}

/// The summary of one sender's lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Account {
    name: String,
    lines: u64,
    repeats: u64,
    late: u64,
    missing: Vec<Range<u64>>,
}

impl Account {
    pub(crate) fn has_gaps(&self) -> bool {
        !self.missing.is_empty()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, plural(self.lines, "line"))?;
        if self.repeats > 0 {
            write!(f, ", {} removed", plural(self.repeats, "repeat"))?;
        }
        if self.late > 0 {
            write!(f, ", {} shown after later ones", count(self.late))?;
        }
        if self.missing.is_empty() {
            return f.write_str(", none missing");
        }
        let all: u64 = self.missing.iter().map(|range| range.end - range.start).sum();
        write!(f, ", {} MISSING:", count(all))?;
        for range in self.missing.iter().take(NAMED) {
            match range.end - range.start {
                1 => write!(f, " {}", range.start)?,
                _ => write!(f, " {}-{}", range.start, range.end - 1)?,
            }
        }
        if self.missing.len() > NAMED {
            write!(f, " and more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(is_partial: bool, hold: usize, texts: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut once = Once::new(is_partial, hold);
        let mut shown = Vec::new();
        let text = |message: Message| String::from_utf8(message.text).unwrap();
        for line in texts {
            once.take(Message {
                time: String::new(),
                peer: String::new(),
                client: None,
                tag: None,
                text: line.as_bytes().to_vec(),
            });
            shown.extend(std::iter::from_fn(|| once.ready()).map(text));
        }
        shown.extend(std::iter::from_fn(|| once.rest()).map(text));
        (shown, once.accounts().map(|account| account.to_string()).collect())
    }

    #[test]
    fn every_number_is_shown_once_and_in_order() {
        let lines = [
            "@a:1 one",
            "@a:3 three",
            "plain",
            "@b:1 x",
            "@a:2 two",
            "@a:3 three",
            "@a:1 one",
            "@a:4 four",
        ];
        let (shown, accounts) = shown(false, 9, &lines);
        assert_eq!(shown, ["one", "plain", "x", "two", "three", "four"]);
        assert_eq!(
            accounts,
            ["a: 4 lines, 2 repeats removed, none missing", "b: 1 line, none missing"]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let (lines, accounts) = shown(false, 9, &["@a:2 b", "@a:3 c", "@a:7 g"]);
        assert_eq!(lines, ["b", "c", "g"]);
        assert_eq!(accounts, ["a: 3 lines, 4 MISSING: 1 4-6"]);
        let (_, accounts) = shown(true, 9, &["@a:2 b", "@a:3 c"]);
        assert_eq!(accounts, ["a: 2 lines, none missing"]);
    }

    #[test]
    fn no_more_is_held_than_can_be_on_the_way() {
        let (lines, accounts) =
            shown(false, 2, &["@a:2 b", "@a:3 c", "@a:4 d", "@a:1 a", "@a:5 e"]);
        assert_eq!(lines, ["b", "c", "d", "a", "e"]);
        assert_eq!(accounts, ["a: 5 lines, 1 shown after later ones, none missing"]);
    }
}
