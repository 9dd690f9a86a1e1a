//! For tests: a server's certificate, and TLS clients that trust its CA.

use std::sync::{Arc, LazyLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tempfile::TempDir;
use test_support::ca::TestCa;

use crate::options::Config;

/// What all tests share.
struct Peers {
    folder: TempDir,
    client: Arc<ClientConfig>,
}

static PEERS: LazyLock<Peers> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("peers").unwrap();
    let server = ca.issue(&["localhost"]).unwrap();
    server.write(folder.path(), "server").unwrap();
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.certificate().as_bytes());
    roots.add(root.unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Peers { folder, client: Arc::new(client) }
});

/// The configuration of a server that the clients trust.
pub(crate) fn server() -> Config {
    let folder = PEERS.folder.path();
    Config {
        tls_cert: Some(folder.join("server.pem")),
        tls_key: Some(folder.join("server.key")),
        ..Config::default()
    }
}

/// A client without a certificate.
pub(crate) fn client() -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::clone(&PEERS.client), name).unwrap()
}
