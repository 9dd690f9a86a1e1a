//! The line that shows how far a run is, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::drive::figures::Second;
use crate::units::{count, latency, rate};

/// A progress bar on stderr; nothing at all where stderr is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Messages; otherwise milliseconds.
    by_messages: bool,
}

impl Progress {
    /// Until `duration` is over or `messages` are acknowledged, whichever is said.
    pub(crate) fn new(duration: Option<Duration>, messages: Option<u64>) -> Self {
        let length = match (duration, messages) {
            (Some(duration), _) => duration.as_millis() as u64,
            (None, messages) => messages.unwrap_or(0),
        };
        // Hidden by itself where stderr is no terminal.
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let template = "{bar:30} {percent:>3} %  {msg}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        let by_messages = duration.is_none();
        Self { bar, by_messages }
    }

    /// So far in the making of connections.
    pub(crate) fn connecting(&self, made: usize, of: usize) {
        let (made, of) = (count(made as u64), count(of as u64));
        self.bar.set_message(format!("{made} of {of} connections"));
    }

    /// So far in the run.
    pub(crate) fn advance(&self, elapsed: Duration, acknowledged: u64) {
        let position = if self.by_messages {
            acknowledged
        } else {
            elapsed.as_millis() as u64
        };
        self.bar.set_position(position);
    }

    /// What the last second was like.
    pub(crate) fn second(&self, second: &Second) {
        let length = (second.to_s - second.from_s).max(0.001);
        let rate = rate(second.acknowledged as f64 / length);
        let p99 = second.latency_ns.as_ref();
        let p99 = p99.map_or_else(|| "-".to_owned(), |l| latency(l.p99 as f64));
        self.bar.set_message(format!("{rate}/s  p99 {p99}"));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
