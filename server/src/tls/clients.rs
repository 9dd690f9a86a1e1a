//! Clients by their certificates: their names, and error texts for the diagnostics.

use std::borrow::Cow;
use std::net::IpAddr;

use common::pem::day;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error};
use webpki::EndEntityCert;

use super::limits::{self, Name};

/// The name of a client from its certificate: the first DNS name of its alternative names, or else the first
/// URI, or else the first IP address.
pub(super) fn name(certificates: Option<&[CertificateDer<'_>]>) -> Option<Box<str>> {
    let der = certificates?.first()?;
    let cert = EndEntityCert::try_from(der).ok()?;
    names(&cert, der).next().map(Box::from)
}

/// All names of a certificate, as text.
pub(super) fn names<'a>(
    cert: &'a EndEntityCert<'a>,
    der: &'a [u8],
) -> impl Iterator<Item = Cow<'a, str>> {
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
