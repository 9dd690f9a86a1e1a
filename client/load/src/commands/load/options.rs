//! Options of `client load`.

use std::path::PathBuf;

use common::args::UsageError;
use common::protocol::{Framing, OK};
use nats::options::Options as Nodes;
use nats::stream_options::StreamOptions;

use crate::drive::plan::Load;
use crate::message::pattern::Pattern;
use crate::message::template::{DEFAULT_MESSAGE, Template, TemplateError};
use crate::report::threshold::Threshold;

/// The parsed command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) load: Load,
    pub(crate) message: Text,
    pub(crate) framing: Framing,
    pub(crate) reply: String,
    pub(crate) reply_lines: u32,
    pub(crate) ignore: Vec<String>,
    pub(crate) hello: Option<Text>,
    pub(crate) hello_lines: Option<u32>,
    pub(crate) verify: Vec<PathBuf>,
    pub(crate) stream: StreamOptions,
    pub(crate) save: Option<PathBuf>,
    pub(crate) fail_if: Vec<Threshold>,
    pub(crate) report: Option<PathBuf>,
    pub(crate) tls: tls::Options,
    pub(crate) json: bool,
    pub(crate) label: Option<String>,
}

/// A template as given and as parsed.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) typed: String,
    pub(crate) template: Template,
}

impl AsMut<tls::Options> for Options {
    fn as_mut(&mut self) -> &mut tls::Options {
        &mut self.tls
    }
}

impl AsMut<Nodes> for Options {
    fn as_mut(&mut self) -> &mut Nodes {
        &mut self.stream.nodes
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            load: Load::default(),
            message: Text::new(DEFAULT_MESSAGE).expect("the default message is right"),
            framing: Framing::Line,
            reply: OK.to_owned(),
            reply_lines: 1,
            ignore: Vec::new(),
            hello: None,
            hello_lines: None,
            verify: Vec::new(),
            stream: StreamOptions::default(),
            save: None,
            fail_if: Vec::new(),
            report: None,
            tls: tls::Options::default(),
            json: false,
            label: None,
        }
    }
}

impl Text {
    pub(super) fn new(typed: &str) -> Result<Self, TemplateError> {
        Ok(Self { typed: typed.to_owned(), template: Template::parse(typed)? })
    }
}

impl Options {
    /// Checks how options combine, and fills in what depends on several of them.
    pub(super) fn check(&mut self) -> Result<(), UsageError> {
        self.tls.check()?;
        self.stream.check()?;
        if self.stream.name.is_some() && !self.verify.is_empty() {
            return Err(UsageError::new("-stream and -verify are two logs: give one"));
        }
        self.load.threads = self.load.threads.min(self.load.connections);
        let texts = [Some(&mut self.message), self.hello.as_mut()];
        for text in texts.into_iter().flatten() {
            text.template = std::mem::take(&mut text.template).framed(self.framing);
        }
        if self.load.duration.is_none() && self.load.messages.is_none() {
            self.load.duration = Some(10_000_000_000);
        }
        if self.keeps_ack_logs() {
            let pattern = Pattern::new(&self.message.template, "");
            pattern.map_err(|error| UsageError::new(format!("-message: {error}")))?;
        }
        Ok(())
    }

    /// Whether to read the log after the run.
    pub(crate) fn verifies(&self) -> bool {
        !self.verify.is_empty() || self.stream.name.is_some()
    }

    /// Whether to record the result of each message.
    pub(crate) fn keeps_ack_logs(&self) -> bool {
        self.verifies() || self.save.is_some()
    }

    /// The number of lines that the server sends before the first message.
    pub(crate) fn greeting(&self) -> u32 {
        let default = u32::from(self.hello.is_some());
        self.hello_lines.unwrap_or(default)
    }
}
