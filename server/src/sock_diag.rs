//! The kernel's view of a TCP connection and its peer, queried by netlink's `sock_diag` (`sock_diag(7)`),
//! since `TCP_INFO` is not available without `unsafe`.
//!
//! The server needs it because TCP's own timers do not suffice. Keepalive sends no probes while data is in
//! flight. The TCP user timeout also closes a connection whose peer answers every probe but takes its
//! replies slowly. With a closed window, no byte is acknowledged until the peer has read a whole segment.
//! By default, the kernel retransmits for a quarter of an hour.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
mod tcp;

#[cfg(target_os = "linux")]
pub use linux::SockDiag;
#[cfg(not(target_os = "linux"))]
pub use other::SockDiag;
pub use tcp::Tcp;
