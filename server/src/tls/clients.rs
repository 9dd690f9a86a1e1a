//! Clients by their certificates: their names, whether a name is allowed, and error texts for the
//! diagnostics.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use common::pem::day;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{self, CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use webpki::EndEntityCert;

use super::limits::{self, Name};

/// How many names of a rejected certificate are shown.
const SHOWN_NAMES: usize = 5;

/// How many names the library compares. The first is enough, unless the certificate is malformed.
const LIKELY_NAMES: usize = 4;

/// A verifier that also requires one of these names in the certificate.
#[derive(Debug)]
pub(super) struct ByName {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ByName {
    pub(super) fn new(
        verifier: Arc<dyn ClientCertVerifier>,
        names: Vec<ServerName<'static>>,
    ) -> Self {
        Self { verifier, names }
    }

    /// Whether one of the names is in the certificate. There may be many of both, and the library compares
    /// one by one, so it is asked only about names that were found in the certificate.
    fn allows(&self, der: &[u8], cert: &EndEntityCert<'_>) -> bool {
        let present: HashSet<_> = limits::names(der).into_iter().flatten().collect();
        let seems_present = |name: &&ServerName<'_>| match name {
            ServerName::DnsName(name) => {
                let name = name.as_ref().to_ascii_lowercase();
                let parent = name
                    .split_once('.')
                    .map(|(_, parent)| format!("*.{parent}"));
                let names = [Some(name), parent].into_iter().flatten();
                names
                    .map(|name| Name::Dns(name.into_bytes()))
                    .any(|name| present.contains(&name))
            }
            ServerName::IpAddress(pki_types::IpAddr::V4(ip)) => {
                present.contains(&Name::Ip(ip.as_ref().to_vec()))
            }
            ServerName::IpAddress(pki_types::IpAddr::V6(ip)) => {
                present.contains(&Name::Ip(ip.as_ref().to_vec()))
            }
            _ => false,
        };
        let mut likely = self.names.iter().filter(seems_present).take(LIKELY_NAMES);
        likely.any(|name| cert.verify_is_valid_for_subject_name(name).is_ok())
    }
}

impl ClientCertVerifier for ByName {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now)?;
        let cert = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.allows(end_entity, &cert) {
            return Ok(verified);
        }
        let mut names = names(&cert, end_entity);
        let mut shown: Vec<_> = names.by_ref().take(SHOWN_NAMES).collect();
        let more = names.count();
        if more > 0 {
            shown.push(format!("{more} more names").into());
        }
        let not_allowed = NotAllowed(shown.join(", "));
        let error = OtherError(Arc::new(not_allowed));
        Err(Error::InvalidCertificate(CertificateError::Other(error)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// The certificate is valid, but `-allow-names` has none of its names, which are listed here.
#[derive(Debug)]
struct NotAllowed(String);

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = match self.0.as_str() {
            "" => "no name",
            names => names,
        };
        write!(
            f,
            "its certificate is for {names}, which is not in -allow-names"
        )
    }
}

impl std::error::Error for NotAllowed {}

/// The name of a client from its certificate: the first DNS name of its alternative names, or else the first
/// URI, or else the first IP address.
pub(super) fn name(certificates: Option<&[CertificateDer<'_>]>) -> Option<Box<str>> {
    let der = certificates?.first()?;
    let cert = EndEntityCert::try_from(der).ok()?;
    names(&cert, der).next().map(Box::from)
}

fn names<'a>(cert: &'a EndEntityCert<'a>, der: &'a [u8]) -> impl Iterator<Item = Cow<'a, str>> {
    let texts = cert.valid_dns_names().chain(cert.valid_uri_names());
    let addresses = addresses(cert, der).map(|ip| Cow::Owned(ip.to_string()));
    texts.map(Cow::Borrowed).chain(addresses)
}

/// The IP addresses among a certificate's names. The library cannot list them, but confirms each.
fn addresses<'a>(
    cert: &'a EndEntityCert<'a>,
    der: &'a [u8],
) -> impl Iterator<Item = IpAddr> + use<'a> {
    let names = limits::names(der).into_iter().flatten();
    let addresses = names.filter_map(|name| match name {
        Name::Ip(bytes) => match *bytes.as_slice() {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
            ref bytes => bytes.first_chunk::<16>().copied().map(IpAddr::from),
        },
        Name::Dns(_) => None,
    });
    addresses.filter(|ip| {
        let name = ServerName::IpAddress((*ip).into());
        cert.verify_is_valid_for_subject_name(&name).is_ok()
    })
}

/// The error of a client's session, as text for the server's diagnostics.
pub(super) fn describe(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => {
            "it has no certificate, and -tls-client-ca demands one".to_owned()
        }
        Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is of an authority that is not in -tls-client-ca".to_owned()
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("its certificate has expired, on {}", day(*not_after))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                format!("its certificate is not valid before {}", day(*not_before))
            }
            CertificateError::Other(error) => error.to_string(),
            error => format!("its certificate is refused: {error}"),
        },
        Error::AlertReceived(alert) => format!("it broke the handshake off: {alert:?}"),
        error => error.to_string(),
    }
}
