//! Addresses of nodes: `nats://user:password@host:4222`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;

/// The default port of a node.
pub const DEFAULT_PORT: u16 = 4222;

/// The address of one node.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether TLS is required, whatever the node's INFO says.
    pub tls: bool,
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The login, if any.
    pub login: Option<Login>,
    /// The name in its certificate, if it is not the host.
    tls_name: Option<String>,
}

/// A login: the part before the `@`.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user name and a password.
    User(String, String),
    /// A token.
    Token(String),
}

impl Address {
    /// A node without a login. TLS is used only if the node requires it.
    pub fn new(host: &str, port: u16) -> Self {
        Self { tls: false, host: host.to_owned(), port, login: None, tls_name: None }
    }

    /// The expected name in the node's certificate.
    pub fn tls_name(&self) -> &str {
        self.tls_name.as_deref().unwrap_or(&self.host)
    }

    /// The address of another node of the cluster, from `HOST:PORT` in an INFO. TLS and login are the same.
    /// For an IP address the configured host name is expected in the certificate, since few certificates
    /// contain addresses.
    pub fn sibling(&self, place: &str) -> Option<Self> {
        let (host, port) = host_and_port(place).ok()?;
        let (tls, login) = (self.tls, self.login.clone());
        let is_address = host.parse::<IpAddr>().is_ok();
        let tls_name = is_address.then(|| self.tls_name().to_owned());
        Some(Self { tls, host, port, login, tls_name })
    }
}

/// Omits the login.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = self.login.as_ref().map_or("", |_| " with a login");
        write!(f, "{self}{login}")
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl FromStr for Address {
    type Err = String;

    /// The scheme is optional.
    fn from_str(text: &str) -> Result<Self, String> {
        let unexpected = |why: &str| {
            // A password must not be printed.
            let shown = text.rsplit_once('@').map_or(Cow::from(text), |(_, place)| {
                let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
                Cow::from(format!("{scheme}://…@{place}"))
            });
            format!("expected nodes such as nats://host:{DEFAULT_PORT}, got '{shown}'{why}")
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(unexpected(": nats:// and tls:// are known")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, place)) => {
                let login =
                    Login::parse(login).ok_or_else(|| unexpected(": its login is no text"))?;
                (Some(login), place)
            }
        };
        let (host, port) = host_and_port(place).map_err(unexpected)?;
        Ok(Self { tls, host, port, login, tls_name: None })
    }
}

impl Login {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once(':') {
            Some((user, password)) => {
                Self::User(percent_decoded(user)?, percent_decoded(password)?)
            }
            None => Self::Token(percent_decoded(text)?),
        })
    }
}

/// Decodes each `%XX`. A `%` without two hexadecimal digits stays. `None` if the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        if let Some(byte) = digits.and_then(|digits| HEXLOWER_PERMISSIVE.decode(digits).ok()) {
            bytes.extend(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn host_and_port(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(": its ']' is missing")?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" => Some(DEFAULT_PORT),
        port => port.parse().ok().filter(|port| *port > 0),
    };
    let port = port.ok_or(": that is no port")?;
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/?#".contains(c)) {
        return Err(": that is no host");
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_their_login() {
        let user =
            |name: &str, password: &str| Some(Login::User(name.to_owned(), password.to_owned()));
        for (text, shown, login) in [
            ("nats://a:1", "nats://a:1", None),
            ("a", "nats://a:4222", None),
            ("a:77/", "nats://a:77", None),
            ("tls://[::1]:9", "tls://[::1]:9", None),
            ("tls://[::1]", "tls://[::1]:4222", None),
            ("nats://u:p@h", "nats://h:4222", user("u", "p")),
            ("nats://u%40x:p%3a@h:1", "nats://h:1", user("u@x", "p:")),
            ("nats://u:a@b@h:1", "nats://h:1", user("u", "a@b")),
            ("nats://s3cret@h:1", "nats://h:1", Some(Login::Token("s3cret".to_owned()))),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(address.login == login, "{text}");
            assert!(!format!("{address:?}").contains("s3cret"));
        }
    }

    #[test]
    fn logins_are_percent_decoded() {
        for (text, expected) in [
            ("", Some("")),
            ("a b", Some("a b")),
            ("%41%3a%3A", Some("A::")),
            ("%C3%a9", Some("\u{e9}")),
            ("100%", Some("100%")),
            ("%4", Some("%4")),
            ("%+4%zz", Some("%+4%zz")),
            ("%25%34%31", Some("%41")),
            ("%ff", None),
        ] {
            assert_eq!(percent_decoded(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_error_does_not_show_the_password() {
        for bad in
            ["", "http://a", "nats://", "a:0", "a:x", "a b", "nats://[::1", "x:y@h:99999", "a/b"]
        {
            let error = bad.parse::<Address>().unwrap_err();
            assert!(error.starts_with("expected nodes such as nats://host:4222, got '"), "{error}");
            assert!(!error.contains("x:y"), "{error}");
        }
    }

    #[test]
    fn a_sibling_has_the_same_login_and_tls_name() {
        let address: Address = "tls://u:p@a:1".parse().unwrap();
        let sibling = address.sibling("10.0.0.2:4223").unwrap();
        assert_eq!(sibling.to_string(), "tls://10.0.0.2:4223");
        assert!(sibling.login == address.login);
        assert_eq!((address.tls_name(), sibling.tls_name()), ("a", "a"));
        assert_eq!(sibling.sibling("[::1]:1").unwrap().tls_name(), "a");
        assert_eq!(address.sibling("b:1").unwrap().tls_name(), "b");
        assert!(address.sibling("").is_none());
    }
}
