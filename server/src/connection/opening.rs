//! The opening of a connection: its first bytes, which may be a PROXY header, TLS, messages or none of
//! these.

use std::io;

use common::protocol::Reply;
use compact_str::ToCompactString as _;
use net::{Socket, canonical};

use super::{Connection, Ready, Workspace};
use crate::admission::Expected;
use crate::admission::first::{First, recognise};
use crate::admission::proxy::{self, Client, Header};
use crate::channel::Channel;

/// The answer to a TLS client on a server without TLS: a fatal alert, `handshake_failure` (RFC 8446,
/// section 6).
pub(super) const NO_TLS_ALERT: &[u8] = b"\x15\x03\x01\x00\x02\x02\x28";

impl<S: Socket> Connection<S> {
    /// No input has been taken as messages yet.
    pub(super) fn is_new(&self) -> bool {
        !self.ready.contains(Ready::HAS_SPOKEN)
            && self.life.takes_messages()
            && !self.framer.is_within_message()
    }

    /// Checks the first input, `len` bytes of the workspace. Returns how many bytes of messages the
    /// workspace holds afterwards, if any.
    pub(super) fn open(&mut self, work: &mut Workspace, mut len: usize) -> Option<usize> {
        if self.channel.expects() == Some(Expected::Proxy) {
            len = self.take_header(work, len)?;
        }
        let (bytes, expects) = (&work.input[..len], self.channel.expects());
        match recognise(bytes, self.channel.is_tls()) {
            First::Unclear if self.can_wait(work, len) => None,
            First::Tls if expects == Some(Expected::Tls) => {
                self.begin_tls(work, len);
                None
            }
            First::Messages | First::Unclear if expects != Some(Expected::Tls) => {
                self.channel.finish_opening();
                Some(len)
            }
            first => {
                self.turn_away(first, work);
                None
            }
        }
    }

    /// Consumes the PROXY header. Returns how many bytes are left after it, if any.
    fn take_header(&mut self, work: &mut Workspace, len: usize) -> Option<usize> {
        let (header, client) = match proxy::parse(&work.input[..len]) {
            Header::Whole(header, client) => (header, client),
            Header::Partial if self.can_wait(work, len) => return None,
            Header::Partial | Header::Malformed => {
                work.admission.counts.proxy_malformed += 1;
                let why = "closed, it did not begin with a PROXY header, or with a malformed one";
                work.admission.report(&self.peer, why);
                self.close();
                return None;
            }
        };
        if !self.is_admitted(client, work) {
            self.give_up();
            return None;
        }
        work.input.copy_within(header..len, 0);
        let expects = work.admission.expects_of_client();
        self.channel = Channel::new(expects, self.opening_since(work));
        (len > header).then_some(len - header)
    }

    /// Holds the first bytes until more arrive. Returns `false` if no more can.
    fn can_wait(&mut self, work: &Workspace, len: usize) -> bool {
        self.channel.hold(&work.input[..len], work.now_ms)
    }

    /// Takes over the address in the PROXY header. Returns whether a client from there is admitted.
    fn is_admitted(&mut self, client: Client, work: &mut Workspace) -> bool {
        match client {
            Client::At(address) => {
                let address = canonical(address);
                self.peer = address.to_compact_string();
                work.admission.admits(address, work.now)
            }
            // The proxy's own address counts.
            Client::Unknown => {
                let proxy = self.peer.parse();
                proxy.is_ok_and(|proxy| work.admission.admits(proxy, work.now))
            }
        }
    }

    fn begin_tls(&mut self, work: &mut Workspace, len: usize) {
        let Some(tls) = &work.admission.tls else {
            return;
        };
        let since_ms = self.opening_since(work);
        match tls.accept(work.input[..len].to_vec(), since_ms) {
            Ok(session) => self.channel = Channel::tls(session),
            Err(error) => {
                work.admission.counts.handshakes_failed += 1;
                work.admission.report(&self.peer, error);
                self.give_up();
            }
        }
    }

    /// Closes a connection whose first bytes are not what is required.
    fn turn_away(&mut self, first: First, work: &mut Workspace) {
        let counts = &mut work.admission.counts;
        let (count, reply, why) = match first {
            First::Http => (&mut counts.http, Reply::Http, "it sent a request of HTTP"),
            First::Proxy => (
                &mut counts.proxy_untrusted,
                Reply::Proxy,
                "it sent a PROXY header, and is not in -proxy-from",
            ),
            First::Tls => {
                self.channel = Channel::farewell(NO_TLS_ALERT);
                let why = "it speaks TLS, and this server does not (-tls-cert)";
                (&mut counts.tls_mismatched, Reply::TlsRequired, why)
            }
            First::Messages | First::Unclear => {
                let why = "it speaks no TLS";
                (&mut counts.tls_mismatched, Reply::TlsRequired, why)
            }
        };
        *count += 1;
        work.admission
            .report(&self.peer, format_args!("closed, {why}"));
        if first != First::Tls {
            self.channel.finish_opening();
            if work.sends_replies {
                self.owe_unasked(reply);
            }
        }
        self.close();
    }

    /// Closes a connection after a TLS error, or because its certificate is missing or not accepted. TLS
    /// has already sent the alert.
    pub(super) fn break_off(&mut self, error: &io::Error, work: &mut Workspace) {
        work.admission
            .report(&self.peer, format_args!("closed, {error}"));
        self.ready -= Ready::READABLE;
        self.close();
    }

    /// Counts a handshake that succeeded or failed in the last read.
    pub(super) fn count_handshake(&self, work: &mut Workspace) {
        let counts = &mut work.admission.counts;
        if self.channel.is_tls() && !self.channel.is_handshaking() {
            counts.handshakes += 1;
            if let Some(name) = self.channel.client_name() {
                log::info!("{}: by its certificate, {name}", self.peer);
            }
        } else if self.channel.is_tls() && !self.life.reads() {
            counts.handshakes_failed += 1;
        }
    }

    /// A TLS handshake or a PROXY header is pending.
    pub fn is_opening(&self) -> bool {
        matches!(
            self.channel.awaits(),
            Some((Expected::Tls | Expected::Proxy, _))
        )
    }

    /// When the opening began, in the loop's milliseconds. PROXY header and handshake share one deadline,
    /// so the second does not restart it.
    fn opening_since(&self, work: &Workspace) -> u32 {
        self.channel.awaits().map_or(work.now_ms, |(_, ms)| ms)
    }

    /// What is pending before messages, and since when in the loop's milliseconds.
    pub fn awaits(&self) -> Option<(Expected, u32)> {
        self.channel.awaits()
    }

    /// When ambiguous first bytes began to be held, once for each time that they begin; in the loop's
    /// milliseconds.
    pub fn begins_to_wait(&mut self) -> Option<u32> {
        self.channel.begins_to_wait()
    }

    /// Ambiguous first bytes were held long enough, so they are messages. If there is more input by now,
    /// that is read first. Returns whether they were taken as messages.
    pub fn end_wait(&mut self, now_ms: u32) -> bool {
        if !self.is_unclear() || !self.life.takes_messages() {
            return false;
        }
        if self.ready.contains(Ready::READABLE) {
            self.channel.wait_anew(now_ms);
            return false;
        }
        self.take_for_messages();
        true
    }

    /// Ambiguous first bytes are held, which may be messages.
    pub(super) fn is_unclear(&self) -> bool {
        self.channel.expects() == Some(Expected::Messages)
    }

    /// Takes the held bytes as messages.
    pub(super) fn take_for_messages(&mut self) {
        let bytes = self.channel.finish_opening();
        self.framer.put_back(bytes);
        self.ready |= Ready::HAS_SPOKEN;
    }
}
