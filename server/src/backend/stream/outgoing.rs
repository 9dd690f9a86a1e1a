//! Data to be sent to a node: small data that is copied, and at most one large payload that is not.

use std::io::{self, Write};

use nats::protocol::END;

/// The largest payload in bytes that is copied, so that one write sends it with the data around it.
const COPIED: usize = 16 << 10;

/// Bytes to be sent, in this order: `head`, the payload, `tail`.
#[derive(Debug, Default)]
pub struct Outgoing {
    head: Vec<u8>,
    head_sent: usize,
    payload: Option<Payload>,
    tail: Vec<u8>,
}

/// A payload that the caller holds.
#[derive(Clone, Copy, Debug)]
struct Payload {
    length: usize,
    sent: usize,
}

impl Outgoing {
    /// The buffer for small data, behind everything else.
    pub fn small(&mut self) -> &mut Vec<u8> {
        match self.payload {
            Some(_) => &mut self.tail,
            None => &mut self.head,
        }
    }

    /// Appends a payload. A large one is not copied: pass it to [`write`](Self::write) until it is sent.
    pub fn payload(&mut self, payload: &[u8]) {
        debug_assert!(self.payload.is_none(), "one payload at a time");
        if payload.len() <= COPIED {
            self.head.extend_from_slice(payload);
            self.head.extend_from_slice(END);
        } else {
            let length = payload.len();
            self.payload = Some(Payload { length, sent: 0 });
            self.tail.extend_from_slice(END);
        }
    }

    /// Whether part of a large payload is unsent.
    pub fn holds_payload(&self) -> bool {
        self.payload.is_some()
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.payload.is_none()
    }

    /// Sends what the socket accepts. Returns the number of bytes; `WouldBlock` is not an error.
    pub fn write(&mut self, socket: &mut impl Write, payload: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while !self.is_empty() {
            let rest = match &self.payload {
                _ if self.head_sent < self.head.len() => &self.head[self.head_sent..],
                Some(Payload { length, sent }) => {
                    debug_assert!(payload.len() == *length, "the payload is lent");
                    payload.get(*sent..).unwrap_or_default()
                }
                None => &[],
            };
            let n = match socket.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            taken += n;
            self.advance(n);
        }
        Ok(taken)
    }

    fn advance(&mut self, n: usize) {
        if self.head_sent < self.head.len() {
            self.head_sent += n;
        } else if let Some(payload) = &mut self.payload {
            payload.sent += n;
        }
        let is_payload_out = |it: &Payload| it.sent == it.length;
        if self.head_sent == self.head.len() {
            self.head.clear();
            self.head_sent = 0;
            if self.payload.as_ref().is_some_and(is_payload_out) {
                self.payload = None;
                std::mem::swap(&mut self.head, &mut self.tail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts a few bytes per call, and sometimes none.
    struct Narrow {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let n = bytes.len().min(1 + self.calls % 5000);
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_comes_out_in_order_whatever_a_write_takes() {
        for length in [0, 1, COPIED, COPIED + 1, 5 * COPIED] {
            let payload = vec![b'x'; length];
            let (mut out, taken) = (Outgoing::default(), Vec::new());
            let mut socket = Narrow { taken, calls: 0 };
            out.small().extend_from_slice(b"head ");
            out.payload(&payload);
            assert_eq!(out.holds_payload(), length > COPIED);
            let mut expected = [b"head ".as_slice(), &payload, END].concat();
            let mut taken = out.write(&mut socket, &payload).unwrap();
            out.small().extend_from_slice(b"tail");
            expected.extend_from_slice(b"tail");
            while !out.is_empty() {
                taken += out.write(&mut socket, &payload).unwrap();
            }
            assert!(socket.taken == expected, "{length}");
            assert_eq!(taken, expected.len());
            assert!(!out.holds_payload());
        }
    }
}
