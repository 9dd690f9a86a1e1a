//! What `-save` writes and `client verify` reads: which messages a run sent, and what the server
//! said to each.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::message::ledger::Ledger;
use crate::message::pattern::Pattern;
use crate::message::template::Template;
use crate::verify::{Verification, verify};

const FORMAT: &str = "client-load-run";
const VERSION: u32 = 1;

/// A run, as far as its verification needs it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFile {
    format: String,
    version: u32,
    pub(crate) run: String,
    /// UTC, RFC 3339.
    pub(crate) started: String,
    /// The template, as it was typed.
    pub(crate) message: String,
    /// By number.
    pub(crate) connections: Vec<Ledger>,
}

impl RunFile {
    pub(crate) fn new(
        run: String,
        started: String,
        message: String,
        connections: Vec<Ledger>,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            run,
            started,
            message,
            connections,
        }
    }

    pub(crate) fn write(&self, file: File) -> io::Result<()> {
        file.set_len(0)?;
        let mut out = BufWriter::new(file);
        serde_json::to_writer(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Holds the run against its log, which may be in several files, oldest first.
    pub(crate) fn verify(&self, logs: &[PathBuf]) -> Result<Verification, String> {
        verify(&self.run, &self.pattern()?, &self.connections, logs)
    }

    fn pattern(&self) -> Result<Pattern, String> {
        let template = Template::parse(&self.message).map_err(|error| error.to_string())?;
        Pattern::new(&template.end_with_lf(), &self.run)
    }

    /// Reads a run file; errors say what is wrong with it.
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
        if !is_name || !run.connections.iter().all(Ledger::is_consistent) {
            return Err("its numbers contradict each other".to_owned());
        }
        run.pattern()?;
        Ok(run)
    }
}
