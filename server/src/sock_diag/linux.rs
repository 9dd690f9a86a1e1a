//! The Linux implementation, over a netlink socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{connect, recv, send, socket_with};

use super::tcp::Tcp;

/// A socket for queries to the kernel.
#[derive(Debug)]
pub struct SockDiag {
    socket: OwnedFd,
    /// The sequence number of the last query.
    sequence: u32,
}

impl SockDiag {
    /// Opens a netlink socket. Fails where the kernel or a sandbox does not allow it.
    pub fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(netlink::SOCK_DIAG),
        )?;
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        let sequence = 0;
        Ok(Self { socket, sequence })
    }

    /// The state of the connection between these two addresses, as the socket names them: an IPv4 client of
    /// an IPv6 socket has a mapped address. The kernel answers within the call, in a few microseconds.
    pub fn ask(&mut self, local: SocketAddr, peer: SocketAddr) -> io::Result<Tcp> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.socket, &request(self.sequence, local, peer), SendFlags::empty())?;
        // Answers to earlier queries that were not received are skipped.
        loop {
            let mut answer = [0; 1024];
            let (n, _) = recv(&self.socket, &mut answer, RecvFlags::empty())?;
            if let Some(result) = parse(&answer[..n], self.sequence) {
                return result;
            }
        }
    }
}

// Numbers of the kernel's interface: linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
const NLMSGHDR_LEN: usize = 16;
const REQUEST_LEN: usize = NLMSGHDR_LEN + 56;
const INET_DIAG_MSG_LEN: usize = 72;

/// Builds an `nlmsghdr` and an `inet_diag_req_v2` for one connection.
fn request(sequence: u32, local: SocketAddr, peer: SocketAddr) -> [u8; REQUEST_LEN] {
    let mut bytes = [0; REQUEST_LEN];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(&(REQUEST_LEN as u32).to_ne_bytes());
    put(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(&NLM_F_REQUEST.to_ne_bytes());
    put(&sequence.to_ne_bytes());
    put(&0_u32.to_ne_bytes());
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    put(&[family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    // Connections in any state.
    put(&u32::MAX.to_ne_bytes());
    put(&local.port().to_be_bytes());
    put(&peer.port().to_be_bytes());
    put(&address(local.ip()));
    put(&address(peer.ip()));
    let interface = match peer {
        SocketAddr::V6(peer) => peer.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    put(&interface.to_ne_bytes());
    // No cookie: any connection with these addresses.
    put(&[0xff; 8]);
    debug_assert_eq!(at, REQUEST_LEN);
    bytes
}

fn address(ip: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    bytes
}

/// Parses an answer; `None` if it belongs to another query.
fn parse(bytes: &[u8], sequence: u32) -> Option<io::Result<Tcp>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let header = bytes.get(..NLMSGHDR_LEN);
    let (Some(kind), Some(answers)) = (header.and_then(|h| u16_at(h, 4)), u32_at(bytes, 8)) else {
        return Some(Err(malformed()));
    };
    if answers != sequence {
        return None;
    }
    let body = &bytes[NLMSGHDR_LEN..];
    if kind == NLMSG_ERROR {
        let errno = u32_at(body, 0).map_or(0, u32::cast_signed);
        return Some(Err(match errno {
            0 => malformed(),
            errno => io::Error::from_raw_os_error(errno.wrapping_neg()),
        }));
    }
    Some(tcp(body).ok_or_else(malformed))
}

/// Parses an `inet_diag_msg` and the `tcp_info` in the attributes after it.
fn tcp(body: &[u8]) -> Option<Tcp> {
    let unacknowledged_bytes = u32_at(body, 60)?;
    let mut rest = body.get(INET_DIAG_MSG_LEN..)?;
    loop {
        let (len, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let info = rest.get(4..len)?;
        if kind == INET_DIAG_INFO {
            // linux/tcp.h: retransmits, probes, last_data_recv and last_ack_recv (milliseconds).
            let heard_ms = u32_at(info, 52)?.min(u32_at(info, 56)?);
            return Some(Tcp {
                unacknowledged_bytes,
                unanswered: (*info.get(2)?).max(*info.get(3)?),
                heard_ago: Duration::from_millis(heard_ms.into()),
            });
        }
        // Attributes are aligned to four bytes.
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*field))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn pair(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let client = match to {
            SocketAddr::V6(to) if to.ip().is_unspecified() => {
                TcpStream::connect(("127.0.0.1", to.port()))
            }
            to => TcpStream::connect(to),
        };
        (listener.accept().unwrap().0, client.unwrap())
    }

    fn ask(diag: &mut SockDiag, socket: &TcpStream) -> Tcp {
        let ends = (socket.local_addr().unwrap(), socket.peer_addr().unwrap());
        diag.ask(ends.0, ends.1).unwrap()
    }

    /// Queries until the answer satisfies `until`.
    fn wait(diag: &mut SockDiag, socket: &TcpStream, until: impl Fn(Tcp) -> bool) -> Tcp {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tcp = ask(diag, socket);
            if until(tcp) {
                return tcp;
            }
            assert!(Instant::now() < deadline, "{tcp:?}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn tells_of_what_was_acknowledged_on_either_family() {
        // The last: an IPv4 client of a socket for both families.
        for address in ["127.0.0.1", "::1", "::"] {
            let mut diag = SockDiag::open().unwrap();
            let (mut server, mut client) = pair(address);
            server.write_all(b"ok\n").unwrap();
            client.read_exact(&mut [0; 3]).unwrap();
            let tcp = wait(&mut diag, &server, |tcp| tcp.unacknowledged_bytes == 0);
            assert!(tcp.heard_ago < PATIENCE && tcp.unanswered == 0, "{tcp:?}");
        }
    }

    /// The window closes, but the kernel of a client that reads nothing answers every probe.
    #[test]
    fn a_client_that_reads_nothing_is_heard_of_all_the_same() {
        let mut diag = SockDiag::open().unwrap();
        let (mut server, client) = pair("127.0.0.1");
        server.set_nonblocking(true).unwrap();
        while server.write(&[0; 4096]).is_ok() {}
        let limit = Duration::from_millis(300);
        // Long enough that a probe was sent and answered.
        let begun = Instant::now();
        let probed = |tcp: Tcp| begun.elapsed() > 2 * limit && tcp.unanswered == 0;
        let tcp = wait(&mut diag, &server, probed);
        assert!(tcp.unacknowledged_bytes > 0 && !tcp.seems_gone(limit));
        drop(client);
    }

    #[test]
    fn nothing_is_known_of_a_connection_that_is_not_there() {
        let mut diag = SockDiag::open().unwrap();
        let ends = ([127, 0, 0, 1], 1).into();
        let error = diag.ask(ends, ends).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        let (server, _client) = pair("127.0.0.1");
        assert_eq!(ask(&mut diag, &server).unacknowledged_bytes, 0);
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            kind in prop_oneof![Just(NLMSG_ERROR), Just(SOCK_DIAG_BY_FAMILY), any::<u16>()],
        ) {
            if let Some(header) = bytes.get_mut(..NLMSGHDR_LEN) {
                header[4..6].copy_from_slice(&kind.to_ne_bytes());
                header[8..12].copy_from_slice(&7_u32.to_ne_bytes());
            }
            _ = parse(&bytes, 7);
        }
    }
}
