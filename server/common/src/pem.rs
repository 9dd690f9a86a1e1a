//! Certificates and keys in files, and what is wrong with these.

use std::fs;
use std::path::Path;

use memchr::memmem;
use rustls_pki_types::pem::{Error, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use time::OffsetDateTime;

/// The certificates in a file, of which there is one at least.
///
/// # Errors
/// The text names the file, and says what is wrong with it. So it does in [`private_key`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: Error| describe(path, &error, "certificate");
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    match found.map_err(failed)? {
        none if none.is_empty() => Err(failed(Error::NoItemsFound)),
        some => Ok(some),
    }
}

/// The first private key in a file: PKCS#8, SEC1 or PKCS#1.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if memmem::find(&text, ENCRYPTED).is_some() {
            return format!(
                "{}: the key is encrypted, and nobody is here to type the password: decrypt it \
                 with 'openssl pkey'",
                path.display()
            );
        }
        describe(path, &error, "private key")
    })
}

/// A day, as in `2026-11-25`.
pub fn day(time: UnixTime) -> String {
    match OffsetDateTime::from_unix_timestamp(time.as_secs().cast_signed()) {
        Ok(time) => time.date().to_string(),
        Err(_) => format!("second {}", time.as_secs()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn describe(path: &Path, error: &Error, what: &str) -> String {
    let path = path.display();
    match error {
        Error::NoItemsFound => {
            format!("{path}: there is no {what} in it (PEM is expected, '-----BEGIN …')")
        }
        error => format!("{path}: not right as PEM: {error:?}"),
    }
}
