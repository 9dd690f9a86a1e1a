//! Reading of a log: its files or its stream, to their end.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use memchr::{memchr, memrchr};

use super::findings::Verification;
use super::logs::{self, Log, LogFile};
use super::sent::Sent;
use super::streamed::StreamLog;
use super::verifier::Verifier;

/// Size of one read, in bytes. The buffer grows for a longer line, up to the length of a record.
pub(super) const BUFFER: usize = 1 << 20;

/// Verifies a run against its log. Returns `None` if it was interrupted.
pub(crate) fn verify(
    sent: &Sent<'_>,
    log: Log,
    interrupt: &AtomicBool,
) -> Result<Option<Verification>, String> {
    let mut verifier = Verifier::new(sent);
    let whole = match log {
        Log::Files(files) => verifier.read_files(files, interrupt)?,
        Log::Stream(mut stream) => verifier.read_stream(&mut stream, interrupt)?,
    };
    Ok(whole.then(|| verifier.finish()))
}

impl Verifier<'_> {
    /// Reads files in their order, each to its end. Returns false if it was interrupted.
    fn read_files(&mut self, files: Vec<LogFile>, interrupt: &AtomicBool) -> Result<bool, String> {
        for log in files {
            let path = log.path.clone();
            let file = log.open();
            let read = file.and_then(|mut file| self.read(&mut file, interrupt));
            if !read.map_err(|error| logs::cannot_read(&path, &error))? {
                return Ok(false);
            }
            self.found.logs.push(path.display().to_string());
        }
        Ok(true)
    }

    /// Reads a stream to its end. Each message holds whole lines. Returns false if it was
    /// interrupted.
    fn read_stream(
        &mut self,
        stream: &mut StreamLog,
        interrupt: &AtomicBool,
    ) -> Result<bool, String> {
        while stream.has_more() {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let batch = stream.next()?.unwrap_or_default();
            let end = memrchr(b'\n', &batch).map_or(0, |at| at + 1);
            self.found.bytes += batch.len() as u64;
            self.found.torn += u64::from(end < batch.len());
            self.lines(&batch[..end]);
        }
        self.found.logs.push(format!("stream {}", stream.name));
        Ok(true)
    }

    /// Reads a log to its end. Returns false if it was interrupted.
    pub(super) fn read(
        &mut self,
        input: &mut impl Read,
        interrupt: &AtomicBool,
    ) -> io::Result<bool> {
        // A longer line is not a record of the run.
        let longest = BUFFER.max(2 * self.sent.longest());
        let mut buffer = vec![0; BUFFER];
        let mut filled = 0;
        // Set while a longer line is skipped: whether it has contained the run's name so far.
        let mut skipping = None;
        loop {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let n = match input.read(&mut buffer[filled..]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.found.bytes += n as u64;
            if n == 0 {
                self.found.torn += u64::from(filled > 0 || skipping.is_some());
                return Ok(true);
            }
            let searched = filled;
            filled += n;
            if let Some(end) = memrchr(b'\n', &buffer[searched..filled]) {
                let end = searched + end + 1;
                self.rest_and_lines(&buffer[..end], skipping.take());
                buffer.copy_within(end..filled, 0);
                filled -= end;
            } else if filled == buffer.len() && buffer.len() < longest {
                buffer.resize(longest, 0);
            } else if filled == buffer.len()
                && let Some(nul @ 1..) = memrchr(0, &buffer)
            {
                // A record may begin after the pages that a power cut zeroed.
                self.too_long(&buffer[..=nul], skipping.take().unwrap_or(false));
                buffer.copy_within(nul.., 0);
                filled -= nul;
            } else if filled == buffer.len() {
                skipping = Some(self.too_long(&buffer, skipping.unwrap_or(false)));
                filled = 0;
            }
        }
    }

    /// Takes whole lines, the first of which may be the rest of a line that is skipped.
    fn rest_and_lines(&mut self, mut lines: &[u8], skipping: Option<bool>) {
        if let Some(named) = skipping {
            let end = memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
            let (rest, others) = lines.split_at(end);
            self.too_long(rest, named);
            lines = others;
        }
        self.lines(lines);
    }

    /// Takes a part of a line that is too long to be a record. `named` is whether the parts before
    /// contained the run's name. Returns whether the line has contained it so far.
    fn too_long(&mut self, piece: &[u8], named: bool) -> bool {
        if named || self.run.find(piece).is_none() {
            return named;
        }
        self.found.damaged(piece);
        true
    }
}
