//! TLS configuration: the trusted CAs, and this client's certificate.

use std::path::Path;
use std::sync::Arc;

use common::pem::{certificates, private_key};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore};

use super::session::Session;
use crate::options::Options;

/// A factory of sessions with the same configuration.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: Option<String>,
}

impl Connector {
    /// The connector for these options. `None` if they do not ask for TLS.
    ///
    /// # Errors
    ///
    /// The text names the file and what is wrong with it.
    pub fn open(options: &Options) -> Result<Option<Self>, String> {
        if !options.is_on() {
            return Ok(None);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(options.ca.as_deref())?);
        let config = match options.cert.as_deref().zip(options.key.as_deref()) {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let with = config.with_client_auth_cert(certificates(cert)?, private_key(key)?);
                with.map_err(|error| unusable(&error, cert, key))?
            }
        };
        let connector = Self { config: Arc::new(config), name: options.name.clone() };
        if let Some(name) = &connector.name {
            connector.begin(name).map_err(|why| format!("-tls-name: {why}"))?;
        }
        Ok(Some(connector))
    }

    /// Makes a session with the server at `host`, a name or an address.
    ///
    /// # Errors
    ///
    /// `host` is neither a name nor an address.
    pub fn begin(&self, host: &str) -> Result<Session, String> {
        let name = self.name.as_deref().unwrap_or(host);
        // Certificates do not contain the zone of an IPv6 address.
        let name = name.split_once('%').map_or(name, |(address, _)| address);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("'{name}' is no name that a certificate can have"))?;
        let tls = ClientConnection::new(Arc::clone(&self.config), name);
        Ok(Session::new(tls.map_err(|error| error.to_string())?))
    }
}

/// The CAs in the file or, without one, those of the system.
fn roots(path: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = path else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(" ({error})"));
            let why = why.unwrap_or_default();
            return Err(format!(
                "the system has no authorities to trust{why}: -tls-ca names a file with some"
            ));
        }
        return Ok(roots);
    };
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| {
            let path = path.display();
            format!("{path}: no authority's certificate: {error}")
        })?;
    }
    Ok(roots)
}

fn unusable(error: &Error, cert: &Path, key: &Path) -> String {
    let (cert, key) = (cert.display(), key.display());
    match error {
        Error::InconsistentKeys(_) => {
            format!("{key}: it is not the key of the certificate in {cert}")
        }
        Error::InvalidCertificate(error) => format!("{cert}: no certificate: {error}"),
        error => format!("{key}: the key cannot be used: {error}"),
    }
}
