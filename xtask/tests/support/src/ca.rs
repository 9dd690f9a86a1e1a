//! A test CA and its certificates. Its keys are in memory and in temporary folders: trust it only for
//! the length of a test.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub use rcgen;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

/// A CA that signs certificates.
#[derive(Debug)]
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key, as PKCS#8.
    pub key: String,
}

/// The files of an [`Identity`].
#[derive(Clone, Debug)]
pub struct Files {
    /// The path of the certificate.
    pub certificate: PathBuf,
    /// The path of the key.
    pub key: PathBuf,
}

impl TestCa {
    /// A CA with a new key (ECDSA, P-256).
    ///
    /// # Errors
    /// Errors of the system's random number generator; [`TestCa::issue`] also fails for invalid names.
    pub fn new(name: &str) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, certificate })
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for these names or addresses, valid for both client and server.
    pub fn issue(&self, names: &[&str]) -> Result<Identity, Error> {
        self.issue_to(&KeyPair::generate()?, names, |_| {})
    }

    /// The same for an existing key; `change` can modify the parameters.
    pub fn issue_to(
        &self,
        key: &KeyPair,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Identity, Error> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "line log");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer)?.pem();
        let key = key.serialize_pem();
        Ok(Identity { certificate, key })
    }
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key` into a folder; only the owner can read the key.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<Files> {
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        fs::write(&certificate, &self.certificate)?;
        let mut file = OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600);
        file.open(&key)?.write_all(self.key.as_bytes())?;
        Ok(Files { certificate, key })
    }
}
