//! Limits on client certificates. A chain over a limit is rejected before it is verified, so that no
//! handshake blocks the event loop for long.

mod der;
mod meter;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use webpki::EndEntityCert;

pub(super) use der::{Name, names};
pub(super) use meter::metered;

/// How many intermediate certificates a chain may have.
const MAX_INTERMEDIATES: usize = 6;

/// How many of these may have the same subject. Two CAs may have signed the same subject. With more,
/// the number of possible paths grows too fast.
const MAX_SAME_SUBJECT: usize = 2;

/// How many names, and how many name constraints, all certificates of a chain may have together. Each name is
/// compared with each constraint.
const MAX_NAMES: usize = 64;
const MAX_CONSTRAINTS: usize = 64;

/// The maximum time for the signatures of a chain, and for that of the handshake, in microseconds of
/// [`meter`]'s estimate. They allow two signatures and one of P-384, the slowest kind.
const CHAIN_BUDGET_US: u32 = 2_300;
const SIGNATURE_BUDGET_US: u32 = 1_200;

/// A verifier that passes to another one only what takes bounded time.
#[derive(Debug)]
pub(super) struct Limited {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Limited {
    /// `verifier` must use the algorithms of [`metered`].
    pub(super) fn new(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        Self { verifier }
    }
}

impl ClientCertVerifier for Limited {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check(end_entity, intermediates)?;
        meter::within(CHAIN_BUDGET_US, || {
            self.verifier
                .verify_client_cert(end_entity, intermediates, now)
        })
        .unwrap_or_else(|| Err(Excess::Cost.into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        meter::within(SIGNATURE_BUDGET_US, || {
            self.verifier.verify_tls12_signature(message, cert, dss)
        })
        .unwrap_or_else(|| Err(Excess::Cost.into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        meter::within(SIGNATURE_BUDGET_US, || {
            self.verifier.verify_tls13_signature(message, cert, dss)
        })
        .unwrap_or_else(|| Err(Excess::Cost.into()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Checks everything that needs no verification of a signature.
fn check(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Error> {
    if intermediates.len() > MAX_INTERMEDIATES {
        return Err(Excess::Intermediates(intermediates.len()).into());
    }
    let mut subjects = Vec::with_capacity(intermediates.len());
    for intermediate in intermediates {
        let certificate = EndEntityCert::try_from(intermediate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        subjects.push(certificate.subject().to_vec());
    }
    let same = |subject| subjects.iter().filter(|other| *other == subject).count();
    if subjects.iter().map(same).max() > Some(MAX_SAME_SUBJECT) {
        return Err(Excess::SameSubject.into());
    }
    let (mut names, mut constraints) = (0, 0);
    for certificate in intermediates.iter().chain([end_entity]) {
        let size = der::size(certificate)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        names += size.names;
        constraints += size.constraints;
    }
    if names > MAX_NAMES {
        return Err(Excess::Names(names).into());
    }
    if constraints > MAX_CONSTRAINTS {
        return Err(Excess::Constraints(constraints).into());
    }
    Ok(())
}

/// The limit that a client's certificates exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excess {
    Intermediates(usize),
    SameSubject,
    Names(usize),
    Constraints(usize),
    Cost,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intermediates(n) => write!(
                f,
                "it sent {n} intermediate certificates, the limit is {MAX_INTERMEDIATES}"
            ),
            Self::SameSubject => write!(
                f,
                "more than {MAX_SAME_SUBJECT} of its intermediate certificates have the same subject"
            ),
            Self::Names(n) => write!(
                f,
                "its certificates have {n} names, the limit is {MAX_NAMES}"
            ),
            Self::Constraints(n) => write!(
                f,
                "its certificates have {n} name constraints, the limit is {MAX_CONSTRAINTS}"
            ),
            Self::Cost => f.write_str(
                "the signatures of its certificates take too long to verify: \
                 use shorter keys or fewer intermediate certificates",
            ),
        }
    }
}

impl std::error::Error for Excess {}

impl From<Excess> for Error {
    fn from(excess: Excess) -> Self {
        let error = OtherError(Arc::new(excess));
        Self::InvalidCertificate(CertificateError::Other(error))
    }
}
