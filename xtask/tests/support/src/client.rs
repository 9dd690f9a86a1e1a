//! A client of the wire protocol.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::wait::DEADLINE;

/// A client with deadlines.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream);
        Self { reader }
    }

    /// A client with a small receive buffer: unread replies soon block the server's writes.
    pub fn connect_deaf(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.connect(&address.into()).expect("the server accepts");
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let reader = BufReader::new(socket.into());
        Self { reader }
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Its address, as records show it.
    pub fn name(&self) -> String {
        self.stream().local_addr().unwrap().to_string()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).expect("the server takes it");
    }

    /// Sends `line` repeatedly and reads nothing, until the server has taken no byte for this long. Returns the
    /// number of whole lines sent.
    pub fn fill(&self, line: &str, quiet: Duration) -> usize {
        let lines = line.repeat((1 << 20) / line.len());
        let mut stream = self.stream();
        stream.set_write_timeout(Some(quiet)).unwrap();
        let mut sent = 0;
        loop {
            match stream.write(&lines.as_bytes()[sent % line.len()..]) {
                Ok(n) => sent += n,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return sent / line.len();
                }
            }
            assert!(sent < 100 << 20, "nothing stops this client");
        }
    }

    /// Sends this many lines, one at a time, with this pause before each; returns the latencies in ascending
    /// order.
    pub fn latencies(&mut self, lines: usize, pause: Duration) -> Vec<Duration> {
        let ask = |_| {
            thread::sleep(pause);
            let sent = Instant::now();
            assert_eq!(self.ask("now and then"), "ok");
            sent.elapsed()
        };
        let mut times: Vec<_> = (0..lines).map(ask).collect();
        times.sort_unstable();
        times
    }

    /// Half-closes the connection.
    pub fn end(&mut self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// The next reply without its line end; empty if the server has closed the connection.
    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a reply in time");
        line.strip_suffix('\n').unwrap_or(&line).to_owned()
    }

    /// Sends a line and waits for its reply; none if the connection breaks before it.
    pub fn try_ask(&mut self, line: &str) -> Option<String> {
        self.stream().write_all(format!("{line}\n").as_bytes()).ok()?;
        let mut reply = String::new();
        self.reader.read_line(&mut reply).ok()?;
        reply.strip_suffix('\n').map(str::to_owned)
    }

    /// Everything until the server closes the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).expect("a close in time");
        rest
    }

    /// Sends a line and waits for its reply.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.reply()
    }
}
