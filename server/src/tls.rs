//! TLS with rustls: certificate and key files, and sessions in the event loop.

mod clients;
#[cfg(test)]
mod costs;
mod files;
mod limits;
mod output;
mod rejection;
mod session;
#[cfg(test)]
pub(crate) mod test_peers;
mod verifier;

use std::io;
use std::sync::Arc;

use crate::options::ReplyMode;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;

use files::Files;
#[cfg(test)]
pub use session::MAX_HELD_BYTES;
pub use session::Session;

/// Creates sessions with the configuration that was last read from the files.
#[derive(Debug)]
pub struct Acceptor {
    files: Files,
    config: Arc<ServerConfig>,
}

impl Acceptor {
    /// Reads the files that the options name. `None` without TLS.
    ///
    /// # Errors
    /// The text names the file and says what is wrong with it.
    pub fn open(config: &crate::options::Config) -> Result<Option<Self>, String> {
        let Some((cert, key)) = config.tls_cert.clone().zip(config.tls_key.clone()) else {
            return Ok(None);
        };
        let files = Files {
            cert,
            key,
            client_ca: config.tls_client_ca.clone(),
            allow_names: config.allow_names.clone(),
            // A resumed session would skip the check of the client's certificate. A client that never reads
            // would leave the ticket unread, and the kernel would turn its close into a reset.
            tickets: config.tls_client_ca.is_none() && config.reply_mode == ReplyMode::All,
        };
        let config = files.read()?;
        Ok(Some(Self { files, config }))
    }

    /// Reads the files again. On an error, the old configuration stays.
    pub fn reload(&mut self) -> Result<(), String> {
        self.config = self.files.read()?;
        Ok(())
    }

    /// Warnings about files that are usable.
    pub fn warnings(&self) -> Vec<String> {
        self.files.warnings()
    }

    /// A session whose input begins with these bytes. `now_ms` is in the loop's milliseconds.
    pub fn accept(&self, first_bytes: Vec<u8>, now_ms: u32) -> io::Result<Session> {
        let tls = UnbufferedServerConnection::new(Arc::clone(&self.config));
        let tls = tls.map_err(io::Error::other)?;
        Ok(Session::new(tls, first_bytes, now_ms))
    }
}
