//! A client of the schedules, with the messages it has sent and the replies it has received.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::BUFFER;

/// The end of every message, so that half a message is not mistaken for a whole one.
pub(super) const END: &str = " .";

/// The layer between a test client and its socket.
pub(super) trait Layer {
    /// Takes what it can of `text`, and sends at most `most` bytes of its output. `ends`: no more text
    /// follows. Returns the number of bytes taken.
    fn send(&mut self, socket: &mut TcpStream, text: &[u8], ends: bool, most: usize) -> usize;

    /// Everything that it has taken is sent.
    fn has_sent_all(&self) -> bool;

    /// Reads at most `most` bytes of the socket.
    fn read(&mut self, socket: &mut TcpStream, most: usize) -> io::Result<Heard>;

    /// Corrupts the layer's protocol at byte `at` of the unsent output, or after it. Returns whether it has
    /// a protocol.
    fn spoil(&mut self, at: usize) -> bool {
        _ = at;
        false
    }
}

/// The result of a read.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) text: Vec<u8>,
    /// The connection has ended.
    pub(super) is_over: bool,
    /// The end was announced.
    pub(super) was_told: bool,
}

/// No layer: the text is sent as it is.
struct Plain;

impl Layer for Plain {
    fn send(&mut self, socket: &mut TcpStream, text: &[u8], _ends: bool, most: usize) -> usize {
        socket.write(&text[..text.len().min(most)]).unwrap_or(0)
    }

    fn has_sent_all(&self) -> bool {
        true
    }

    fn read(&mut self, socket: &mut TcpStream, most: usize) -> io::Result<Heard> {
        let mut text = vec![0; most];
        let n = socket.read(&mut text)?;
        text.truncate(n);
        Ok(Heard { text, is_over: n == 0, was_told: true })
    }
}

#[allow(clippy::struct_excessive_bools, reason = "each is something to be checked")]
pub(super) struct TestClient {
    pub(super) id: usize,
    layer: Box<dyn Layer>,
    pub(super) socket: Option<TcpStream>,
    /// The output, and how much of it is sent, or at least encrypted.
    pub(super) output: Vec<u8>,
    pub(super) sent: usize,
    pub(super) half_closed: bool,
    /// For each message, whether it is within the limit.
    pub(super) said: Vec<bool>,
    /// The beginning of a reply that is incomplete.
    pub(super) input: Vec<u8>,
    /// The number of replies received.
    pub(super) heard: usize,
    /// The messages that were answered `ok`.
    pub(super) kept: Vec<usize>,
    /// The server has closed the connection.
    pub(super) was_closed: bool,
    /// The server has closed the connection without a required `close_notify`.
    pub(super) was_cut_off: bool,
    /// It has disconnected with a real FIN, after all its messages.
    pub(super) left_politely: bool,
    /// It has corrupted its layer's protocol: it sends no more messages, and the server may cut it off.
    pub(super) is_spoilt: bool,
}

impl TestClient {
    pub(super) fn connect(id: usize, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(BUFFER).unwrap();
        socket.connect(&address.into()).unwrap();
        let socket = TcpStream::from(socket);
        socket.set_nonblocking(true).unwrap();
        Self {
            id,
            layer: Box::new(Plain),
            socket: Some(socket),
            output: Vec::new(),
            sent: 0,
            half_closed: false,
            said: Vec::new(),
            input: Vec::new(),
            heard: 0,
            kept: Vec::new(),
            was_closed: false,
            was_cut_off: false,
            left_politely: false,
            is_spoilt: false,
        }
    }

    /// The same client over this layer.
    #[cfg(feature = "tls")]
    pub(super) fn over(self, layer: impl Layer + 'static) -> Self {
        let layer = Box::new(layer);
        Self { layer, ..self }
    }

    pub(super) fn say(&mut self, count: usize, filler: &str) {
        if self.half_closed || self.socket.is_none() {
            return;
        }
        for _ in 0..count {
            let (id, n) = (self.id, self.said.len());
            writeln!(self.output, "{id} {n}{filler}{END}").unwrap();
            self.said.push(filler.is_empty());
        }
    }

    pub(super) fn send(&mut self, most: usize) {
        if let Some(socket) = &mut self.socket {
            let rest = &self.output[self.sent..];
            self.sent += self.layer.send(socket, rest, self.half_closed, most);
            if self.half_closed && self.has_sent_all() {
                let Some(socket) = &mut self.socket else {
                    return;
                };
                // A second call is no error, and after a reset there is nothing to shut down.
                _ = socket.shutdown(Shutdown::Write);
            }
        }
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.sent == self.output.len() && self.layer.has_sent_all()
    }

    pub(super) fn read(&mut self, most: usize) -> Vec<u8> {
        let most = most.min(256 << 10);
        let Some(socket) = self.socket.as_mut().filter(|_| most > 0) else {
            return Vec::new();
        };
        let heard = match self.layer.read(socket, most) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Vec::new(),
            Err(_) => Heard { is_over: true, was_told: true, ..Heard::default() },
            Ok(heard) => heard,
        };
        if heard.is_over {
            self.was_closed = true;
            self.was_cut_off = !heard.was_told;
            self.socket = None;
        }
        heard.text
    }

    /// Sends the message that has begun, without its line end if possible, and then no more.
    pub(super) fn half_close(&mut self) {
        if self.half_closed || self.socket.is_none() {
            return;
        }
        self.half_closed = true;
        let mut ends = memchr::memchr_iter(b'\n', &self.output);
        let whole = ends.find(|end| end + 1 >= self.sent).map(|end| end + 1);
        self.output.truncate(whole.unwrap_or(0));
        if self.sent < self.output.len() {
            self.output.pop();
        }
        let lines = self.output.split_inclusive(|&byte| byte == b'\n').count();
        self.said.truncate(lines);
        self.send(0);
    }

    /// Closes without reading the replies. The kernel turns this into a reset, at once if there are unread
    /// replies, else when one arrives.
    pub(super) fn leave(&mut self) {
        self.half_close();
        self.send(usize::MAX);
        if let Some(socket) = self.socket.take() {
            let unread = socket.peek(&mut [0]).is_ok();
            // With a closed window, more output may still be in this kernel, and a reset discards it.
            let fits = self.output.len() <= 32 << 10;
            self.left_politely = !unread && fits && self.has_sent_all() && !self.is_spoilt;
        }
    }

    pub(super) fn reset(&mut self) {
        if let Some(socket) = self.socket.take() {
            let reset = SockRef::from(&socket);
            reset.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Corrupts its layer's protocol in the unsent output, and sends no more messages.
    pub(super) fn spoil(&mut self, at: usize) {
        if self.socket.is_some() && !self.half_closed && self.layer.spoil(at) {
            self.is_spoilt = true;
            self.half_closed = true;
            self.output.truncate(self.sent);
            self.send(0);
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.socket.is_some()
            && (self.is_spoilt || !self.has_sent_all() || self.heard < self.said.len())
    }
}
