//! The buffers that connections share, since one connection is read or written at a time.

use common::protocol::Framing;

use super::policy::Policy;
use crate::admission::first;
use crate::channel::MAX_FIRST;
use crate::framing::Rules;

/// Memory that a connection borrows to read or write. An idle client owns none.
#[derive(Debug)]
pub struct Buffers {
    /// Receives the input.
    pub(super) input: Vec<u8>,
    /// The size of one read of messages, in bytes.
    pub(super) read_bytes: usize,
    /// Holds ciphertext, received or to be sent. Empty without TLS.
    pub(super) scratch: Vec<u8>,
    /// Holds the part of a record that many records share.
    pub(super) prefix: Vec<u8>,
    /// Holds replies that are formatted.
    pub(super) text: String,
}

impl Buffers {
    /// One read takes as much as the longest message, between 4 and 64 KiB, since a client may own that
    /// much unsearched input. In the unframed dialect, each read is a message. Over TLS a read is always 64
    /// KiB, since TLS records are long.
    pub fn new(policy: &Policy) -> Self {
        const MAX: usize = 64 << 10;
        let (rules, is_tls) = (policy.rules, policy.admission.tls.is_some());
        let read_bytes = match rules.framing {
            _ if is_tls => MAX,
            Framing::None => rules.max_message,
            _ => (rules.max_message + 1).clamp(4 << 10, MAX),
        };
        // First bytes need more room where messages are short. Over TLS, held first bytes are placed before
        // the decrypted ones.
        let (scratch_bytes, held_bytes) =
            if is_tls { (read_bytes, first::MAX_UNCLEAR) } else { (0, 0) };
        Self {
            input: vec![0; read_bytes.max(MAX_FIRST) + held_bytes],
            read_bytes,
            scratch: vec![0; scratch_bytes],
            prefix: Vec::new(),
            text: String::new(),
        }
    }

    /// The most bytes that a client may have in an unfinished message or in unsearched input.
    pub fn most_held_bytes(&self, rules: Rules) -> usize {
        rules.most_held().max(self.input.len())
    }
}
