//! TLS clients, and certificates for both ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use tempfile::TempDir;

use crate::ca::{Files, TestCa};
use crate::server::Server;
use crate::wait::DEADLINE;

/// A test CA, and a folder with its certificates: `ca.pem`, `server.pem` and `server.key`.
pub struct Pki {
    pub authority: TestCa,
    pub folder: TempDir,
}

impl Pki {
    pub fn new() -> Self {
        Self::named("tests")
    }

    /// The same for a CA of this name.
    pub fn named(name: &str) -> Self {
        let authority = TestCa::new(name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
        let server = authority.issue(&["localhost", "127.0.0.1"]).unwrap();
        server.write(folder.path(), "server").unwrap();
        Self { authority, folder }
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Starts a server with the certificate `NAME.pem`.
    pub fn serve_as(&self, name: &str, options: &[&str]) -> Server {
        let (cert, key) = (self.path(name) + ".pem", self.path(name) + ".key");
        let mut all = vec!["-tls-cert", &cert, "-tls-key", &key];
        all.extend(options);
        Server::start(&all)
    }

    pub fn serve(&self, options: &[&str]) -> Server {
        self.serve_as("server", options)
    }

    /// A client certificate for these names.
    pub fn issue(&self, name: &str, names: &[&str]) -> Files {
        let identity = self.authority.issue(names).unwrap();
        identity.write(self.folder.path(), name).unwrap()
    }

    /// The configuration of a client that trusts this CA.
    pub fn trust(&self) -> ClientConfig {
        config(self.authority.certificate(), None)
    }

    /// The same, for one TLS version only.
    pub fn trust_over(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        config_for(self.authority.certificate(), None, &[version])
    }

    /// The same, with a client certificate.
    pub fn trust_as_over(
        &self,
        files: &Files,
        version: &'static SupportedProtocolVersion,
    ) -> ClientConfig {
        config_for(self.authority.certificate(), Some(files), &[version])
    }

    /// The configuration of a client that trusts this CA and presents a certificate.
    pub fn trust_as(&self, files: &Files) -> ClientConfig {
        config(self.authority.certificate(), Some(files))
    }

    pub fn connect(&self, server: &Server) -> SecureClient {
        SecureClient::connect(server.address(), self.trust())
    }
}

pub fn config(root: &str, files: Option<&Files>) -> ClientConfig {
    config_for(root, files, rustls::ALL_VERSIONS)
}

fn config_for(
    root: &str,
    files: Option<&Files>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let Some(files) = files else {
        return config.with_no_client_auth();
    };
    let pem = |path: &Path| fs::read(path).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(&pem(&files.certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&pem(&files.key)).unwrap();
    config.with_client_auth_cert(chain, key).unwrap()
}

/// A client with deadlines.
pub struct SecureClient {
    reader: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl SecureClient {
    pub fn connect(address: SocketAddr, config: ClientConfig) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server accepts");
        Self::over(stream, config)
    }

    /// A client on an existing connection, on which bytes may have been exchanged already.
    pub fn over(stream: TcpStream, config: ClientConfig) -> Self {
        Self::named("localhost", stream, config)
    }

    /// The same for another server name.
    pub fn named(name: &str, stream: TcpStream, config: ClientConfig) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let reader = BufReader::new(StreamOwned::new(tls, stream));
        Self { reader }
    }

    pub fn tls(&mut self) -> &mut ClientConnection {
        &mut self.reader.get_mut().conn
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref().get_ref()
    }

    /// Its address, as records show it.
    pub fn name(&self) -> String {
        self.stream().local_addr().unwrap().to_string()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = self.reader.get_mut();
        stream.write_all(bytes.as_ref()).expect("it is taken");
        stream.flush().expect("the server takes it");
    }

    /// Takes the encrypted output that has not been sent yet.
    pub fn take_wire(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.tls().wants_write() {
            self.tls().write_tls(&mut wire).unwrap();
        }
        wire
    }

    /// Encrypts without sending.
    pub fn encrypt(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.tls().writer().write_all(bytes.as_ref()).unwrap();
        self.take_wire()
    }

    /// Completes the handshake.
    pub fn shake_hands(&mut self) {
        let stream = self.reader.get_mut();
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
    }

    /// Reads and processes the server's next bytes.
    pub fn hear(&mut self) {
        let stream = self.reader.get_mut();
        assert!(stream.conn.read_tls(&mut stream.sock).unwrap() > 0);
        stream.conn.process_new_packets().unwrap();
    }

    /// Half-closes the session with `close_notify`.
    pub fn end(&mut self) {
        self.tls().send_close_notify();
        let farewell = self.take_wire();
        self.stream().write_all(&farewell).unwrap();
    }

    /// The next reply without its line end; empty if the server has closed the session.
    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a reply in time");
        line.strip_suffix('\n').unwrap_or(&line).to_owned()
    }

    /// Everything until the server's `close_notify`.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).expect("a farewell in time");
        rest
    }

    /// The error with which the connection ends.
    pub fn failure(&mut self) -> String {
        let failure = self.reader.read_to_end(&mut Vec::new());
        failure.expect_err("no farewell").to_string()
    }

    /// Sends a line and waits for its reply.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.reply()
    }
}
