//! Tests of first bytes split anywhere into reads or TLS records: the result does not depend on the split.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use common::protocol::Framing;
use net::Socket;
use proptest::prelude::*;
use rustls::ClientConnection;

use super::{KEY, Lender, SERIAL};
use crate::admission::Admission;
use crate::channel::Channel;
use crate::connection::{Connection, Policy, Ready};
use crate::options::Config;
use crate::tls::{Acceptor, test_peers};

/// A socket whose reads return one chunk each.
#[derive(Default)]
struct ChunkedSocket {
    to_server: VecDeque<Vec<u8>>,
    has_ended: bool,
    to_client: Vec<u8>,
}

impl Read for ChunkedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to_server.pop_front() {
            None if self.has_ended => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(mut piece) => {
                let n = piece.len().min(buffer.len());
                buffer[..n].copy_from_slice(&piece[..n]);
                if n < piece.len() {
                    self.to_server.push_front(piece.split_off(n));
                }
                Ok(n)
            }
        }
    }
}

impl Write for ChunkedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_client.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for ChunkedSocket {
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How first bytes arrive.
#[derive(Clone, Copy, Debug)]
struct Setting {
    tls: bool,
    framing: Framing,
    max_message: usize,
    /// Connections must begin with a PROXY header.
    proxied: bool,
}

/// The result of the first bytes: the recorded messages, and the code of an error reply.
type Outcome = (Vec<String>, String);

/// A connection, its client, and what it borrows from the loop.
struct World {
    connection: Connection<ChunkedSocket>,
    client: Option<ClientConnection>,
    lender: Lender,
}

impl World {
    fn new(setting: Setting) -> Self {
        let mut config = if setting.tls { test_peers::server() } else { Config::default() };
        if setting.proxied {
            config.proxy_from = "127.0.0.1".parse().unwrap();
        }
        config.framing = setting.framing;
        config.max_message = setting.max_message;
        let admission = Admission::new(&config, Acceptor::open(&config).unwrap());
        let peer = ([127, 0, 0, 1], 5).into();
        let expects = admission.expects_first([127, 0, 0, 1].into());
        let channel = Channel::new(expects, 0);
        let socket = ChunkedSocket::default();
        let client = setting.tls.then(test_peers::client);
        Self {
            connection: Connection::new(socket, channel, peer, SERIAL, 0),
            client,
            lender: Lender::new(Policy::new(&config, admission, true)),
        }
    }

    /// A chunk arrives and is read.
    fn bring(&mut self, piece: Vec<u8>) {
        self.connection.socket.to_server.push_back(piece);
        self.read();
    }

    fn read(&mut self) {
        self.connection.ready |= Ready::READABLE;
        while self.connection.wants_read() {
            let context = &mut self.lender.context();
            self.connection.read(KEY, context, usize::MAX);
        }
    }

    fn shake_hands(&mut self) {
        while self.client.as_ref().is_some_and(|client| client.is_handshaking()) {
            self.bring_ciphertext();
            let heard = std::mem::take(&mut self.connection.socket.to_client);
            let client = self.client.as_mut().unwrap();
            client.read_tls(&mut heard.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        self.bring_ciphertext();
    }

    fn bring_ciphertext(&mut self) {
        let mut wire = Vec::new();
        let Some(client) = &mut self.client else {
            return;
        };
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        if !wire.is_empty() {
            self.bring(wire);
        }
    }

    /// The client sends a chunk: one read, or one TLS record.
    fn say(&mut self, piece: &[u8]) {
        match &mut self.client {
            None => self.bring(piece.to_vec()),
            Some(client) => {
                client.writer().write_all(piece).unwrap();
                self.bring_ciphertext();
            }
        }
    }

    /// Nothing more arrives: the input ends, or the timeout passes.
    fn end(&mut self, is_end: bool) {
        if !is_end {
            self.connection.end_hold(1000);
            self.read();
            return;
        }
        if let Some(client) = &mut self.client {
            client.send_close_notify();
            self.bring_ciphertext();
        }
        self.connection.socket.has_ended = true;
        self.connection.expect_end();
        self.read();
    }

    fn outcome(mut self) -> Outcome {
        let records = String::from_utf8(self.lender.batch.records().to_vec()).unwrap();
        let messages = records.lines().map(|line| {
            let (_, message) = line.split_once(" recieved: ").unwrap();
            message.to_owned()
        });
        let messages = messages.collect();
        if self.connection.wants_write() {
            self.connection.write(&mut self.lender.context());
        }
        let mut said = self.connection.socket.to_client;
        if let Some(client) = &mut self.client {
            client.read_tls(&mut said.as_slice()).unwrap();
            // Over TLS, the client receives only TLS records.
            let state = client.process_new_packets().unwrap();
            said = vec![0; state.plaintext_bytes_to_read()];
            client.reader().read_exact(&mut said).unwrap();
        }
        let said = said.escape_ascii().to_string();
        let code = said.split(':').next().unwrap_or_default().to_owned();
        (messages, code)
    }
}

/// The result of first bytes split at `cuts`. With `is_end` the input ends after them.
fn outcome(setting: Setting, bytes: &[u8], cuts: &[usize], is_end: bool) -> Outcome {
    let mut world = World::new(setting);
    world.shake_hands();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        if cut > from {
            world.say(&bytes[from..cut]);
            from = cut;
        }
    }
    world.end(is_end);
    world.outcome()
}

const PLAIN: Setting =
    Setting { tls: false, framing: Framing::Line, max_message: 64 << 10, proxied: false };

const BEGINNINGS: [&[u8]; 14] = [
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET it\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 80\r\nhello\n",
    b"PROXYING\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\0\x07\0\x50",
    b"\r\n",
    b"\r\n\r\nx\n",
    b"\x16\x03\x01\x00\x05hello\n",
    b"\x16\x03",
    b"\x16\x04\n",
    b"P",
    b"Thread 0, iteration 1\n",
    b"\n\n",
    b"",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn first_bytes_are_the_same_however_they_are_cut(
        at in 0..BEGINNINGS.len(),
        filler in prop_oneof![4 => Just(0), 1 => 900..1100_usize],
        tail in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            "[ \\r\\nHTP/1.]{0,12}".prop_map(String::into_bytes),
        ],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        is_end: bool,
    ) {
        let mut bytes = BEGINNINGS[at].to_vec();
        bytes.resize(bytes.len() + filler, b'x');
        bytes.extend(tail);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let expected = outcome(PLAIN, &bytes, &[], is_end);
        prop_assert_eq!(outcome(PLAIN, &bytes, &cuts, is_end), expected.clone());
        let tls = Setting { tls: true, ..PLAIN };
        // Within TLS, TLS is not detected again.
        let whole = outcome(tls, &bytes, &[], is_end);
        if expected.1 != NO_TLS_ALERT {
            prop_assert_eq!(&whole, &expected);
        }
        prop_assert!(whole.1 != NO_TLS_ALERT);
        prop_assert_eq!(outcome(tls, &bytes, &cuts, is_end), whole);
    }
}

/// The alert for a TLS client on a server without TLS, as text.
const NO_TLS_ALERT: &str = r"\x15\x03\x01\x00\x02\x02(";

/// Split at every byte, and into single bytes.
#[test]
fn each_beginning_is_the_same_at_every_cut() {
    for bytes in BEGINNINGS {
        for tls in [false, true] {
            let setting = Setting { tls, ..PLAIN };
            for is_end in [false, true] {
                let whole = outcome(setting, bytes, &[], is_end);
                for cut in 0..bytes.len() {
                    let cut_once = outcome(setting, bytes, &[cut], is_end);
                    assert_eq!(cut_once, whole, "{} {cut} {tls}", bytes.escape_ascii());
                }
                let all: Vec<_> = (0..bytes.len()).collect();
                let in_bytes = outcome(setting, bytes, &all, is_end);
                assert_eq!(in_bytes, whole, "{} {tls}", bytes.escape_ascii());
            }
        }
    }
    let tls = Setting { tls: true, ..PLAIN };
    let (messages, _) = outcome(tls, b"\x16\x03\x01\x00\x05hello\n", &[], false);
    assert_eq!(messages, [r"\x16\x03\x01\x00\x05hello"]);
    let refusal = outcome(tls, BEGINNINGS[0], &[4], false);
    assert_eq!(refusal, (Vec::new(), "error http".to_owned()));
}

/// The limit of a header does not depend on that of a message.
#[test]
fn headers_and_first_bytes_may_be_longer_than_a_message() {
    let setting = Setting { framing: Framing::None, max_message: 16, proxied: true, ..PLAIN };
    let mut long =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf0\xc0\0\x02\x01\xc0\0\x02\x02\0\x07\0\x50\x04\x0f\xe1"
            .to_vec();
    long.resize(4096, b'x');
    let v1 = b"PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 2001:db8:1111:2222:3333:4444:5555:7777 45678 2005\r\n";
    for header in [&v1[..], &long] {
        for message in ["hello", "POST a coffee to someone"] {
            let bytes = [header, message.as_bytes()].concat();
            for cut in [0, 1, 16, 63, 64, header.len() - 1, header.len(), header.len() + 3] {
                let (messages, _) = outcome(setting, &bytes, &[cut], true);
                assert!(messages.iter().all(|message| message.len() <= 16), "{messages:?}");
                assert_eq!(messages.concat(), message, "{cut}");
            }
        }
        let request = [header, b"POST /not/here HTTP/1.1\r\n"].concat();
        for cut in 0..=request.len() {
            let expected = (Vec::new(), "error http".to_owned());
            assert_eq!(outcome(setting, &request, &[cut], false), expected, "{cut}");
        }
    }
}

/// After a pause of the process, input that arrived meanwhile may be unread.
#[test]
fn input_that_arrived_by_the_end_of_the_hold_is_read_first() {
    let mut world = World::new(PLAIN);
    world.bring(b"PO".to_vec());
    assert_eq!(world.connection.take_hold_start(), Some(0));
    assert_eq!(world.connection.take_hold_start(), None, "once only");
    let rest = b"ST / HTTP/1.1\r\n".to_vec();
    world.connection.socket.to_server.push_back(rest);
    world.connection.ready |= Ready::READABLE;
    world.connection.end_hold(1000);
    assert_eq!(world.connection.take_hold_start(), Some(1000));
    world.read();
    assert_eq!(world.outcome(), (Vec::new(), "error http".to_owned()));
}
