//! Certificate and key files: reading, checks and warnings.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::pem::{certificates, day, private_key};
use rustls::crypto::ring;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, RootCertStore, ServerConfig};
use webpki::{EndEntityCert, KeyUsage};

use super::limits::metered;
use super::verifier::Verifier;

/// A certificate that expires within this time causes a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The maximum total size of the CA names that are sent to clients. They help a client to choose a
/// certificate, but are part of every handshake, and more than 64 KiB cannot be sent.
const MAX_HINT_BYTES: usize = 16 << 10;

/// The largest public key whose private key signs within 3 ms. An RSA key of 3072 bits has 422 bytes, one of
/// 4096 bits has 550.
const MAX_QUICK_KEY_BYTES: usize = 450;

/// The paths of certificates and keys, all in PEM.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// The server's certificate, and the intermediate ones up to its CA.
    pub(super) cert: PathBuf,
    /// The key of the certificate.
    pub(super) key: PathBuf,
    /// The CAs of client certificates. If set, clients must have a certificate.
    pub(super) client_ca: Option<PathBuf>,
    /// A client's certificate must have one of these names. Empty: any name.
    pub(super) allow_names: Vec<String>,
    /// Whether clients get tickets to resume a session.
    pub(super) tickets: bool,
}

impl Files {
    /// Reads and checks the files. Tickets from before become invalid.
    ///
    /// # Errors
    /// The text names the file and says what is wrong with it.
    pub(super) fn read(&self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.cert)?;
        let key = private_key(&self.key)?;
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            let (cert, key) = (self.cert.display(), self.key.display());
            match error {
                Error::InconsistentKeys(_) => {
                    format!("{key}: it is not the key of the certificate in {cert}")
                }
                Error::InvalidCertificate(error) => format!("{cert}: no certificate: {error}"),
                error => format!("{key}: the key cannot be used: {error}"),
            }
        })?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(self.verifier(&provider)?)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        with_resumption(config, self.tickets)
    }

    fn verifier(
        &self,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let Some(path) = &self.client_ca else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| failed(&format!("no authority's certificate: {error}")))?;
        }
        let subjects_bytes: usize = roots.roots.iter().map(|root| root.subject.len()).sum();
        let provider = Arc::new(metered(provider));
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if subjects_bytes > MAX_HINT_BYTES {
            verifier = verifier.clear_root_hint_subjects();
        }
        let verifier = verifier.build().map_err(|error| failed(&error))?;
        let names = self.allow_names.iter().map(|name| {
            ServerName::try_from(name.clone()).map_err(|_| format!("-allow-names: no name: {name}"))
        });
        let names = names.collect::<Result<_, _>>()?;
        Ok(Arc::new(Verifier::new(verifier, names)))
    }

    /// Warnings about usable files: a certificate that has expired or will soon, or whose key is slow, and a
    /// key that others can read.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let (cert, key) = (self.cert.display(), self.key.display());
        if let Ok(chain) = certificates(&self.cert)
            && let Ok(certificate) = EndEntityCert::try_from(&chain[0])
        {
            if let Some(validity) = validity_warning(&certificate) {
                warnings.push(format!("{cert}: the certificate {validity}"));
            }
            if certificate.subject_public_key_info().len() > MAX_QUICK_KEY_BYTES {
                warnings.push(format!(
                    "{cert}: with an RSA key of more than 3072 bits every handshake delays all clients \
                     by several milliseconds: use an ECDSA key (P-256)"
                ));
            }
        }
        let mode = fs::metadata(&self.key).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o007 != 0 {
            warnings.push(format!("{key}: others can read the key: chmod o-rwx {key}"));
        }
        warnings
    }
}

/// Allows clients to resume a session with a ticket. The server stores no session. The ticket keys change
/// every six hours.
fn with_resumption(mut config: ServerConfig, tickets: bool) -> Result<Arc<ServerConfig>, String> {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if tickets {
        config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        // One per connection: unlike browsers, these clients do not open several at once.
        config.send_tls13_tickets = 1;
    }
    Ok(Arc::new(config))
}

/// What is wrong with the dates of a certificate, now or soon.
fn validity_warning(certificate: &EndEntityCert<'_>) -> Option<String> {
    let now = UnixTime::now();
    let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
    match (date_error(certificate, now), date_error(certificate, soon)) {
        (Some(webpki::Error::CertExpired { not_after, .. }), _) => {
            Some(format!("has expired, on {}", day(not_after)))
        }
        (Some(webpki::Error::CertNotValidYet { not_before, .. }), _) => {
            Some(format!("is not valid before {}", day(not_before)))
        }
        (_, Some(webpki::Error::CertExpired { not_after, .. })) => {
            Some(format!("expires soon, on {}", day(not_after)))
        }
        _ => None,
    }
}

/// Why a certificate is not valid at `time`. The library checks the dates before the CA, so it is called
/// without one, and finds other errors after those of the dates.
fn date_error(certificate: &EndEntityCert<'_>, time: UnixTime) -> Option<webpki::Error> {
    let usage = KeyUsage::server_auth();
    let verified = certificate.verify_for_usage(&[], &[], &[], time, usage, None, None);
    verified.err()
}
