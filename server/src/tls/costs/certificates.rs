//! Certificates that are expensive to check: forged chains of many shapes, keys of every kind, many names.

use std::process::Command;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{self, kx_group};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use test_support::ca::rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, Error, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SanType, SignatureAlgorithm, SigningKey,
};
use test_support::ca::{Identity, TestCa};

/// A server certificate of the recommended kind.
pub(in crate::tls) fn server() -> Identity {
    let authority = TestCa::new("servers").unwrap();
    authority.issue(&["localhost"]).unwrap()
}

/// Server certificates with keys of other kinds.
pub(in crate::tls) fn servers() -> Vec<(String, Identity)> {
    let authority = TestCa::new("servers").unwrap();
    let mut servers = Vec::new();
    for (name, kind) in
        [("server's key P-384", &PKCS_ECDSA_P384_SHA384), ("server's key Ed25519", &PKCS_ED25519)]
    {
        let key = KeyPair::generate_for(kind).unwrap();
        let identity = authority.issue_to(&key, &["localhost"], |_| {}).unwrap();
        servers.push((name.to_owned(), identity));
    }
    for bits in ["2048", "3072", "4096"] {
        let bits_option = format!("rsa_keygen_bits:{bits}");
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits_option])
            .output();
        let Some(key) = made.ok().and_then(|made| String::from_utf8(made.stdout).ok()) else {
            continue;
        };
        let key = KeyPair::from_pem(&key).unwrap();
        let identity = authority.issue_to(&key, &["localhost"], |_| {}).unwrap();
        servers.push((format!("server's key RSA {bits}"), identity));
    }
    servers
}

/// Clients without a certificate.
pub(in crate::tls) fn clients() -> Vec<(String, Arc<ClientConfig>)> {
    let groups = [
        ("X25519", vec![kx_group::X25519]),
        ("P-256", vec![kx_group::SECP256R1]),
        ("P-384", vec![kx_group::SECP384R1]),
    ];
    let mut clients = Vec::new();
    for (name, kx_groups) in groups {
        for (version, versions) in [("TLS 1.3", [&TLS13]), ("TLS 1.2", [&TLS12])] {
            let provider = rustls::crypto::CryptoProvider {
                kx_groups: kx_groups.clone(),
                ..ring::default_provider()
            };
            let mut config = trusting(provider, &versions).with_no_client_auth();
            config.resumption = Resumption::disabled();
            clients.push((format!("{version}, {name}"), Arc::new(config)));
        }
    }
    clients
}

fn trusting(
    provider: rustls::crypto::CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
}

/// Trusts any server: the server is measured, not the client.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A key of a certificate: a real one, or an RSA key without a private half, whose signatures are invalid
/// bytes of the right length.
pub(in crate::tls) enum Key {
    True(Box<KeyPair>),
    Rsa { public: Vec<u8>, len: usize },
}

impl Key {
    pub(in crate::tls) fn of(kind: &'static SignatureAlgorithm) -> Self {
        Self::True(Box::new(KeyPair::generate_for(kind).unwrap()))
    }

    /// An RSA key of this size, with the most expensive exponent that is accepted.
    pub(in crate::tls) fn rsa(bits: usize) -> Self {
        let len = bits / 8;
        let modulus: Vec<u8> = (0..len).map(|n| (n * 37 % 251) as u8 | 0x81).collect();
        let exponent = [0x01, 0xff, 0xff, 0xff, 0xff];
        let mut integers = vec![0x02, 0x82];
        integers.extend(((len + 1) as u16).to_be_bytes());
        integers.push(0);
        integers.extend(modulus);
        integers.extend([0x02, exponent.len() as u8]);
        integers.extend(exponent);
        let mut public = vec![0x30, 0x82];
        public.extend((integers.len() as u16).to_be_bytes());
        public.extend(integers);
        Self::Rsa { public, len }
    }

    fn nonsense(len: usize) -> Vec<u8> {
        vec![1; len]
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::True(key) => key.der_bytes(),
            Self::Rsa { public, .. } => public,
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::True(key) => key.algorithm(),
            Self::Rsa { .. } => &PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::True(key) => key.sign(message),
            Self::Rsa { len, .. } => Ok(Self::nonsense(*len)),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// Signs a handshake with bytes of the right length that are no valid signature.
#[derive(Clone, Debug)]
struct Nonsense {
    len: usize,
}

impl rustls::sign::SigningKey for Nonsense {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = SignatureScheme::RSA_PSS_SHA256;
        offered.contains(&scheme).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::RSA
    }
}

impl Signer for Nonsense {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![1; self.len])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}

/// The certificates of a client, and the CAs that the server knows.
pub(in crate::tls) struct Chain {
    pub(in crate::tls) anchors: String,
    pub(in crate::tls) certificates: Vec<CertificateDer<'static>>,
    key: Key,
}

fn params(subject: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = test_support::ca::rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }
    params
}

/// A certificate for `key`, issued under the name `issuer` with the key `signer`.
fn issue(params: &CertificateParams, key: &Key, issuer: &str, signer: &Key) -> Certificate {
    let issuer_params = self::params(issuer, true);
    let issuer = Issuer::from_params(&issuer_params, signer);
    params.signed_by(key, &issuer).unwrap()
}

fn anchor(name: &str, key: &Key) -> Certificate {
    issue(&params(name, true), key, name, key)
}

impl Chain {
    /// A leaf and `issuers` certificates that may all be each other's issuers. All are forged. The CA has
    /// this name and this key.
    pub(in crate::tls) fn mutual(
        issuers: usize,
        others: usize,
        anchor_name: &str,
        anchor_key: &Key,
    ) -> Self {
        let signer = match anchor_key {
            Key::True(key) => Key::of(key.algorithm()),
            Key::Rsa { len, .. } => Key::Rsa { public: Vec::new(), len: *len },
        };
        let leaf = Key::of(&PKCS_ECDSA_P256_SHA256);
        let mut certificates = vec![issue(&params("leaf", false), &leaf, "X", &signer)];
        for _ in 0..others {
            let key = Key::of(&PKCS_ED25519);
            certificates.push(issue(&params("Y", false), &key, "X", &signer));
        }
        for _ in 0..issuers {
            let key = Key::of(&PKCS_ED25519);
            certificates.push(issue(&params("X", true), &key, "X", &signer));
        }
        Self {
            anchors: anchor(anchor_name, anchor_key).pem(),
            certificates: certificates.iter().map(|one| one.der().clone()).collect(),
            key: leaf,
        }
    }

    pub(in crate::tls) fn hostile() -> Vec<(String, Self)> {
        let p256 = Key::of(&PKCS_ECDSA_P256_SHA256);
        let mut chains = vec![
            ("135 forged".to_owned(), Self::mutual(9, 125, "A", &p256)),
            ("6 forged".to_owned(), Self::mutual(6, 0, "A", &p256)),
        ];
        for (name, key) in [
            ("P-256", p256),
            ("P-384", Key::of(&PKCS_ECDSA_P384_SHA384)),
            ("Ed25519", Key::of(&PKCS_ED25519)),
            ("RSA 4096", Key::rsa(4096)),
            ("RSA 8192", Key::rsa(8192)),
        ] {
            for n in [1, 6] {
                let name = format!("{n} forged under the name of the authority, {name}");
                chains.push((name, Self::mutual(n, 0, "X", &key)));
            }
        }
        for bits in [2048, 4096, 8192] {
            chains.push((format!("true leaf, RSA {bits}"), Self::leaf_of(Key::rsa(bits))));
        }
        for kind in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            chains.push((format!("true leaf, {kind:?}"), Self::leaf_of(Key::of(kind))));
        }
        for n in [1, 6] {
            for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
                chains.push((format!("{n} true intermediates, {kind:?}"), Self::line(n, kind)));
            }
        }
        for n in [20, 200, 1000] {
            chains.push((format!("{n} authorities"), Self::many_anchors(n, false)));
            chains.push((format!("{n} authorities of one name"), Self::many_anchors(n, true)));
        }
        for bytes in [10_000, 24_000, 31_000, 50_000] {
            chains.push((format!("true leaf of {bytes} bytes"), Self::large(bytes)));
        }
        chains
    }

    /// A valid certificate for this key.
    pub(in crate::tls) fn leaf_of(key: Key) -> Self {
        let ca = Key::of(&PKCS_ECDSA_P256_SHA256);
        Self {
            anchors: anchor("A", &ca).pem(),
            certificates: vec![issue(&params("leaf", false), &key, "A", &ca).der().clone()],
            key,
        }
    }

    /// A valid chain.
    pub(in crate::tls) fn line(intermediates: usize, kind: &'static SignatureAlgorithm) -> Self {
        let ca = Key::of(kind);
        let anchors = anchor("0", &ca).pem();
        let (mut signer, mut certificates) = (ca, Vec::new());
        for n in 0..intermediates {
            let key = Key::of(kind);
            let params = params(&(n + 1).to_string(), true);
            certificates.insert(0, issue(&params, &key, &n.to_string(), &signer));
            signer = key;
        }
        let key = Key::of(kind);
        let issuer = intermediates.to_string();
        certificates.insert(0, issue(&params("leaf", false), &key, &issuer, &signer));
        Self {
            anchors,
            certificates: certificates.iter().map(|one| one.der().clone()).collect(),
            key,
        }
    }

    pub(in crate::tls) fn many_anchors(n: usize, of_one_name: bool) -> Self {
        let mut anchors = String::new();
        let mut last = None;
        for n in 0..n {
            let key = Key::of(&PKCS_ECDSA_P256_SHA256);
            let name = if of_one_name {
                "A".to_owned()
            } else {
                format!("authority {n} of a long list of them")
            };
            anchors += &anchor(&name, &key).pem();
            last = Some((name, key));
        }
        let (name, ca) = last.unwrap();
        let key = Key::of(&PKCS_ECDSA_P256_SHA256);
        let certificates = vec![issue(&params("leaf", false), &key, &name, &ca).der().clone()];
        Self { anchors, certificates, key }
    }

    fn large(bytes: usize) -> Self {
        let (ca, key) = (Key::of(&PKCS_ECDSA_P256_SHA256), Key::of(&PKCS_ECDSA_P256_SHA256));
        let mut params = params("leaf", false);
        params.distinguished_name.push(DnType::OrganizationName, "x".repeat(bytes));
        Self {
            anchors: anchor("A", &ca).pem(),
            certificates: vec![issue(&params, &key, "A", &ca).der().clone()],
            key,
        }
    }

    /// Valid certificates with many names.
    pub(in crate::tls) fn with_names() -> Vec<(String, Self)> {
        let dns = |n: usize, name: &str| vec![SanType::DnsName(name.try_into().unwrap()); n];
        let uri = |n: usize, name: &str| vec![SanType::URI(name.try_into().unwrap()); n];
        let mut chains = vec![
            ("100 DNS names".to_owned(), Self::named(dns(100, "shop-7.example.com"), 0)),
            ("9,000 DNS names".to_owned(), Self::named(dns(9000, "a"), 0)),
            ("5,000 wildcards".to_owned(), Self::named(dns(5000, "*.a.b"), 0)),
            ("9,000 URIs".to_owned(), Self::named(uri(9000, "a"), 0)),
        ];
        for (names, constraints) in [(10, 10), (100, 100), (500, 500), (4000, 2000)] {
            chains.push((
                format!("{names} names, {constraints} constraints"),
                Self::named(dns(names, "a"), constraints),
            ));
            chains.push((
                format!("{names} longer names, {constraints} constraints"),
                Self::named(dns(names, "a.bb.cc"), constraints),
            ));
        }
        chains
    }

    pub(in crate::tls) fn named(names: Vec<SanType>, constraints: usize) -> Self {
        Self::of_two(&PKCS_ECDSA_P256_SHA256, names, constraints, 0)
    }

    /// The most expensive chain that is accepted.
    pub(in crate::tls) fn worst() -> Self {
        let names = vec![SanType::DnsName("a.bb.cc".try_into().unwrap()); 64];
        Self::of_two(&PKCS_ECDSA_P384_SHA384, names, 64, 28_000)
    }

    /// A valid chain with one intermediate certificate, and with these names, constraints, and subject
    /// length.
    fn of_two(
        kind: &'static SignatureAlgorithm,
        names: Vec<SanType>,
        constraints: usize,
        bytes: usize,
    ) -> Self {
        let (ca, sub, key) = (Key::of(kind), Key::of(kind), Key::of(kind));
        let mut leaf = params("leaf", false);
        leaf.subject_alt_names = names;
        if bytes > 0 {
            let long = "x".repeat(bytes);
            leaf.distinguished_name.push(DnType::OrganizationName, long);
        }
        let mut middle = params("M", true);
        if constraints > 0 {
            middle.name_constraints = Some(NameConstraints {
                permitted_subtrees: Vec::new(),
                excluded_subtrees: vec![GeneralSubtree::DnsName("b".to_owned()); constraints],
            });
        }
        let certificates = [issue(&leaf, &key, "M", &sub), issue(&middle, &sub, "A", &ca)];
        Self {
            anchors: anchor("A", &ca).pem(),
            certificates: certificates.iter().map(|one| one.der().clone()).collect(),
            key,
        }
    }

    /// Clients with this chain, in both versions.
    pub(in crate::tls) fn clients(&self) -> Vec<(&'static str, Arc<ClientConfig>)> {
        let key: Arc<dyn rustls::sign::SigningKey> = match &self.key {
            Key::True(key) => {
                let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
                ring::sign::any_supported_type(&key).unwrap()
            }
            Key::Rsa { len, .. } => Arc::new(Nonsense { len: *len }),
        };
        let certified = CertifiedKey::new(self.certificates.clone(), key);
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        // With the most expensive key exchange.
        let versions = [("TLS 1.3", [&TLS13]), ("TLS 1.2", [&TLS12])];
        let clients = versions.into_iter().map(|(name, versions)| {
            let provider = rustls::crypto::CryptoProvider {
                kx_groups: vec![kx_group::SECP384R1],
                ..ring::default_provider()
            };
            let config = trusting(provider, &versions);
            let mut config = config.with_client_cert_resolver(resolver.clone());
            config.resumption = Resumption::disabled();
            (name, Arc::new(config))
        });
        clients.collect()
    }
}
