//! Lines of a NATS stream, in its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memchr::{memchr_iter, memrchr};
use nats::pull::{Pull, Start};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::step::{LOOK, Step, Taken, stop};
use crate::options::Options;

/// How long an outage may last without `-follow`: longer than a cluster takes to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far the clock of the stream may be behind the clocks of the servers that stamp records.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

pub(crate) struct Streamed {
    pull: Pull,
    /// With `-follow`: set by a signal.
    stop: Option<Arc<AtomicBool>>,
    /// Whether all messages that existed at the start were read.
    is_done: bool,
    /// Messages that end within a line.
    pub(super) torn: Vec<String>,
}

impl Streamed {
    /// Opens the stream of `-stream`, if that was given.
    pub(super) fn open(options: &Options) -> Result<Option<Self>, String> {
        let (patience, stop) = if options.follow {
            let stop = stop().map_err(|error| format!("cannot handle signals: {error}"))?;
            (None, Some(stop))
        } else {
            (Some(PATIENCE), None)
        };
        let pull = options.stream.open("client read", start(options), patience)?;
        Ok(pull.map(|pull| Self { pull, stop, is_done: false, torn: Vec::new() }))
    }

    pub(super) fn next(&mut self, mut take: impl FnMut(&[u8]) -> Taken) -> Result<Step, String> {
        let is_over = match &self.stop {
            Some(stop) => stop.load(Ordering::Relaxed),
            None => self.pull.is_done(),
        };
        if is_over {
            return Ok(Step::End);
        }
        if let Some(delivered) = self.pull.next(Instant::now() + LOOK)? {
            let payload = &delivered.message.payload;
            let end = memrchr(b'\n', payload).map_or(0, |at| at + 1);
            if end < payload.len() {
                self.torn.push(format!("message {}", delivered.sequence));
            }
            let mut start = 0;
            for end in memchr_iter(b'\n', payload) {
                if take(&payload[start..end])?.is_break() {
                    return Ok(Step::End);
                }
                start = end + 1;
            }
        }
        let was_done = std::mem::replace(&mut self.is_done, self.pull.is_done());
        Ok(match (was_done, self.is_done, self.pull.pending()) {
            (false, true, _) | (_, true, 0) => Step::CaughtUp,
            _ => Step::More,
        })
    }

    pub(super) fn notices(&mut self) -> Vec<String> {
        self.pull.notices()
    }
}

/// Where to begin reading so that all wanted records are included. The filter selects them later.
fn start(options: &Options) -> Start {
    let since = options.since.as_ref();
    let since = since.and_then(|since| since.0.checked_sub(CLOCKS_DIFFER.try_into().ok()?));
    let since = since.filter(|since| *since > OffsetDateTime::UNIX_EPOCH);
    if let Some(time) = since.and_then(|since| since.format(&Rfc3339).ok()) {
        return Start::Time(time);
    }
    let chooses = options.is_partial() || options.id.is_some() || options.once;
    match options.last {
        // Every message holds at least one record.
        Some(n) if !chooses => Start::Last(n as u64),
        _ => Start::First,
    }
}

#[cfg(test)]
mod tests {
    use common::args::Parsed;

    use super::*;
    use crate::options::COMMAND;

    #[test]
    fn reading_begins_no_later_than_it_must() {
        let since = "2026-11-25T03:35:12+01:00";
        let earlier = Start::Time("2026-11-25T03:30:12+01:00".to_owned());
        for (args, expected) in [
            (&["-since", since, "-last", "3"][..], earlier),
            (&["-since", "0001-01-01T00:00:00Z"], Start::First),
            (&["-last", "3"], Start::Last(3)),
            (&["-last", "3", "-once"], Start::First),
            (&["-last", "3", "-id", "a"], Start::First),
            (&["-last", "3", "-peer", "a"], Start::First),
            (&["-last", "3", "-until", since], Start::First),
            (&["-follow"], Start::First),
        ] {
            let asked = COMMAND.parse(Options::default(), [args, &["a.log"]].concat());
            let Ok(Parsed::Run(options)) = asked else { panic!("{args:?}: {asked:?}") };
            assert_eq!(start(&options), expected, "{args:?}");
        }
    }
}
