//! Errors of client certificates that this server finds, as errors of rustls.

use std::error::Error as StdError;

use rustls::{CertificateError, Error, OtherError};

/// A certificate that is rejected for this reason, a text for the diagnostics.
pub(super) fn rejection(why: String) -> Error {
    let why: Box<dyn StdError + Send + Sync> = why.into();
    Error::InvalidCertificate(CertificateError::Other(OtherError(why.into())))
}

/// A certificate that cannot be parsed.
pub(super) fn malformed() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}
