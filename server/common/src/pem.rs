//! Certificates and keys in PEM files.

use std::fs;
use std::path::Path;

use memchr::memmem;
use rustls_pki_types::pem::{Error, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use time::OffsetDateTime;

/// The certificates in a file, at least one.
///
/// # Errors
/// The text names the file and says what is wrong with it. [`private_key`] returns the same kind of error.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let failed = |error: Error| describe(path, &error, "certificate");
    let text = read(path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(failed)?;
    // The parser skips a certificate that does not begin a line, for example after a file without a final
    // line end. That is an error here.
    if memmem::find_iter(&text, BEGIN).count() > found.len() {
        return Err(format!(
            "{}: a certificate in it does not begin at the start of a line",
            path.display()
        ));
    }
    if found.is_empty() {
        return Err(failed(Error::NoItemsFound));
    }
    Ok(found)
}

/// The first private key in a file: PKCS#8, SEC1 or PKCS#1.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if memmem::find(&text, ENCRYPTED).is_some() {
            return format!(
                "{}: the key is encrypted: decrypt it with 'openssl pkey'",
                path.display()
            );
        }
        describe(path, &error, "private key")
    })
}

/// A date, as in `2026-11-25`.
pub fn day(time: UnixTime) -> String {
    match OffsetDateTime::from_unix_timestamp(time.as_secs().cast_signed()) {
        Ok(time) => time.date().to_string(),
        Err(_) => format!("second {}", time.as_secs()),
    }
}

/// The content of a file without byte order marks. Windows editors write one first, and files may be
/// concatenated.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let mut text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    while let Some(at) = memmem::find(&text, MARK) {
        text.drain(at..at + MARK.len());
    }
    Ok(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A valid certificate for a PEM parser.
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    const MARK: &str = "\u{feff}";

    fn certificates_in(text: &str) -> Result<usize, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let found = certificates(file.path());
        let path = file.path().display().to_string();
        let without_path = |why: String| why.replace(&path, "FILE");
        found.map(|found| found.len()).map_err(without_path)
    }

    #[test]
    fn no_certificate_is_left_out() {
        assert_eq!(certificates_in(&PEM.repeat(2)), Ok(2));
        assert_eq!(certificates_in(&format!("{MARK}{PEM}{PEM}")), Ok(2));
        assert_eq!(certificates_in(&format!("{PEM}{MARK}{PEM}")), Ok(2));
        assert_eq!(certificates_in(&format!("# text\r\n{}", PEM.replace('\n', "\r\n"))), Ok(1));
        let expected = "FILE: a certificate in it does not begin at the start of a line";
        for wrong in [format!("{}{PEM}", PEM.trim_end()), format!("x{PEM}"), format!("{PEM} {PEM}")]
        {
            assert_eq!(certificates_in(&wrong), Err(expected.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_key_may_stand_after_a_byte_order_mark() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{MARK}{KEY}")).unwrap();
        private_key(file.path()).unwrap();
    }
}
