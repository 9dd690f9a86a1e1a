//! Clients by their certificates: their names, whether these are allowed, and, in people's words, what
//! went wrong.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use common::pem::day;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use webpki::EndEntityCert;

/// Lets in only those whose certificate has one of some names, beside all that another verifier asks.
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
        let is_valid_for = |name| cert.verify_is_valid_for_subject_name(name).is_ok();
        if self.names.iter().any(is_valid_for) {
            return Ok(verified);
        }
        let not_allowed = NotAllowed(names(&cert, end_entity).collect::<Vec<_>>().join(", "));
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

/// The certificate is good, but none of its names is in `-allow-names`; these are its names.
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

/// The name of a client by its certificate: the first of its alternative names that is a DNS name, or
/// else the first URI, or else the first IP address.
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

/// The IP addresses among a certificate's names. The library compares names and does not list addresses. So it is asked
/// about each place of the certificate that looks like one: tag `[7]`, then 4 or 16 bytes (RFC 5280, section 4.2.1.6).
fn addresses<'a>(
    cert: &'a EndEntityCert<'a>,
    der: &'a [u8],
) -> impl Iterator<Item = IpAddr> + use<'a> {
    const TAG: u8 = 0x87;
    /// Each question is a walk over all names.
    const MAX_QUESTIONS: usize = 64;
    let places = memchr::memchr_iter(TAG, der).filter_map(|at| match der[at + 1..] {
        [4, a, b, c, d, ..] => Some(IpAddr::from([a, b, c, d])),
        [16, ref rest @ ..] => rest.first_chunk::<16>().copied().map(IpAddr::from),
        _ => None,
    });
    places.take(MAX_QUESTIONS).filter(|ip| {
        let name = ServerName::IpAddress((*ip).into());
        cert.verify_is_valid_for_subject_name(&name).is_ok()
    })
}

/// What is wrong with a client, for whoever reads the server's diagnostics.
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
