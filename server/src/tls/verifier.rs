//! The verifier of client certificates: limits, a CA, and the names of `-allow-names`.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{self, CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::EndEntityCert;

use super::clients;
use super::limits::{self, Name};
use super::rejection::{malformed, rejection};

/// How many names of a rejected certificate are shown.
const SHOWN_NAMES: usize = 5;

/// How many names the library compares. The first is enough, unless the certificate is malformed.
const LIKELY_NAMES: usize = 4;

/// A verifier that passes to another one only what takes bounded time, and then checks the names.
#[derive(Debug)]
pub(super) struct Verifier {
    verifier: Arc<dyn ClientCertVerifier>,
    /// A certificate must have one of these. Empty: any name.
    allowed: Vec<ServerName<'static>>,
}

impl Verifier {
    /// `verifier` must use the algorithms of [`limits::metered`].
    pub(super) fn new(
        verifier: Arc<dyn ClientCertVerifier>,
        allowed: Vec<ServerName<'static>>,
    ) -> Self {
        Self { verifier, allowed }
    }

    /// Checks that one of the allowed names is in the certificate.
    fn check_names(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let cert = EndEntityCert::try_from(certificate).map_err(|_| malformed())?;
        if self.allowed.is_empty() || self.allows(certificate, &cert) {
            return Ok(());
        }
        let mut names = clients::names(&cert, certificate);
        let mut shown: Vec<_> = names.by_ref().take(SHOWN_NAMES).collect();
        let more = names.count();
        if more > 0 {
            shown.push(format!("{more} more names").into());
        }
        if shown.is_empty() {
            shown.push("no name".into());
        }
        let names = shown.join(", ");
        Err(rejection(format!("its certificate is for {names}, which is not in -allow-names")))
    }

    /// Whether one of the allowed names is in the certificate. There may be many of both, and the library
    /// compares one by one, so it is asked only about names that were found in the certificate.
    fn allows(&self, der: &[u8], cert: &EndEntityCert<'_>) -> bool {
        let present: HashSet<_> = limits::names(der).into_iter().flatten().collect();
        let seems_present = |name: &&ServerName<'_>| match name {
            ServerName::DnsName(name) => {
                let name = name.as_ref().to_ascii_lowercase();
                let parent = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
                let names = [Some(name), parent].into_iter().flatten();
                names.map(|name| Name::Dns(name.into_bytes())).any(|name| present.contains(&name))
            }
            ServerName::IpAddress(pki_types::IpAddr::V4(ip)) => {
                present.contains(&Name::Ip(ip.as_ref().to_vec()))
            }
            ServerName::IpAddress(pki_types::IpAddr::V6(ip)) => {
                present.contains(&Name::Ip(ip.as_ref().to_vec()))
            }
            _ => false,
        };
        let mut likely = self.allowed.iter().filter(seems_present).take(LIKELY_NAMES);
        likely.any(|name| cert.verify_is_valid_for_subject_name(name).is_ok())
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        limits::check(end_entity, intermediates)?;
        let verified = limits::within_chain_budget(|| {
            self.verifier.verify_client_cert(end_entity, intermediates, now)
        })?;
        self.check_names(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        limits::within_signature_budget(|| self.verifier.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        limits::within_signature_budget(|| self.verifier.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
