//! Connection of a worker: its socket, the unsent bytes and the messages without a reply.

use std::collections::VecDeque;
use std::io::{self, Write as _};

use mio::net::TcpStream;
use tls::Stream;

use crate::drive::clock::Nanos;
use crate::drive::replies::Replies;
use crate::message::ack_log::AckLog;

/// A connection. The worker decides what to send and when.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The number among all connections of the run.
    pub(crate) number: u64,
    pub(crate) stream: Stream<TcpStream>,
    pub(crate) stage: Stage,
    pub(crate) replies: Replies,
    pub(crate) pending: Pending,
    pub(crate) ack_log: AckLog,
    /// Bytes that the socket has not taken yet.
    unsent: Vec<u8>,
    /// When data last came, or the server began to owe a reply.
    pub(crate) heard_at: Nanos,
    /// Whether it is in the worker's queue of connections with room.
    pub(crate) queued: bool,
    /// Whether it is in the worker's list of connections to read again.
    pub(crate) unread: bool,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Connecting since this time. The TLS handshake is part of it.
    Connecting(Nanos),
    /// The greeting is not complete.
    Greeting,
    Ready,
    /// No more can be sent, but the last replies may still be read.
    Broken,
    Closed,
}

impl Connection {
    pub(crate) fn new(number: u64, stream: Stream<TcpStream>, greeting: u32, now: Nanos) -> Self {
        Self {
            number,
            stream,
            stage: Stage::Connecting(now),
            replies: Replies::after_greeting(greeting),
            pending: Pending::default(),
            ack_log: AckLog::default(),
            unsent: Vec::new(),
            heard_at: now,
            queued: false,
            unread: false,
        }
    }

    /// Whether the socket may take a message given to [`Self::send`] now.
    pub(crate) fn can_send(&self) -> bool {
        self.stage == Stage::Ready && !self.has_unsent()
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.stream.has_unsent()
    }

    /// Records `n` messages sent at `now`. Their latency counts from `time`.
    pub(crate) fn owe(&mut self, time: Nanos, n: u32, now: Nanos) {
        if self.pending.count == 0 {
            self.heard_at = now;
        }
        self.pending.push(time, n);
        self.ack_log.send(n);
    }

    /// Sends `bytes`. What the socket does not take is kept for [`Self::flush`].
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(!self.has_unsent(), "flush comes first");
        let taken = write(&mut self.stream, bytes)?;
        if taken < bytes.len() {
            self.unsent.extend_from_slice(&bytes[taken..]);
        }
        Ok(())
    }

    /// Sends the bytes that were kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self.stream.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            flushed => flushed?,
        }
        let taken = write(&mut self.stream, &self.unsent)?;
        if taken == self.unsent.len() {
            // Free the buffer: most connections never need it again.
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..taken);
        }
        Ok(())
    }

    /// Reads as much as is available and fits. `None` if nothing is available now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.fill(buffer) {
                Ok(n) => return Ok(Some(n)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// Writes until the socket takes no more. Returns how many bytes it took.
fn write(stream: &mut Stream<TcpStream>, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.write(&bytes[taken..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => taken += n,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => break,
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
    Ok(taken)
}

/// Messages without a reply, as runs with the same time. A run takes the memory of one message.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    runs: VecDeque<(Nanos, u32)>,
    pub(crate) count: u32,
}

impl Pending {
    fn push(&mut self, time: Nanos, n: u32) {
        self.count += n;
        match self.runs.back_mut() {
            Some((last, run)) if *last == time => *run += n,
            _ => self.runs.push_back((time, n)),
        }
    }

    /// Takes the oldest `n` messages, or fewer if there are fewer. Calls `each` with a time and how
    /// many messages have it.
    pub(crate) fn take(&mut self, n: u32, mut each: impl FnMut(Nanos, u32)) {
        let mut left = n.min(self.count);
        self.count -= left;
        while left > 0 {
            let Some((time, run)) = self.runs.front_mut() else {
                return;
            };
            let taken = left.min(*run);
            each(*time, taken);
            left -= taken;
            *run -= taken;
            if *run == 0 {
                self.runs.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_messages_come_back_in_order() {
        let mut pending = Pending::default();
        for (time, n) in [(10, 2), (10, 1), (20, 4)] {
            pending.push(time, n);
        }
        assert_eq!((pending.count, pending.runs.len()), (7, 2));
        let mut taken = Vec::new();
        pending.take(2, |time, n| taken.push((time, n)));
        pending.take(3, |time, n| taken.push((time, n)));
        pending.take(99, |time, n| taken.push((time, n)));
        assert_eq!(taken, [(10, 2), (10, 1), (20, 2), (20, 2)]);
        assert_eq!(pending.count, 0);
    }
}
