//! What the kernel knows of a TCP connection and its peer, asked by netlink's `sock_diag`
//! (`sock_diag(7)`), since `TCP_INFO` is not to be had without `unsafe`.
//!
//! The server asks because TCP's own timers do not fit its promise. Keepalive is silent while
//! anything is in flight. TCP's user timeout also ends a connection whose peer answers every probe
//! but takes its replies slowly: with a closed window no byte is acknowledged for as long as it takes
//! to read a whole segment. Left alone, the kernel retransmits for a quarter of an hour.

use std::time::Duration;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub use linux::SockDiag;
#[cfg(not(target_os = "linux"))]
pub use other::SockDiag;

/// What there is to know of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Bytes written to the socket that the peer has not acknowledged.
    pub unacknowledged_bytes: u32,
    /// Retransmissions, or probes of a closed window, that were sent since the peer last answered.
    pub unanswered: u8,
    /// How long ago anything came from the peer's machine, be it a bare acknowledgement.
    pub heard_ago: Duration,
}

impl Tcp {
    /// Nothing has come for `limit`, though the kernel has asked. Between a question and its answer
    /// there always is one that is unanswered, so it takes two looks that are further apart than a
    /// round trip to believe it.
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
