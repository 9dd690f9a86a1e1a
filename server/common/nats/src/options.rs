//! NATS options, shared by all programs.

use std::marker::PhantomData;
use std::path::PathBuf;

use common::args::{Opt, UsageError};
use tls::Connector;

use crate::address::{Address, DEFAULT_PORT};

/// The environment variable with the default addresses of the nodes.
pub const NATS_URL: &str = "NATS_URL";

/// The options as parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Nodes of one cluster.
    pub urls: Vec<Address>,
    /// The credentials file.
    pub credentials: Option<PathBuf>,
    /// CA file, client certificate and key.
    pub tls: tls::Options,
}

impl Options {
    /// The addresses of the nodes: the configured ones, or else those of the environment, or else the node on
    /// this host.
    ///
    /// # Errors
    /// The environment variable has an invalid address.
    pub fn nodes(&self) -> Result<Vec<Address>, String> {
        if !self.urls.is_empty() {
            return Ok(self.urls.clone());
        }
        match std::env::var(NATS_URL) {
            Ok(urls) => parse(&urls).map_err(|why| format!("{NATS_URL}: {why}")),
            Err(_) => Ok(vec![Address::new("127.0.0.1", DEFAULT_PORT)]),
        }
    }

    /// The TLS connector. CAs are loaded only by this call.
    ///
    /// # Errors
    /// The text names the file and says what is wrong with it.
    pub fn connector(&self) -> Result<Connector, String> {
        let options = tls::Options { wanted: true, ..self.tls.clone() };
        let connector = Connector::open(&options)?;
        connector.ok_or_else(|| "TLS is not asked for".to_owned())
    }

    /// Checks options against each other.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.tls.cert.is_some() == self.tls.key.is_some() {
            return Ok(());
        }
        Err(UsageError::new("-nats-cert and -nats-key need each other"))
    }

    /// Whether any option was given.
    pub fn are_given(&self) -> bool {
        *self != Self::default()
    }
}

fn parse(urls: &str) -> Result<Vec<Address>, String> {
    urls.split(',').map(|url| url.trim().parse()).collect()
}

/// The NATS options for a program whose options, `O`, contain these.
#[derive(Debug)]
pub struct SharedOptions<O>(PhantomData<O>);

impl<O: AsMut<Options> + 'static> SharedOptions<O> {
    /// `-nats URLS`
    pub const NATS: Opt<O> = Opt::new(
        &["nats"],
        "URLS",
        "nodes of one NATS cluster, separated by commas: nats://HOST:PORT or tls://…, with \
         USER:PASSWORD@ or TOKEN@ before the host (default: $NATS_URL, or nats://127.0.0.1:4222)",
        |o, v| {
            let urls = parse(&v.text()?).map_err(|why| v.wrong(&why))?;
            o.as_mut().urls = urls;
            Ok(())
        },
    );
    /// `-nats-creds FILE`
    pub const CREDENTIALS: Opt<O> = Opt::new(
        &["nats-creds"],
        "FILE",
        "NATS credentials file, as nsc writes it (default: none)",
        |o, v| v.path().map(|it| o.as_mut().credentials = Some(it)),
    );
    /// `-nats-ca FILE`
    pub const CA: Opt<O> = Opt::new(
        &["nats-ca"],
        "FILE",
        "CA certificates for tls:// nodes, PEM (default: the system's)",
        |o, v| v.path().map(|it| o.as_mut().tls.ca = Some(it)),
    );
    /// `-nats-cert FILE`
    pub const CERT: Opt<O> = Opt::new(
        &["nats-cert"],
        "FILE",
        "client certificate for nodes that require one, PEM (default: none)",
        |o, v| v.path().map(|it| o.as_mut().tls.cert = Some(it)),
    );
    /// `-nats-key FILE`
    pub const KEY: Opt<O> =
        Opt::new(&["nats-key"], "FILE", "private key of -nats-cert, PEM", |o, v| {
            v.path().map(|it| o.as_mut().tls.key = Some(it))
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_nodes() {
        let nodes = parse("nats://a:1, tls://b").unwrap();
        let shown: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["nats://a:1", "tls://b:4222"]);
        assert!(parse("a,,b").is_err());
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let mut options = Options::default();
        assert!(options.check().is_ok() && !options.are_given());
        options.tls.cert = Some("c".into());
        assert!(options.check().is_err());
        options.tls.key = Some("k".into());
        assert!(options.check().is_ok() && options.are_given());
    }
}
