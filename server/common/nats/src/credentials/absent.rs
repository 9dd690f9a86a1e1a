//! What stands for `.creds` files in builds without TLS, whose library signs: a type without values.
#![allow(missing_docs, reason = "as in credentials.rs")]

use std::convert::Infallible;
use std::path::Path;

#[derive(Debug)]
pub struct Credentials(Infallible);

impl Credentials {
    pub fn read(_path: &Path) -> Result<Self, String> {
        Err("-nats-creds: this program was built without TLS, whose library signs".to_owned())
    }

    pub fn jwt(&self) -> &str {
        match self.0 {}
    }

    pub fn sign(&self, _nonce: &str) -> String {
        match self.0 {}
    }
}
