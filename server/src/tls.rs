//! TLS, with rustls: certificates and keys in files, and sessions in the loop.

mod clients;
#[cfg(test)]
mod costs;
mod files;
mod limits;
mod output;
mod session;

use std::io;
use std::sync::Arc;

use crate::options::ReplyMode;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;

pub use files::{Files, warnings};
pub use session::{MAX_HELD_BYTES, Session};

/// Makes sessions, of what was in the files when they were last read.
#[derive(Debug)]
pub struct Acceptor {
    files: Files,
    config: Arc<ServerConfig>,
}

impl Acceptor {
    /// What the command line asks for, if it asks for TLS.
    ///
    /// # Errors
    /// The text names the file, and says what is wrong with it.
    pub fn open(config: &crate::options::Config) -> Result<Option<Self>, String> {
        let Some((cert, key)) = config.tls_cert.clone().zip(config.tls_key.clone()) else {
            return Ok(None);
        };
        let files = Files {
            cert,
            key,
            client_ca: config.tls_client_ca.clone(),
            allow_names: config.allow_names.clone(),
            // A certificate is checked in a full handshake only. A client that never reads would leave
            // the ticket unread, and the kernel would make a reset of its close.
            tickets: config.tls_client_ca.is_none() && config.reply_mode == ReplyMode::All,
        };
        let config = files.read()?;
        Ok(Some(Self { files, config }))
    }

    /// Reads the files anew. If anything is wrong with them, all stays as it was.
    pub fn reload(&mut self) -> Result<(), String> {
        self.config = self.files.read()?;
        Ok(())
    }

    /// What is to be said of the files, though they can be used.
    pub fn warnings(&self) -> Vec<String> {
        warnings(&self.files)
    }

    /// A session that begins with these bytes. `now_ms` is in the loop's milliseconds.
    pub fn accept(&self, first_bytes: Vec<u8>, now_ms: u32) -> io::Result<Session> {
        let tls = UnbufferedServerConnection::new(Arc::clone(&self.config));
        let tls = tls.map_err(io::Error::other)?;
        Ok(Session::new(tls, first_bytes, now_ms))
    }
}
