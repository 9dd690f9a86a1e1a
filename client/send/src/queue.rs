//! Queue of unacknowledged lines, in the order in which they were given. No I/O.

use std::collections::VecDeque;

/// Lines with the state of each. A line is identified by its number, which counts from 0 and is
/// never reused.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// From the oldest unsettled line on.
    lines: VecDeque<Line>,
    /// The number of the first line in `lines`.
    first: u64,
    /// The numbers of the lines that wait for a reply, in the order of the replies.
    on_the_way: VecDeque<u64>,
    /// No line before this number waits to be sent.
    next: u64,
    /// Total size of the unsettled lines, in bytes.
    bytes: usize,
    /// The number of unsettled lines.
    pending: usize,
}

#[derive(Debug)]
struct Line {
    /// The bytes on the wire, framing included.
    framed: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits to be sent.
    Waits,
    Sent,
    /// Acknowledged, or rejected permanently.
    Settled,
}

impl Queue {
    /// The number of unsettled lines.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of lines that wait for a reply.
    pub(crate) fn on_the_way(&self) -> usize {
        self.on_the_way.len()
    }

    /// Adds a line and returns its number.
    pub(crate) fn push(&mut self, framed: Vec<u8>) -> u64 {
        let number = self.first + self.lines.len() as u64;
        self.bytes += framed.len();
        self.pending += 1;
        self.lines.push_back(Line { framed, stage: Stage::Waits });
        number
    }

    /// Appends waiting lines to `out`, in order, until it holds about `most` bytes. They then wait
    /// for replies. Returns how many of them have numbers below `sent_before`, so are sent again.
    pub(crate) fn take(&mut self, most: usize, out: &mut Vec<u8>, sent_before: u64) -> u64 {
        let mut again = 0;
        let end = self.first + self.lines.len() as u64;
        self.next = self.next.max(self.first);
        while self.next < end && out.len() < most {
            let line = &mut self.lines[(self.next - self.first) as usize];
            if line.stage == Stage::Waits {
                line.stage = Stage::Sent;
                out.extend_from_slice(&line.framed);
                self.on_the_way.push_back(self.next);
                again += u64::from(self.next < sent_before);
            }
            self.next += 1;
        }
        again
    }

    /// The number after the last line that was taken.
    pub(crate) fn sent_until(&self) -> u64 {
        self.next
    }

    /// Settles the line of the oldest expected reply and returns its number. `None` if no reply is
    /// expected.
    pub(crate) fn settle(&mut self) -> Option<u64> {
        let number = self.on_the_way.pop_front()?;
        let line = &mut self.lines[(number - self.first) as usize];
        line.stage = Stage::Settled;
        self.bytes -= line.framed.len();
        line.framed = Vec::new();
        self.pending -= 1;
        while self.lines.front().is_some_and(|line| line.stage == Stage::Settled) {
            self.lines.pop_front();
            self.first += 1;
        }
        Some(number)
    }

    /// Marks the line of the oldest expected reply to be sent again: the server could not write it.
    pub(crate) fn put_back(&mut self) -> Option<u64> {
        let number = self.on_the_way.pop_front()?;
        self.wait_again(number);
        Some(number)
    }

    /// Marks all lines in flight to be sent again, since no reply will come. Returns how many.
    pub(crate) fn put_all_back(&mut self) -> usize {
        let lost = self.on_the_way.len();
        while let Some(number) = self.on_the_way.pop_front() {
            self.wait_again(number);
        }
        lost
    }

    fn wait_again(&mut self, number: u64) {
        self.lines[(number - self.first) as usize].stage = Stage::Waits;
        self.next = self.next.min(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &mut Queue, most: usize) -> String {
        let mut out = Vec::new();
        queue.take(most, &mut out, 0);
        String::from_utf8(out).unwrap()
    }

    fn queue(lines: &str) -> Queue {
        let mut queue = Queue::default();
        for line in lines.split_inclusive('\n') {
            queue.push(line.as_bytes().to_vec());
        }
        queue
    }

    #[test]
    fn lines_go_out_in_order_and_are_forgotten_when_settled() {
        let mut queue = queue("a\nb\nc\n");
        assert_eq!(taken(&mut queue, 3), "a\nb\n");
        assert_eq!((queue.pending(), queue.on_the_way(), queue.bytes()), (3, 2, 6));
        assert_eq!((queue.settle(), queue.settle(), queue.settle()), (Some(0), Some(1), None));
        assert_eq!(taken(&mut queue, 99), "c\n");
        assert_eq!(queue.push(b"d\n".to_vec()), 3);
        assert_eq!((queue.settle(), queue.pending(), queue.bytes()), (Some(2), 1, 2));
    }

    #[test]
    fn what_was_not_acknowledged_goes_again_in_order() {
        let mut queue = queue("a\nb\nc\nd\n");
        assert_eq!(taken(&mut queue, 5), "a\nb\nc\n");
        assert_eq!(queue.settle(), Some(0));
        assert_eq!(queue.put_back(), Some(1));
        assert_eq!(queue.settle(), Some(2));
        assert_eq!((queue.pending(), queue.on_the_way()), (2, 0));
        assert_eq!(taken(&mut queue, 99), "b\nd\n");
        assert_eq!(queue.put_all_back(), 2);
        assert_eq!(taken(&mut queue, 99), "b\nd\n");
        assert_eq!((queue.settle(), queue.settle()), (Some(1), Some(3)));
        assert_eq!((queue.pending(), queue.bytes(), queue.lines.len()), (0, 0, 0));
    }
}
