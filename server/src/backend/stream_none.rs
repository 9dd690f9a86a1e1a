//! Placeholders for builds without streams: options that return an error, and a log type without values.
#![allow(missing_docs, reason = "as in stream.rs")]

use std::convert::Infallible;
use std::time::Instant;

use common::record::Format;

use super::{BackEnd, Finished};
use crate::batch::Batch;
use settings::Settings;

#[derive(Debug)]
pub struct StreamLog(Infallible);

impl StreamLog {
    pub fn open(settings: Settings, _: Format, _: usize) -> Result<Self, String> {
        match settings {}
    }

    pub fn promise(&self) -> String {
        match self.0 {}
    }
}

pub mod settings {
    use std::convert::Infallible;

    use common::args::{Opt, UsageError};

    use crate::options::Config;

    pub type Settings = Infallible;

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Options {}

    impl Options {
        pub fn check(&self, _of_file: Option<&str>) -> Result<(), UsageError> {
            Ok(())
        }

        pub fn settings(&self) -> Option<Settings> {
            None
        }
    }

    const fn row(names: &'static [&'static str], value: &'static str) -> Opt<Config> {
        Opt::new(names, value, "left out of this server", |_, v| {
            Err(v.wrong("this server was built without streams"))
        })
    }

    pub const STREAM: Opt<Config> = row(&["stream"], "NAME");
    pub const SUBJECT: Opt<Config> = row(&["subject"], "PREFIX");
    pub const ID: Opt<Config> = row(&["id"], "NAME");
    pub const ACK_WAIT: Opt<Config> = row(&["ack-wait"], "TIME");

    #[derive(Debug)]
    pub struct Nats;

    impl Nats {
        pub const NATS: Opt<Config> = row(&["nats"], "URLS");
        pub const CREDENTIALS: Opt<Config> = row(&["nats-creds"], "FILE");
        pub const CA: Opt<Config> = row(&["nats-ca"], "FILE");
        pub const CERT: Opt<Config> = row(&["nats-cert"], "FILE");
        pub const KEY: Opt<Config> = row(&["nats-key"], "FILE");
    }
}

impl BackEnd for StreamLog {
    fn has_room(&self) -> bool {
        match self.0 {}
    }

    fn submit(&mut self, _: Batch, _: Instant) {
        match self.0 {}
    }

    fn finished(&mut self) -> Option<Finished> {
        match self.0 {}
    }

    fn reopen(&mut self, _: Instant) {
        match self.0 {}
    }

    fn run_periodic_tasks(&mut self, _: Instant) {
        match self.0 {}
    }

    fn needs_periodic_tasks(&self) -> bool {
        match self.0 {}
    }
}
