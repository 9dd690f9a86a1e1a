//! What stands for TLS in builds without it: types without values.
#![allow(missing_docs, reason = "as in tls.rs and tls/session.rs")]

use std::convert::Infallible;
use std::io;

use net::Socket;

use crate::taken::Taken;

#[cfg(test)]
pub const MAX_HELD_BYTES: usize = 0;

#[derive(Debug)]
pub struct Acceptor(Infallible);

#[derive(Debug)]
pub struct Session(Infallible);

impl Acceptor {
    pub fn open(config: &crate::options::Config) -> Result<Option<Self>, String> {
        match config.tls_cert {
            None => Ok(None),
            Some(_) => Err("-tls-cert: this server was built without TLS".to_owned()),
        }
    }

    pub fn reload(&mut self) -> Result<(), String> {
        match self.0 {}
    }

    pub fn warnings(&self) -> Vec<String> {
        match self.0 {}
    }

    pub fn accept(&self, _first_bytes: Vec<u8>, _now_ms: u32) -> io::Result<Session> {
        match self.0 {}
    }
}

impl Session {
    pub fn read(
        &mut self,
        _socket: &mut impl Socket,
        _input: &mut [u8],
        _scratch: &mut [u8],
    ) -> io::Result<Taken> {
        match self.0 {}
    }

    pub fn write(
        &mut self,
        _socket: &mut impl Socket,
        _bytes: &[u8],
        _scratch: &mut [u8],
    ) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn send_close_notify(&mut self, _socket: &mut impl Socket) -> io::Result<()> {
        match self.0 {}
    }

    pub fn clear_output(&mut self) {
        match self.0 {}
    }

    pub fn forget_replies(&mut self) {
        match self.0 {}
    }

    pub fn has_failed(&self) -> bool {
        match self.0 {}
    }

    pub fn has_output(&self) -> bool {
        match self.0 {}
    }

    pub fn is_fresh(&self) -> bool {
        match self.0 {}
    }

    pub fn owes_close_notify(&self) -> bool {
        match self.0 {}
    }

    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub fn handshake_since(&self) -> Option<u32> {
        match self.0 {}
    }

    pub fn client_name(&self) -> Option<&str> {
        match self.0 {}
    }

    pub fn held_bytes(&self) -> usize {
        match self.0 {}
    }
}
