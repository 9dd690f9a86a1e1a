//! Limits on client certificates. A chain over a limit is rejected before it is verified, so that no
//! handshake blocks the event loop for long.

mod der;
mod meter;
#[cfg(test)]
mod tests;

use rustls::Error;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::rejection::{malformed, rejection};
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

/// Checks everything about a chain that needs no verification of a signature.
pub(super) fn check(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Error> {
    let n = intermediates.len();
    if n > MAX_INTERMEDIATES {
        return Err(rejection(format!(
            "it sent {n} intermediate certificates, the limit is {MAX_INTERMEDIATES}"
        )));
    }
    let mut subjects = Vec::with_capacity(n);
    for intermediate in intermediates {
        let certificate = EndEntityCert::try_from(intermediate).map_err(|_| malformed())?;
        subjects.push(certificate.subject().to_vec());
    }
    let same = |subject| subjects.iter().filter(|other| *other == subject).count();
    if subjects.iter().map(same).max() > Some(MAX_SAME_SUBJECT) {
        return Err(rejection(format!(
            "more than {MAX_SAME_SUBJECT} of its intermediate certificates have the same subject"
        )));
    }
    let (mut names, mut constraints) = (0, 0);
    for certificate in intermediates.iter().chain([end_entity]) {
        let size = der::size(certificate).ok_or_else(malformed)?;
        names += size.names;
        constraints += size.constraints;
    }
    for (n, what, limit) in
        [(names, "names", MAX_NAMES), (constraints, "name constraints", MAX_CONSTRAINTS)]
    {
        if n > limit {
            return Err(rejection(format!(
                "its certificates have {n} {what}, the limit is {limit}"
            )));
        }
    }
    Ok(())
}

/// Verifies a chain, unless its signatures take too long.
pub(super) fn within_chain_budget<T>(
    verify: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    meter::within(CHAIN_BUDGET_US, verify).unwrap_or_else(|| Err(too_costly()))
}

/// Verifies the signature of a handshake, unless it takes too long.
pub(super) fn within_signature_budget<T>(
    verify: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    meter::within(SIGNATURE_BUDGET_US, verify).unwrap_or_else(|| Err(too_costly()))
}

fn too_costly() -> Error {
    let why = "the signatures of its certificates take too long to verify: use shorter keys or fewer \
               intermediate certificates";
    rejection(why.to_owned())
}
