//! What stands for TLS in builds without it: types without values.
#![allow(missing_docs, reason = "as in with/")]

pub mod connector {
    use std::convert::Infallible;

    use super::session::Session;
    use crate::options::Options;

    /// A stub that cannot make sessions.
    #[derive(Clone, Debug)]
    pub struct Connector(Infallible);

    impl Connector {
        pub fn open(options: &Options) -> Result<Option<Self>, String> {
            if options.is_on() {
                return Err("-tls: this program was built without TLS".to_owned());
            }
            Ok(None)
        }

        pub fn begin(&self, _host: &str) -> Result<Session, String> {
            match self.0 {}
        }
    }
}

pub mod session {
    use std::convert::Infallible;
    use std::io::{self, Read, Write};

    /// A stub of which no value exists.
    #[derive(Debug)]
    pub struct Session(Infallible);

    impl Session {
        pub fn handshake(&mut self, _socket: &mut (impl Read + Write)) -> io::Result<()> {
            match self.0 {}
        }

        pub fn read(&mut self, _: &mut (impl Read + Write), _: &mut [u8]) -> io::Result<usize> {
            match self.0 {}
        }

        pub fn write(&mut self, _: &mut (impl Read + Write), _: &[u8]) -> io::Result<usize> {
            match self.0 {}
        }

        pub fn flush(&mut self, _socket: &mut (impl Read + Write)) -> io::Result<()> {
            match self.0 {}
        }

        pub fn end(&mut self, _socket: &mut (impl Read + Write)) -> io::Result<()> {
            match self.0 {}
        }

        pub fn has_unsent(&self) -> bool {
            match self.0 {}
        }
    }
}
