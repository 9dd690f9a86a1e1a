//! Tests of sessions over a wire that moves any number of bytes at a time.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock};

use net::Socket;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use test_support::ca::{Identity, TestCa};

use super::Session;
use crate::options::Config;
use crate::taken::Next;
use crate::tls::Acceptor;

const BUFFER: usize = 64 << 10;

/// The certificates and acceptors of all tests.
struct Certificates {
    acceptor: Acceptor,
    /// Requires no client certificate, and sends tickets.
    open: Acceptor,
    root: CertificateDer<'static>,
    client: Identity,
}

static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(|| {
    let authority = TestCa::new("sessions").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.certificate()).unwrap();
    let server = authority.issue(&["localhost"]).unwrap();
    let server = server.write(folder.path(), "server").unwrap();
    let config = Config {
        tls_cert: Some(server.certificate),
        tls_key: Some(server.key),
        tls_client_ca: Some(ca),
        ..Config::default()
    };
    let open = Config { tls_client_ca: None, ..config.clone() };
    Certificates {
        acceptor: Acceptor::open(&config).unwrap().unwrap(),
        open: Acceptor::open(&open).unwrap().unwrap(),
        root: CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap(),
        client: authority.issue(&["client.example"]).unwrap(),
    }
});

fn client(is_13: bool, fragment: Option<usize>) -> ClientConnection {
    let certificates = &*CERTIFICATES;
    let mut roots = RootCertStore::empty();
    roots.add(certificates.root.clone()).unwrap();
    let pem = certificates.client.certificate.as_bytes();
    let chain = vec![CertificateDer::from_pem_slice(pem).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificates.client.key.as_bytes()).unwrap();
    let versions = if is_13 { [&TLS13] } else { [&TLS12] };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&versions).unwrap();
    let config = config.with_root_certificates(roots);
    let mut config = config.with_client_auth_cert(chain, key).unwrap();
    config.max_fragment_size = fragment;
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

/// Both directions, and how many bytes are moved at once.
struct Wire {
    to_server: VecDeque<u8>,
    to_client: Vec<u8>,
    pieces: Vec<usize>,
    next: usize,
    /// How many more bytes the kernel accepts.
    room: usize,
    /// The offset of the byte to the server that is altered, counted from the next one.
    spoilt_at: Option<usize>,
    /// Whether the peer has reset the connection, and no write has detected it yet.
    is_reset: bool,
}

impl Wire {
    fn piece(&mut self) -> usize {
        self.next = (self.next + 1) % self.pieces.len();
        self.pieces[self.next]
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.to_server.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = self.piece().min(buffer.len());
        let n = self.to_server.read(&mut buffer[..most])?;
        match self.spoilt_at {
            Some(at) if at < n => {
                buffer[at] ^= 0x55;
                self.spoilt_at = None;
            }
            Some(at) => self.spoilt_at = Some(at - n),
            None => {}
        }
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.is_reset) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let n = self.piece().min(self.room).min(bytes.len());
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= n;
        self.to_client.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Wire {
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A session, its peer, and the data that each has received.
struct World {
    client: ClientConnection,
    session: Session,
    wire: Wire,
    input: Vec<u8>,
    scratch: Vec<u8>,
    /// The plaintext that the server has decrypted.
    heard: Vec<u8>,
    has_ended: bool,
    /// The plaintext that the client has decrypted.
    replies: Vec<u8>,
}

impl World {
    fn new(is_13: bool, fragment: Option<usize>, pieces: &[usize]) -> Self {
        Self {
            client: client(is_13, fragment),
            session: CERTIFICATES.acceptor.accept(Vec::new(), 0).unwrap(),
            wire: Wire {
                to_server: VecDeque::new(),
                to_client: Vec::new(),
                pieces: pieces.to_vec(),
                next: 0,
                room: usize::MAX,
                spoilt_at: None,
                is_reset: false,
            },
            input: vec![0; BUFFER],
            scratch: vec![0; BUFFER],
            heard: Vec::new(),
            has_ended: false,
            replies: Vec::new(),
        }
    }

    /// The server reads everything that was received.
    fn read(&mut self) -> TestCaseResult {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.wire.to_server).unwrap();
        }
        while !self.has_ended {
            let (input, scratch) = (&mut self.input, &mut self.scratch);
            match self.session.read(&mut self.wire, input, scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
                Ok(taken) => {
                    self.heard.extend_from_slice(&self.input[..taken.bytes]);
                    self.has_ended = taken.next == Next::End;
                }
            }
        }
        Ok(())
    }

    /// The client reads everything that was received.
    fn listen(&mut self) {
        let wire = std::mem::take(&mut self.wire.to_client);
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            self.client.read_tls(&mut unread).unwrap();
            let state = self.client.process_new_packets().unwrap();
            let mut text = vec![0; state.plaintext_bytes_to_read()];
            self.client.reader().read_exact(&mut text).unwrap();
            self.replies.extend(text);
        }
    }

    /// Sends replies, with this much room in the kernel at a time. The client can read exactly the bytes that
    /// count as sent.
    fn reply(&mut self, replies: &[u8], room: usize) -> TestCaseResult {
        let mut sent = 0;
        while sent < replies.len() {
            self.wire.room = room;
            let rest = &replies[sent..];
            match self.session.write(&mut self.wire, rest, &mut self.scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => sent += written.unwrap(),
            }
            self.listen();
            prop_assert_eq!(&self.replies, &replies[..sent]);
        }
        self.wire.room = usize::MAX;
        Ok(())
    }

    /// Exchanges messages and replies until TLS fails. Between the reads, replies are sent as far as there is
    /// room. At the end the peer reads everything.
    fn run_spoilt(mut self, messages: &[Vec<u8>], rooms: &[usize]) -> TestCaseResult {
        let mut rooms = rooms.iter().cycle();
        let mut messages = messages.iter();
        let mut owed = 0;
        // If a length is altered, the rest of the record may never arrive. Then there is no failure.
        for _ in 0..50 {
            if !self.client.is_handshaking()
                && let Some(message) = messages.next()
            {
                // After an alert the client sends nothing.
                _ = self.client.writer().write_all(message);
            }
            while self.client.wants_write() {
                self.client.write_tls(&mut self.wire.to_server).unwrap();
            }
            let (input, scratch) = (&mut self.input, &mut self.scratch);
            match self.session.read(&mut self.wire, input, scratch) {
                Ok(taken) => owed += taken.bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    self.session.forget_replies();
                    owed = 0;
                    break;
                }
            }
            if !self.session.has_failed() {
                self.wire.room = *rooms.next().unwrap();
                owed -= self.write(owed)?;
            }
            self.try_to_listen();
        }
        self.wire.room = usize::MAX;
        if self.session.has_failed() {
            self.session.forget_replies();
            owed = 0;
        }
        while self.session.has_output() || owed > 0 {
            let had = (owed, self.session.held_bytes());
            owed -= self.write(owed)?;
            prop_assert!(had != (owed, self.session.held_bytes()), "it goes on");
        }
        Ok(())
    }

    /// Sends this many bytes of replies, as far as there is room. Returns how many are sent.
    fn write(&mut self, owed: usize) -> Result<usize, TestCaseError> {
        let replies = vec![b'r'; owed];
        let (wire, scratch) = (&mut self.wire, &mut self.scratch);
        let sent = match self.session.write(wire, &replies, scratch) {
            // Before the end of the handshake nothing can be encrypted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => owed,
            written => written.unwrap(),
        };
        prop_assert!(sent <= owed);
        prop_assert!(self.session.held_bytes() <= super::MAX_HELD_BYTES);
        Ok(sent)
    }

    /// The client reads what was received, until it finds an error.
    fn try_to_listen(&mut self) {
        let wire = std::mem::take(&mut self.wire.to_client);
        let mut unread = wire.as_slice();
        while !unread.is_empty() && self.client.read_tls(&mut unread).is_ok_and(|n| n > 0) {
            if self.client.process_new_packets().is_err() {
                return;
            }
        }
    }

    fn run(mut self, messages: &[Vec<u8>], room: usize) -> TestCaseResult {
        while self.client.is_handshaking() {
            self.read()?;
            prop_assert!(!self.wire.to_client.is_empty() || !self.client.is_handshaking());
            self.listen();
        }
        self.read()?;
        for (n, message) in messages.iter().enumerate() {
            if n % 2 == 1
                && self.client.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
            {
                self.client.refresh_traffic_keys().unwrap();
            }
            self.client.writer().write_all(message).unwrap();
            self.read()?;
        }
        prop_assert_eq!(&self.heard, &messages.concat());
        prop_assert_eq!(self.session.client_name(), Some("client.example"));
        self.listen();
        self.replies.clear();
        self.reply(&messages.concat(), room)?;
        self.client.send_close_notify();
        self.read()?;
        prop_assert!(self.has_ended);
        self.session.send_close_notify(&mut self.wire).unwrap();
        self.listen();
        prop_assert!(self.client.process_new_packets().unwrap().peer_has_closed());
        prop_assert_eq!(self.session.held_bytes(), 0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// However the bytes of either side are split, all of them arrive, and only bytes that the other side can
    /// read count as sent.
    #[test]
    fn records_may_be_cut_anywhere(
        is_13 in any::<bool>(),
        fragment in prop_oneof![Just(None), (64..2000_usize).prop_map(Some)],
        pieces in prop::collection::vec(prop_oneof![1..8_usize, 1..2000_usize, 1..100_000_usize], 1..8),
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20_000), 0..5),
        room in prop_oneof![1..50_usize, 1..30_000_usize],
    ) {
        World::new(is_13, fragment, &pieces).run(&messages, room)?;
    }

    /// The peer stops reading, breaks TLS at any byte, and reads again. The session counts only replies that
    /// it was given, sends its alert, and ends with nothing left.
    #[test]
    fn a_peer_may_break_tls_at_any_byte(
        is_13 in any::<bool>(),
        pieces in prop::collection::vec(prop_oneof![1..8_usize, 1..2000_usize, 1..100_000_usize], 1..8),
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..4),
        spoilt_at in prop_oneof![0..6000_usize, 0..300_usize],
        rooms in prop::collection::vec(prop_oneof![Just(0), 1..50_usize, 1..30_000_usize], 1..12),
    ) {
        let mut world = World::new(is_13, None, &pieces);
        world.wire.spoilt_at = Some(spoilt_at);
        world.run_spoilt(&messages, &rooms)?;
    }
}

/// The end of the handshake, a message and an invalid record arrive in one flight. The message is returned
/// with its client's name.
#[test]
fn the_name_is_known_before_the_first_message() {
    let mut world = World::new(true, None, &[100_000]);
    while world.client.is_handshaking() {
        world.read().unwrap();
        world.listen();
    }
    world.client.writer().write_all(b"hello\n").unwrap();
    while world.client.wants_write() {
        let to_server = &mut world.wire.to_server;
        world.client.write_tls(to_server).unwrap();
    }
    assert!(world.session.is_handshaking());
    world.wire.to_server.extend([23, 3, 3, 0, 4, 1, 2, 3, 4]);
    let (input, scratch) = (&mut world.input, &mut world.scratch);
    let taken = world.session.read(&mut world.wire, input, scratch).unwrap();
    assert_eq!(&world.input[..taken.bytes], b"hello\n");
    assert_eq!(world.session.client_name(), Some("client.example"));
    assert!(world.session.has_failed());
}

/// The end of the handshake and a message arrive together, and the ticket cannot be sent. The message is
/// returned nevertheless.
#[test]
fn a_message_counts_though_tls_cannot_answer() {
    let mut world = World::new(true, None, &[100_000]);
    world.session = CERTIFICATES.open.accept(Vec::new(), 0).unwrap();
    while world.client.is_handshaking() {
        world.read().unwrap();
        world.listen();
    }
    world.client.writer().write_all(b"hello\n").unwrap();
    world.wire.is_reset = true;
    world.read().unwrap();
    assert_eq!(world.heard, b"hello\n");
    assert!(!world.wire.is_reset, "a write has found the reset");
    assert!(!world.session.has_output() && !world.session.owes_close_notify());
}

/// A handshake message with a large length is not buffered without a limit.
#[test]
fn a_handshake_that_is_too_long_is_broken_off() {
    let mut world = World::new(true, None, &[4096]);
    // A ClientHello of 60 KiB, in records of 1 KiB each (RFC 8446, sections 4 and 5.1).
    let mut hello = vec![1, 0, 240, 0, 3, 3];
    hello.resize(60 << 10, 0);
    for piece in hello.chunks(1024) {
        let length = (piece.len() as u16).to_be_bytes();
        world.wire.to_server.extend([22, 3, 1, length[0], length[1]]);
        world.wire.to_server.extend(piece);
    }
    let failure = loop {
        let (input, scratch) = (&mut world.input, &mut world.scratch);
        match world.session.read(&mut world.wire, input, scratch) {
            Ok(_) => assert!(world.session.held_bytes() <= super::MAX_HELD_BYTES),
            Err(error) => break error,
        }
    };
    assert_eq!(failure.kind(), io::ErrorKind::InvalidData);
    assert_eq!(failure.to_string(), "its handshake is too long");
    assert!(!world.wire.to_server.is_empty(), "it was not read to its end");
    assert_eq!(world.session.held_bytes(), 0);
}
