//! Clients of the schedules that begin with another protocol and disconnect at any moment.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::{PHASES, Setting, World};

/// The first bytes of clients of other protocols. None begins like a message of the schedules.
pub(super) const OPENINGS: [&[u8]; 3] = [
    b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03 the rest of a hello",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
];

/// The next action of such a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Sends the rest of its opening.
    Send,
    HalfClose,
    /// Closes without reading what it received. Even after a FIN, the kernel turns this into a reset.
    Leave,
    Reset,
}

/// A client of another protocol.
pub(super) struct Stranger {
    socket: Option<TcpStream>,
    rest: &'static [u8],
}

impl Stranger {
    /// A client that has sent at most `most` bytes of an opening.
    pub(super) fn connect(address: SocketAddr, opening: usize, most: usize) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        let opening = OPENINGS[opening % OPENINGS.len()];
        let (begun, rest) = opening.split_at(most.min(opening.len()));
        socket.write_all(begun).unwrap();
        let socket = Some(socket);
        Self { socket, rest }
    }

    pub(super) fn act(&mut self, act: Act) {
        let Some(mut socket) = self.socket.take() else {
            return;
        };
        match act {
            // The server or the client itself may have closed.
            Act::Send => _ = socket.write_all(std::mem::take(&mut self.rest)),
            Act::HalfClose => _ = socket.shutdown(Shutdown::Write),
            Act::Leave => return,
            Act::Reset => {
                let reset = SockRef::from(&socket);
                reset.set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
        }
        self.socket = Some(socket);
    }
}

/// Each opening, ended in two steps, each before any phase of a turn.
#[test]
fn a_client_of_another_protocol_may_end_at_any_moment() {
    for opening in 0..OPENINGS.len() {
        for (first, second) in [
            (Act::HalfClose, Act::Reset),
            (Act::HalfClose, Act::Leave),
            (Act::Send, Act::Reset),
            (Act::Send, Act::Leave),
        ] {
            for (phases, more) in (0..3 * PHASES.len()).flat_map(|n| [(n, 0), (n, 1), (n, 3)]) {
                let mut world = World::new(Setting::IN_PLACE);
                world.turn().unwrap();
                let address = world.server.addresses().unwrap()[0];
                let mut stranger = Stranger::connect(address, opening, usize::MAX);
                (0..phases).for_each(|_| world.phase().unwrap());
                stranger.act(first);
                (0..more).for_each(|_| world.phase().unwrap());
                stranger.act(second);
                world.run_until_idle().unwrap();
                assert!(world.server.clients.is_empty());
            }
        }
    }
}
