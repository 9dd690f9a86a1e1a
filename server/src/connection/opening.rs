//! The opening of a connection: its first bytes, which may be a PROXY header, TLS, messages or none of
//! these.

use std::io;

use common::protocol::Reply;
use compact_str::ToCompactString as _;
use net::{Socket, canonical};

use super::context::Context;
use super::ready::Ready;
use super::state::Connection;
use crate::admission::Expected;
use crate::admission::first::{First, recognise};
use crate::admission::proxy::{self, Client, Header};
use crate::channel::Channel;
use crate::stats::Stats;

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

    /// Checks the first input, `len` bytes of the buffer. Returns how many bytes of messages the
    /// buffer holds afterwards, if any.
    pub(super) fn open(&mut self, context: &mut Context<'_>, mut len: usize) -> Option<usize> {
        if self.channel.expects() == Some(Expected::Proxy) {
            len = self.take_header(context, len)?;
        }
        let (bytes, expects) = (&context.buffers.input[..len], self.channel.expects());
        match recognise(bytes, self.channel.is_tls()) {
            First::Unclear if self.can_wait(context, len) => None,
            First::Tls if expects == Some(Expected::Tls) => {
                self.begin_tls(context, len);
                None
            }
            First::Messages | First::Unclear if expects != Some(Expected::Tls) => {
                self.channel.finish_opening();
                Some(len)
            }
            first => {
                self.turn_away(first, context);
                None
            }
        }
    }

    /// Consumes the PROXY header. Returns how many bytes are left after it, if any.
    fn take_header(&mut self, context: &mut Context<'_>, len: usize) -> Option<usize> {
        let (header, client) = match proxy::parse(&context.buffers.input[..len]) {
            Header::Whole(header, client) => (header, client),
            Header::Partial if self.can_wait(context, len) => return None,
            Header::Partial | Header::Malformed => {
                context.stats.clients.proxy_malformed += 1;
                let why = "closed, it did not begin with a PROXY header, or with a malformed one";
                context.turn_away(&self.peer, why);
                self.close();
                return None;
            }
        };
        if !self.is_admitted(client, context) {
            self.give_up();
            return None;
        }
        context.buffers.input.copy_within(header..len, 0);
        let expects = context.policy.admission.expects_of_client();
        self.channel = Channel::new(expects, self.opening_since(context));
        (len > header).then_some(len - header)
    }

    /// Holds the first bytes until more arrive. Returns `false` if no more can.
    fn can_wait(&mut self, context: &Context<'_>, len: usize) -> bool {
        self.channel.hold(&context.buffers.input[..len], context.now_ms)
    }

    /// Takes over the address in the PROXY header. Returns whether a client from there is admitted.
    fn is_admitted(&mut self, client: Client, context: &mut Context<'_>) -> bool {
        let client = match client {
            Client::At(address) => {
                let address = canonical(address);
                self.peer = address.to_compact_string();
                Ok(address)
            }
            // The proxy's own address counts.
            Client::Unknown => self.peer.parse(),
        };
        client.is_ok_and(|client| context.admits(client))
    }

    fn begin_tls(&mut self, context: &mut Context<'_>, len: usize) {
        let Some(tls) = &context.policy.admission.tls else {
            return;
        };
        let since_ms = self.opening_since(context);
        match tls.accept(context.buffers.input[..len].to_vec(), since_ms) {
            Ok(session) => self.channel = Channel::tls(session),
            Err(error) => {
                context.stats.clients.handshakes_failed += 1;
                context.turn_away(&self.peer, error);
                self.give_up();
            }
        }
    }

    /// Closes a connection whose first bytes are not what is required.
    fn turn_away(&mut self, first: First, context: &mut Context<'_>) {
        let counts = &mut context.stats.clients;
        let (count, reply, why) = match first {
            First::Http => (&mut counts.http, Reply::Http, "it sent an HTTP request"),
            First::Proxy => (
                &mut counts.proxy_untrusted,
                Reply::Proxy,
                "it sent a PROXY header, and is not in -proxy-from",
            ),
            First::Tls => {
                self.channel = Channel::alert(NO_TLS_ALERT);
                let why = "it speaks TLS, and this server does not (-tls-cert)";
                (&mut counts.tls_mismatched, Reply::TlsRequired, why)
            }
            First::Messages | First::Unclear => {
                let why = "it does not speak TLS";
                (&mut counts.tls_mismatched, Reply::TlsRequired, why)
            }
        };
        *count += 1;
        context.turn_away(&self.peer, format_args!("closed, {why}"));
        if first != First::Tls {
            self.channel.finish_opening();
            if context.policy.sends_replies {
                self.owe_unasked(reply);
            }
        }
        self.close();
    }

    /// Closes a connection after a TLS error, or because its certificate is missing or not accepted. TLS
    /// has already sent the alert.
    pub(super) fn break_off(&mut self, error: &io::Error, context: &mut Context<'_>) {
        context.turn_away(&self.peer, format_args!("closed, {error}"));
        self.ready -= Ready::READABLE;
        self.close();
    }

    /// Counts a handshake that succeeded or failed in the last read.
    pub(super) fn count_handshake(&self, stats: &mut Stats) {
        let counts = &mut stats.clients;
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
        matches!(self.channel.awaits(), Some((Expected::Tls | Expected::Proxy, _)))
    }

    /// When the opening began, in the loop's milliseconds. PROXY header and handshake share one deadline,
    /// so the second does not restart it.
    fn opening_since(&self, context: &Context<'_>) -> u32 {
        self.channel.awaits().map_or(context.now_ms, |(_, ms)| ms)
    }

    /// What is pending before messages, and since when in the loop's milliseconds.
    pub fn awaits(&self) -> Option<(Expected, u32)> {
        self.channel.awaits()
    }

    /// When ambiguous first bytes began to be held, once for each time that they begin; in the loop's
    /// milliseconds.
    pub fn take_hold_start(&mut self) -> Option<u32> {
        self.channel.take_hold_start()
    }

    /// Ambiguous first bytes were held long enough, so they are messages. If there is more input by now,
    /// that is read first. Returns whether they were taken as messages.
    pub fn end_hold(&mut self, now_ms: u32) -> bool {
        if !self.is_unclear() || !self.life.takes_messages() {
            return false;
        }
        if self.ready.contains(Ready::READABLE) {
            self.channel.restart_hold(now_ms);
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
