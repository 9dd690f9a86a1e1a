//! Error messages of TLS.

use std::io;
use std::net::IpAddr;

use common::pem::day;
use rustls::{AlertDescription, CertificateError, Error};

/// The error for a connection that ended too early.
pub(super) fn cut_off(how: &str) -> io::Error {
    let text = format!("the server ended the connection {how}");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

/// `is_first`: no valid TLS message has come from the server yet.
pub(super) fn describe(error: &Error, is_first: bool) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert, is_first),
        Error::InvalidMessage(_) if is_first => {
            "the server does not speak TLS here; it may on another port".to_owned()
        }
        error => error.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<_> = presented.iter().map(|name| shown(name)).collect();
            let names = if names.is_empty() {
                "no name at all".to_owned()
            } else {
                names.join(", ")
            };
            format!(
                "the server's certificate is for {names}, not for '{}' (-tls-name says which it must be \
                 for)",
                canonical(&expected.to_str())
            )
        }
        // A wrong signature comes from another CA of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is of an authority that is not trusted here (-tls-ca names a file \
             with those to trust)"
                .to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the server's certificate has expired, on {}", day(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the server's certificate is not valid before {}", day(*not_before))
        }
        error => format!("the server's certificate is refused: {error}"),
    }
}

/// The bare name. The library also prints its type: `DnsName("a.example")`.
fn shown(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    match inner {
        Some(inner) => format!("'{}'", canonical(inner.trim_matches('"'))),
        None => name.to_owned(),
    }
}

/// The name, with an IP address in canonical form. The library writes `::1` as `0::1`.
fn canonical(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => name.to_owned(),
    }
}

fn of_alert(alert: AlertDescription, is_first: bool) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server demands a certificate of this client (-tls-cert and -tls-key)".to_owned()
        }
        AlertDescription::UnknownCA => {
            "the server does not know the authority of this client's certificate".to_owned()
        }
        AlertDescription::CertificateExpired => {
            "the server says that this client's certificate has expired, or is not valid yet"
                .to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            format!("the server does not accept this client's certificate ({alert:?})")
        }
        AlertDescription::ProtocolVersion => "the server speaks only TLS 1.1 or older".to_owned(),
        AlertDescription::HandshakeFailure if is_first => {
            "the server does not speak TLS at this port, or no version that this client knows"
                .to_owned()
        }
        alert => format!("the server broke off: {alert:?}"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn names_are_shown_as_they_are_written() {
        assert_eq!(shown("DnsName(\"a.example\")"), "'a.example'");
        assert_eq!(shown("IpAddress(127.0.0.1)"), "'127.0.0.1'");
        assert_eq!(shown("IpAddress(0::1)"), "'::1'");
        let expected = ServerName::try_from("2001:db8::1").unwrap();
        assert_eq!(canonical(&expected.to_str()), "2001:db8::1");
    }
}
