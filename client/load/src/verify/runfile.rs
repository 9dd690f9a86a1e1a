//! Run file, which `-save` writes and `client verify` reads: the messages of a run and the reply to
//! each.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use common::protocol::Framing;

use super::findings::Verification;
use super::logs::Log;
use super::read::verify;
use super::sent::Sent;
use crate::message::ack_log::AckLog;
use crate::message::pattern::Pattern;
use crate::message::template::Template;

const FORMAT: &str = "client-load-run";
const VERSION: u32 = 1;

/// The data of a run that its verification needs.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunFile {
    format: String,
    version: u32,
    pub(crate) run: String,
    /// UTC, RFC 3339.
    pub(crate) started: String,
    /// The template, as given.
    pub(crate) message: String,
    /// The hello of each connection, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hello: Option<String>,
    /// `-framing`, unless it is `line`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) framing: Option<String>,
    /// Indexed by connection number.
    pub(crate) connections: Vec<AckLog>,
}

impl RunFile {
    pub(crate) fn new(
        run: String,
        started: String,
        message: String,
        connections: Vec<AckLog>,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            run,
            started,
            message,
            hello: None,
            framing: None,
            connections,
        }
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        serde_json::to_writer(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Verifies the run against its log. Returns `None` if it was interrupted.
    pub(crate) fn verify(
        &self,
        log: Log,
        interrupt: &AtomicBool,
    ) -> Result<Option<Verification>, String> {
        verify(&self.sent()?, log, interrupt)
    }

    fn sent(&self) -> Result<Sent<'_>, String> {
        let parse = |text: &String| Template::parse(text).map_err(|error| error.to_string());
        let framing = match &self.framing {
            None => Framing::Line,
            Some(name) => {
                Framing::named(name).ok_or_else(|| format!("unknown framing '{name}'"))?
            }
        };
        let message = parse(&self.message)?.framed(framing);
        let hello = self.hello.as_ref().map(parse).transpose()?;
        let hello = hello.map(|hello| Pattern::of_hello(&hello.framed(framing), &self.run));
        Ok(Sent {
            run: &self.run,
            message: Pattern::new(&message, &self.run)?,
            hello: hello.unwrap_or_default(),
            ack_logs: &self.connections,
        })
    }

    /// Reads a run file.
    ///
    /// # Errors
    ///
    /// The text says what is wrong with the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let run: Self = serde_json::from_reader(BufReader::new(file))
            .map_err(|error| format!("not a run that -save wrote: {error}"))?;
        if run.format != FORMAT || run.version != VERSION {
            return Err(format!(
                "expected {FORMAT} version {VERSION}, found '{}' version {}",
                run.format, run.version
            ));
        }
        let is_name = !run.run.is_empty() && run.run.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_name || !run.connections.iter().all(AckLog::is_consistent) {
            return Err("its numbers contradict each other".to_owned());
        }
        run.sent()?;
        Ok(run)
    }
}
