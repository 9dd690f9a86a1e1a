//! A test CA and certificates of it. Its keys lie in memory and in temporary folders, and
//! nobody should trust it for longer than a test takes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub use rcgen;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

/// Signs certificates.
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

/// Where an [`Identity`] lies.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl TestCa {
    /// A new one, with a key of its own (ECDSA, P-256).
    ///
    /// # Errors
    /// Those of the system's source of randomness; in [`TestCa::issue`], names that are none as well.
    pub fn new(name: &str) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self {
            issuer,
            certificate,
        })
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for these names (or addresses), good for both ends of a connection.
    pub fn issue(&self, names: &[&str]) -> Result<Identity, Error> {
        self.issue_to(&KeyPair::generate()?, names, |_| {})
    }

    /// The same for a key that is there, and with what `change` makes of it.
    pub fn issue_to(
        &self,
        key: &KeyPair,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Identity, Error> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "line log");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer)?.pem();
        let key = key.serialize_pem();
        Ok(Identity { certificate, key })
    }
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key` into a folder; nobody else can read the key.
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
