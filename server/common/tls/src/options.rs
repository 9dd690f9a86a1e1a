//! Command-line options of TLS, shared by all clients.

use std::marker::PhantomData;
use std::path::PathBuf;

use common::args::{Opt, UsageError};

/// The values of the options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-tls`.
    pub wanted: bool,
    /// CAs to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// This client's certificate.
    pub cert: Option<PathBuf>,
    /// The key of `cert`.
    pub key: Option<PathBuf>,
    /// The expected name in the server's certificate, if it is not the host.
    pub name: Option<String>,
}

impl Options {
    /// Whether to use TLS.
    pub fn is_on(&self) -> bool {
        self.wanted || self.ca.is_some()
    }

    /// Checks how options combine.
    ///
    /// # Errors
    ///
    /// An option needs another that is missing.
    pub fn check(&self) -> Result<(), UsageError> {
        let rest = [
            ("-tls-cert", self.cert.is_some()),
            ("-tls-key", self.key.is_some()),
            ("-tls-name", self.name.is_some()),
        ];
        if let Some((option, _)) = rest.iter().find(|(_, given)| *given && !self.is_on()) {
            let why = format!("{option} says something about TLS: -tls or -tls-ca asks for it");
            return Err(UsageError::new(why));
        }
        if self.cert.is_some() != self.key.is_some() {
            let why = "-tls-cert and -tls-key need each other";
            return Err(UsageError::new(why));
        }
        Ok(())
    }

    /// The options as arguments, for a program that connects in the same way.
    pub fn to_args(&self) -> Vec<std::ffi::OsString> {
        let mut args = Vec::new();
        if self.wanted {
            args.push("-tls".into());
        }
        let name = self.name.as_ref().map(PathBuf::from);
        for (option, value) in [
            ("-tls-ca", &self.ca),
            ("-tls-cert", &self.cert),
            ("-tls-key", &self.key),
            ("-tls-name", &name),
        ] {
            if let Some(value) = value {
                args.extend([option.into(), value.into()]);
            }
        }
        args
    }
}

/// The options, for the table of a program whose own options, `O`, contain [`Options`].
#[derive(Debug)]
pub struct SharedOptions<O>(PhantomData<O>);

impl<O: AsMut<Options> + 'static> SharedOptions<O> {
    /// `-tls`
    pub const TLS: Opt<O> =
        Opt::new(&["tls"], "", "use TLS, with the system's CA certificates", |o, _| {
            o.as_mut().wanted = true;
            Ok(())
        });
    /// `-tls-ca FILE`
    pub const CA: Opt<O> = Opt::new(
        &["tls-ca"],
        "FILE",
        "use TLS, with the CA certificates in this file only, PEM (default: the system's)",
        |o, v| v.path().map(|it| o.as_mut().ca = Some(it)),
    );
    /// `-tls-cert FILE`
    pub const CERT: Opt<O> = Opt::new(
        &["tls-cert"],
        "FILE",
        "client certificate for a server that requires one, PEM (default: none)",
        |o, v| v.path().map(|it| o.as_mut().cert = Some(it)),
    );
    /// `-tls-key FILE`
    pub const KEY: Opt<O> =
        Opt::new(&["tls-key"], "FILE", "private key of -tls-cert, PEM", |o, v| {
            v.path().map(|it| o.as_mut().key = Some(it))
        });
    /// `-tls-name NAME`
    pub const NAME: Opt<O> = Opt::new(
        &["tls-name"],
        "NAME",
        "expected name in the server's certificate (default: the host name)",
        |o, v| v.text().map(|it| o.as_mut().name = Some(it)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_can_be_typed_again() {
        let options = Options {
            wanted: true,
            ca: Some("a b".into()),
            name: Some("x.example".to_owned()),
            ..Options::default()
        };
        assert_eq!(options.to_args(), ["-tls", "-tls-ca", "a b", "-tls-name", "x.example"]);
        assert!(Options::default().to_args().is_empty());
    }

    #[test]
    fn what_says_nothing_alone_is_refused() {
        let name = Options { name: Some("x".to_owned()), ..Options::default() };
        assert!(name.check().unwrap_err().to_string().contains("-tls-name"));
        let cert = Options { wanted: true, cert: Some("x".into()), ..Options::default() };
        assert!(cert.check().is_err());
        assert!(Options::default().check().is_ok());
    }
}
