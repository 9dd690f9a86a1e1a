//! The handshake: the node sends INFO, TLS may begin, the client sends CONNECT and PING, and the node answers
//! or closes.

use std::path::Path;

use serde::Serialize;

use crate::address::{Address, Login};
use crate::credentials::Credentials;
use crate::info::Info;
use crate::protocol::{self, Op};

/// The progress of a handshake.
#[derive(Debug)]
pub enum Progress {
    /// The handshake waits for the node.
    Waits,
    /// Begin TLS on the connection, then call [`Handshake::secured`].
    StartTls,
    /// The connection is usable.
    Done(Info),
}

/// One handshake.
#[derive(Debug)]
pub struct Handshake<'a> {
    address: &'a Address,
    credentials: Option<&'a Path>,
    /// The client name in the node's connection list.
    name: &'a str,
    state: &'a mut State,
}

/// The state of a handshake between two calls.
#[derive(Debug, Default)]
pub enum State {
    /// The node has sent nothing yet.
    #[default]
    Silent,
    /// The node has sent INFO, and TLS must begin.
    Greeted(Info),
    /// The client has sent CONNECT.
    Introduced(Info),
    /// The handshake has ended.
    Over,
}

/// `CONNECT`. The fields have the names of the protocol.
#[derive(Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "as the protocol has it")]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'static str,
    version: &'static str,
    /// 1: the node may send INFO again when something changes.
    protocol: u8,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl<'a> Handshake<'a> {
    /// Continues a handshake from this state.
    pub fn of(
        address: &'a Address,
        credentials: Option<&'a Path>,
        name: &'a str,
        state: &'a mut State,
    ) -> Self {
        Self { address, credentials, name, state }
    }

    /// Handles an operation from the node. Appends the client's answer to `out`.
    ///
    /// # Errors
    /// Why the node rejects the client or is not supported, as readable text.
    pub fn take(&mut self, op: &Op<'_>, out: &mut Vec<u8>) -> Result<Progress, String> {
        match (op, &mut *self.state) {
            (Op::Info(json), State::Silent) => {
                let info = Info::parse(json)?;
                if !info.headers {
                    return Err("it is too old: it knows no headers".to_owned());
                }
                if self.address.tls || info.tls_required {
                    *self.state = State::Greeted(info);
                    return Ok(Progress::StartTls);
                }
                self.introduce(info, false, out)?;
                Ok(Progress::Waits)
            }
            (Op::Pong, State::Introduced(info)) => {
                let info = std::mem::take(info);
                *self.state = State::Over;
                Ok(Progress::Done(info))
            }
            // The INFO after CONNECT has more fields than the first one.
            (Op::Info(json), State::Introduced(info)) => {
                *info = Info::parse(json)?;
                Ok(Progress::Waits)
            }
            (Op::Err(why), _) => Err(refusal(why)),
            (Op::Ping, State::Introduced(_)) => {
                protocol::pong(out);
                Ok(Progress::Waits)
            }
            (Op::Ok, _) => Ok(Progress::Waits),
            _ => Err("it does not speak as NATS servers do at first".to_owned()),
        }
    }

    /// Continues after TLS has begun.
    pub fn secured(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        match std::mem::take(self.state) {
            State::Greeted(info) => self.introduce(info, true, out),
            state => {
                debug_assert!(false, "TLS began uncalled for: {state:?}");
                Err("TLS began uncalled for".to_owned())
            }
        }
    }

    fn introduce(&mut self, info: Info, tls: bool, out: &mut Vec<u8>) -> Result<(), String> {
        let credentials = self.credentials.map(Credentials::read).transpose()?;
        let (user, pass, auth_token) = match &self.address.login {
            Some(Login::User(user, password)) => (Some(&**user), Some(&**password), None),
            Some(Login::Token(token)) => (None, None, Some(&**token)),
            None => (None, None, None),
        };
        let nonce = info.nonce.as_deref().unwrap_or_default();
        let connect = Connect {
            verbose: false,
            pedantic: false,
            tls_required: tls,
            name: self.name,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            headers: true,
            no_responders: true,
            user,
            pass,
            auth_token,
            jwt: credentials.as_ref().map(Credentials::jwt),
            sig: credentials.as_ref().map(|it| it.sign(nonce)),
        };
        let json = serde_json::to_vec(&connect).map_err(|error| error.to_string())?;
        out.extend_from_slice(b"CONNECT ");
        out.extend_from_slice(&json);
        out.extend_from_slice(protocol::END);
        protocol::ping(out);
        *self.state = State::Introduced(info);
        Ok(())
    }
}

/// The node's error, and how to correct it.
fn refusal(why: &str) -> String {
    let is_about_login = why.to_ascii_lowercase().contains("authorization violation")
        || why.to_ascii_lowercase().contains("authentication");
    if is_about_login {
        format!(
            "it refuses the login ({why}): a user or token belongs before the '@' of its URL, a .creds file to -nats-creds"
        )
    } else {
        format!("it refuses us: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(url: &str, info: &str) -> (Progress, String) {
        let address = url.parse().unwrap();
        let (mut state, mut out) = (State::default(), Vec::new());
        let mut handshake = Handshake::of(&address, None, "me", &mut state);
        let mut progress = handshake.take(&Op::Info(info.as_bytes()), &mut out).unwrap();
        if matches!(progress, Progress::StartTls) {
            assert!(out.is_empty(), "nothing is sent unencrypted");
            handshake.secured(&mut out).unwrap();
        } else {
            progress = handshake.take(&Op::Pong, &mut out).unwrap();
        }
        (progress, String::from_utf8(out).unwrap())
    }

    #[test]
    fn connect_has_the_login() {
        let info = r#"{"headers":true,"max_payload":7}"#;
        for (url, expected) in [
            ("nats://h", r#""no_responders":true}"#),
            ("nats://u:p@h", r#""user":"u","pass":"p"}"#),
            ("nats://t@h", r#""auth_token":"t"}"#),
        ] {
            let (progress, sent) = connect(url, info);
            assert!(matches!(progress, Progress::Done(Info { max_payload: 7, .. })));
            assert!(sent.starts_with(r#"CONNECT {"verbose":false,"#), "{sent}");
            assert!(sent.ends_with(&format!("{expected}\r\nPING\r\n")), "{sent}");
        }
    }

    #[test]
    fn tls_begins_if_either_side_wants_it() {
        for (url, info) in [
            ("tls://u:p@h", r#"{"headers":true}"#),
            ("nats://u:p@h", r#"{"headers":true,"tls_required":true}"#),
        ] {
            let (progress, sent) = connect(url, info);
            assert!(matches!(progress, Progress::StartTls));
            assert!(sent.contains(r#""tls_required":true"#), "{sent}");
        }
    }

    #[test]
    fn a_node_that_rejects_the_client_or_is_no_nats_server_is_an_error() {
        let address = "nats://h".parse().unwrap();
        for (op, expected) in [
            (Op::Info(b"{}"), "it is too old: it knows no headers"),
            (Op::Info(b"x"), "its INFO is not understood"),
            (Op::Pong, "it does not speak as NATS servers do at first"),
            (Op::Err("Authorization Violation"), "it refuses the login (Authorization Violation)"),
            (Op::Err("maximum connections exceeded"), "it refuses us: maximum connections"),
        ] {
            let (mut state, mut out) = (State::default(), Vec::new());
            let refused = Handshake::of(&address, None, "me", &mut state).take(&op, &mut out);
            let why = refused.unwrap_err();
            assert!(why.starts_with(expected), "{why}");
        }
    }

    #[test]
    fn credentials_that_cannot_be_read_are_an_error() {
        let address = "nats://h".parse().unwrap();
        let (mut state, mut out) = (State::default(), Vec::new());
        let path = Some(Path::new("/nowhere/user.creds"));
        let mut handshake = Handshake::of(&address, path, "me", &mut state);
        let refused = handshake.take(&Op::Info(br#"{"headers":true,"nonce":"x"}"#), &mut out);
        assert!(refused.is_err() && out.is_empty());
    }
}
