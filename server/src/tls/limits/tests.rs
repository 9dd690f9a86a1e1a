//! Tests of the limits: a chain over a limit does not reach the verifier, a chain within all limits does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use test_support::ca::rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType};

use super::*;
use crate::tls::costs::certificates::{self, Chain, Key};
use crate::tls::costs::{After, Run, Server};
use crate::tls::verifier::Verifier;

/// A verifier that accepts everything and counts its calls.
#[derive(Debug, Default)]
struct Counting {
    chains: AtomicUsize,
}

impl ClientCertVerifier for Counting {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.chains.fetch_add(1, Ordering::Relaxed);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Vec::new()
    }
}

/// Why a chain does not reach the verifier. `None` if it does.
fn refused(chain: &Chain) -> Option<String> {
    let counting = Arc::new(Counting::default());
    let limited = Verifier::new(counting.clone(), Vec::new());
    let (end_entity, intermediates) = chain.certificates.split_first().unwrap();
    let result = limited.verify_client_cert(end_entity, intermediates, UnixTime::now());
    assert_eq!(counting.chains.load(Ordering::Relaxed), usize::from(result.is_ok()));
    result.err().map(|error| crate::tls::clients::describe(&error))
}

#[test]
fn more_than_six_intermediates_do_not_reach_the_verifier() {
    let kind = &PKCS_ECDSA_P256_SHA256;
    assert_eq!(refused(&Chain::line(6, kind)), None);
    assert_eq!(
        refused(&Chain::line(7, kind)).unwrap(),
        "it sent 7 intermediate certificates, the limit is 6"
    );
}

#[test]
fn intermediates_that_may_be_each_others_issuers_do_not_reach_the_verifier() {
    let anchor = Key::of(&PKCS_ECDSA_P256_SHA256);
    assert_eq!(refused(&Chain::mutual(2, 0, "X", &anchor)), None);
    for (issuers, others) in [(3, 0), (6, 0), (1, 5)] {
        assert_eq!(
            refused(&Chain::mutual(issuers, others, "X", &anchor)).unwrap(),
            "more than 2 of its intermediate certificates have the same subject"
        );
    }
}

#[test]
fn more_names_or_constraints_than_may_be_compared_do_not_reach_the_verifier() {
    let names = |n| {
        let kinds = [
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI("spiffe://a".try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::Rfc822Name("a@example".try_into().unwrap()),
        ];
        kinds.into_iter().cycle().take(n).collect()
    };
    assert_eq!(refused(&Chain::named(names(64), 64)), None);
    assert_eq!(
        refused(&Chain::named(names(65), 0)).unwrap(),
        "its certificates have 65 names, the limit is 64"
    );
    assert_eq!(
        refused(&Chain::named(names(4), 65)).unwrap(),
        "its certificates have 65 name constraints, the limit is 64"
    );
}

/// The budget limits the verified signatures, however many paths exist.
#[test]
fn signatures_have_a_budget() {
    let outcome = |chain: &Chain| {
        let mut roots = RootCertStore::empty();
        for anchor in CertificateDer::pem_slice_iter(chain.anchors.as_bytes()) {
            roots.add(anchor.unwrap()).unwrap();
        }
        let provider = Arc::new(metered(&rustls::crypto::ring::default_provider()));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let limited = Verifier::new(verifier.build().unwrap(), Vec::new());
        let (end_entity, intermediates) = chain.certificates.split_first().unwrap();
        let result = limited.verify_client_cert(end_entity, intermediates, UnixTime::now());
        result.err().map(|error| crate::tls::clients::describe(&error))
    };
    let p384 = &PKCS_ECDSA_P384_SHA384;
    for good in [
        Chain::line(6, &PKCS_ECDSA_P256_SHA256),
        Chain::line(1, p384),
        Chain::many_anchors(20, true),
    ] {
        assert_eq!(outcome(&good), None);
    }
    for costly in [
        Chain::line(2, p384),
        Chain::line(6, p384),
        Chain::many_anchors(30, true),
        Chain::mutual(2, 0, "X", &Key::of(p384)),
        Chain::mutual(2, 0, "X", &Key::rsa(8192)),
    ] {
        let error = outcome(&costly).unwrap();
        assert!(error.contains("take too long to verify"), "{error}");
    }
    let forged = outcome(&Chain::mutual(1, 0, "X", &Key::of(p384))).unwrap();
    assert!(!forged.contains("take too long"), "{forged}");
}

/// The same with complete handshakes, in both versions, with and without `-allow-names`.
#[test]
fn handshakes_over_a_limit_are_refused_with_a_reason() {
    for (names, len, expected) in [
        (&[][..], 6, "ok"),
        (&[], 7, "it sent 7 intermediate certificates, the limit is 6"),
        (&["a.example"], 6, "its certificate is for no name, which is not in -allow-names"),
        (&["a.example"], 7, "it sent 7 intermediate certificates, the limit is 6"),
    ] {
        let chain = Chain::line(len, &PKCS_ECDSA_P256_SHA256);
        let server = Server::new(&certificates::server(), Some(&chain.anchors), names);
        for (version, config) in chain.clients() {
            let cost = Run::new(&server).with_client(&config, &After::Nothing);
            assert_eq!(cost.outcome, expected, "{version}");
        }
    }
    // A client key whose signature takes too long.
    let chain = Chain::leaf_of(Key::rsa(8192));
    let server = Server::mutual(&chain.anchors);
    for (version, config) in chain.clients() {
        let cost = Run::new(&server).with_client(&config, &After::Nothing);
        assert!(cost.outcome.contains("take too long to verify"), "{version}: {}", cost.outcome);
    }
}

/// A truncated or altered certificate is malformed or has another size. There is no other effect.
#[test]
fn malformed_certificates_are_only_refused() {
    let names = vec![SanType::DnsName("a.example".try_into().unwrap()); 3];
    let chain = Chain::named(names, 4);
    let (leaf, middle) = (&chain.certificates[0], &chain.certificates[1]);
    let size = |names, constraints| der::Size { names, constraints };
    assert_eq!(der::size(leaf), Some(size(3, 0)));
    assert_eq!(der::size(middle), Some(size(0, 4)));
    assert_eq!(names_of(leaf), vec!["a.example"; 3]);
    for certificate in [leaf, middle] {
        for len in 0..certificate.len() {
            assert_eq!(der::size(&certificate[..len]), None);
        }
        for at in 0..certificate.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut spoilt = certificate.to_vec();
                spoilt[at] = byte;
                _ = (der::size(&spoilt), der::names(&spoilt));
            }
        }
    }
}

fn names_of(certificate: &[u8]) -> Vec<String> {
    let names = names(certificate).unwrap().into_iter();
    let texts = names.map(|name| match name {
        Name::Dns(name) => String::from_utf8(name).unwrap(),
        Name::Ip(ip) => format!("{ip:?}"),
    });
    texts.collect()
}

/// The result is that of the library, although only a few names are passed to it.
#[test]
fn names_are_allowed_as_the_library_compares_them() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let ip = |ip: [u8; 4]| SanType::IpAddress(ip.into());
    let v6 = SanType::IpAddress("2001:db8::1".parse().unwrap());
    let allowed = [
        "a.example",
        "A.Example",
        "b.c.example",
        "c.example",
        "192.0.2.1",
        "2001:db8::1",
        "d.test",
    ];
    let mut admitted = 0;
    for names in [
        vec![],
        vec![dns("a.example")],
        vec![dns("A.EXAMPLE"), dns("x.example")],
        vec![dns("*.example")],
        vec![dns("*.c.example")],
        vec![dns("*.a.example"), dns("example")],
        vec![ip([192, 0, 2, 1])],
        vec![ip([192, 0, 2, 2]), v6],
        vec![SanType::URI("d.test".try_into().unwrap())],
    ] {
        let chain = Chain::named(names.clone(), 0);
        let end_entity = &chain.certificates[0];
        let cert = EndEntityCert::try_from(end_entity).unwrap();
        for allowed in allowed {
            let name = ServerName::try_from(allowed).unwrap();
            let expected = cert.verify_is_valid_for_subject_name(&name).is_ok();
            let verifier = Verifier::new(Arc::new(Counting::default()), vec![name]);
            let result = verifier.verify_client_cert(end_entity, &[], UnixTime::now());
            assert_eq!(result.is_ok(), expected, "{allowed} by {names:?}");
            admitted += usize::from(expected);
        }
    }
    assert_eq!(admitted, 7);
}

/// If the names of the CAs do not fit into a message, they are not sent.
#[test]
fn there_may_be_many_authorities() {
    let chain = Chain::many_anchors(1300, false);
    let server = Server::mutual(&chain.anchors);
    for (version, config) in chain.clients() {
        let cost = Run::new(&server).with_client(&config, &After::Nothing);
        assert_eq!(cost.outcome, "ok", "{version}");
    }
}
