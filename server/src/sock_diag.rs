//! The kernel's view of a TCP connection and its peer, queried by netlink's `sock_diag` (`sock_diag(7)`),
//! since `TCP_INFO` is not available without `unsafe`.
//!
//! The server needs it because TCP's own timers do not suffice. Keepalive sends no probes while data is in
//! flight. The TCP user timeout also closes a connection whose peer answers every probe but takes its
//! replies slowly. With a closed window, no byte is acknowledged until the peer has read a whole segment.
//! By default, the kernel retransmits for a quarter of an hour.

use std::time::Duration;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub use linux::SockDiag;
#[cfg(not(target_os = "linux"))]
pub use other::SockDiag;

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
    fn only_the_silence_of_one_who_was_asked_counts() {
        let second = Duration::from_secs(1);
        for (unanswered, heard_s, expected) in
            [(0, 99, false), (1, 3, false), (1, 4, true), (9, 99, true)]
        {
            let tcp = Tcp {
                unacknowledged_bytes: 1,
                unanswered,
                heard_ago: heard_s * second,
            };
            assert_eq!(tcp.seems_gone(4 * second), expected, "{tcp:?}");
        }
    }
}
