//! The kernel's state of a TCP connection.

use std::time::Duration;

/// The kernel's state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Bytes written to the socket that the peer has not acknowledged.
    pub unacknowledged_bytes: u32,
    /// Retransmissions or window probes sent since the peer last answered.
    pub unanswered: u8,
    /// How long ago the peer last sent anything, even a bare acknowledgement.
    pub heard_ago: Duration,
}

impl Tcp {
    /// The peer has sent nothing for `limit` although the kernel has sent a retransmission or probe. Until
    /// its answer arrives, every probe is unanswered. So two checks more than a round trip apart must agree
    /// before the peer counts as dead.
    pub fn seems_gone(self, limit: Duration) -> bool {
        self.unanswered > 0 && self.heard_ago >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_only_after_an_unanswered_probe() {
        let second = Duration::from_secs(1);
        for (unanswered, heard_s, expected) in
            [(0, 99, false), (1, 3, false), (1, 4, true), (9, 99, true)]
        {
            let tcp = Tcp { unacknowledged_bytes: 1, unanswered, heard_ago: heard_s * second };
            assert_eq!(tcp.seems_gone(4 * second), expected, "{tcp:?}");
        }
    }
}
