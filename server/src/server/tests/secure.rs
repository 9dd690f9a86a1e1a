//! TLS clients of the schedules. Their output is split anywhere, even within records.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use rustls::ClientConnection;

use super::test_client::{Heard, Layer};
use crate::tls::{Acceptor, test_peers};

/// The acceptor of a server that these clients trust.
pub(super) fn acceptor() -> Option<Acceptor> {
    Acceptor::open(&test_peers::server()).unwrap()
}

/// A record that cannot be decrypted.
const BAD_RECORD: [u8; 37] = {
    let mut record = [0x55; 37];
    (record[0], record[1], record[2], record[3], record[4]) = (23, 3, 3, 0, 32);
    record
};

/// The client's end of a TLS connection.
pub(super) struct Secure {
    tls: ClientConnection,
    /// Ciphertext that is not sent yet.
    wire: Vec<u8>,
    has_ended: bool,
    /// The stream is corrupted, and nothing more is encrypted.
    is_spoilt: bool,
}

impl Secure {
    pub(super) fn new() -> Self {
        Self { tls: test_peers::client(), wire: Vec::new(), has_ended: false, is_spoilt: false }
    }
}

impl Layer for Secure {
    fn send(&mut self, socket: &mut TcpStream, text: &[u8], ends: bool, most: usize) -> usize {
        let mut taken = 0;
        if !self.tls.is_handshaking() && !self.is_spoilt {
            taken = self.tls.writer().write(text).unwrap();
            if ends && taken == text.len() && !self.has_ended {
                self.has_ended = true;
                self.tls.send_close_notify();
            }
        }
        while self.tls.wants_write() && !self.is_spoilt {
            self.tls.write_tls(&mut self.wire).unwrap();
        }
        let some = self.wire.len().min(most);
        let sent = socket.write(&self.wire[..some]).unwrap_or(0);
        self.wire.drain(..sent);
        taken
    }

    fn has_sent_all(&self) -> bool {
        let has_encrypted_all = !self.tls.is_handshaking() && !self.tls.wants_write();
        (has_encrypted_all || self.is_spoilt) && self.wire.is_empty()
    }

    fn read(&mut self, socket: &mut TcpStream, most: usize) -> io::Result<Heard> {
        let mut wire = vec![0; most];
        let n = socket.read(&mut wire)?;
        let mut unread = &wire[..n];
        let mut heard = Heard { is_over: n == 0, ..Heard::default() };
        while !unread.is_empty() {
            self.tls.read_tls(&mut unread).unwrap();
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                // The server's alert, or a handshake that the corruption has broken.
                Err(_) if self.is_spoilt => return Ok(heard),
                Err(error) => panic!("the server breaks TLS: {error}"),
            };
            heard.was_told |= state.peer_has_closed();
            let mut text = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut text).unwrap();
            heard.text.extend(text);
        }
        if n == 0 {
            let state = self.tls.process_new_packets();
            heard.was_told = state.is_ok_and(|state| state.peer_has_closed());
        }
        Ok(heard)
    }

    fn spoil(&mut self, at: usize) -> bool {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.wire).unwrap();
        }
        match self.wire.get_mut(at) {
            Some(byte) => *byte ^= 0x55,
            None => self.wire.extend(BAD_RECORD),
        }
        self.is_spoilt = true;
        true
    }
}
