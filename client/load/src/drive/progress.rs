//! Progress bar of a run.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::drive::clock::Nanos;
use crate::drive::figures::Second;
use crate::drive::plan::Plan;
use common::units::{count, latency, rate};

/// A progress bar on stderr. It is hidden if stderr is not a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    connections: u64,
    warmup: Nanos,
    /// Time from the start of the run to the end of sending.
    duration: Option<Nanos>,
    messages: Option<u64>,
    /// Messages acknowledged by the end of the warm-up.
    warm: Option<u64>,
}

impl Progress {
    pub(crate) fn new(plan: &Plan) -> Self {
        // indicatif hides the bar if stderr is not a terminal.
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let connections = plan.load.connections as u64;
        let bar = ProgressBar::with_draw_target(Some(connections), target);
        set_style(&bar, "{bar:30} connecting: {msg}");
        Self {
            bar,
            connections,
            warmup: plan.load.warmup,
            duration: plan.load.duration.map(|d| plan.load.warmup.saturating_add(d)),
            messages: plan.load.messages,
            warm: None,
        }
    }

    /// Shows how many connections are made.
    pub(crate) fn connecting(&self, made: usize) {
        let made = made as u64;
        self.bar.set_position(made);
        let message = format!("{} of {}", count(made), count(self.connections));
        self.bar.set_message(message);
    }

    /// Switches from connecting to sending.
    pub(crate) fn begin(&self) {
        let left = if self.duration.is_some() {
            // With `-duration` the plan gives the time left, so no estimate is needed.
            "{prefix} left"
        } else {
            "{eta} left"
        };
        set_style(&self.bar, &format!("{{bar:30}} {{percent:>3}} %  {{msg}}  {left}"));
        self.bar.reset();
        self.bar.set_message("");
    }

    /// Shows the time since the start and the messages acknowledged since then.
    pub(crate) fn advance(&mut self, elapsed: Nanos, acknowledged: u64) {
        if elapsed < self.warmup {
            self.bar.set_message("warming up");
        } else {
            self.warm.get_or_insert(acknowledged);
        }
        let measured = acknowledged - self.warm.unwrap_or(acknowledged);
        let (at, of) = self.position(elapsed, measured);
        self.bar.set_length(of);
        self.bar.set_position(at.min(of));
        if let Some(duration) = self.duration {
            let left = Duration::from_nanos(duration.saturating_sub(elapsed));
            self.bar.set_prefix(clock(left));
        }
    }

    /// The progress and its maximum, in time or in messages, whichever ends sooner.
    fn position(&self, elapsed: Nanos, measured: u64) -> (u64, u64) {
        let by_time = self.duration.map(|duration| (elapsed, duration));
        let by_messages = self.messages.map(|messages| (measured, messages));
        let share = |&(at, of): &(u64, u64)| at as f64 / of.max(1) as f64;
        let both = by_time.into_iter().chain(by_messages);
        both.max_by(|a, b| share(a).total_cmp(&share(b))).unwrap_or_default()
    }

    /// Shows the figures of the last second.
    pub(crate) fn second(&self, second: &Second) {
        let rate = rate(second.acknowledged as f64);
        let p99 = second.latency_ns.as_ref();
        let p99 = p99.map_or_else(|| "-".to_owned(), |l| latency(l.p99 as f64));
        self.bar.set_message(format!("{rate}/s  p99 {p99}"));
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
}

/// The time left, rounded up to seconds: `1:05`, `2:00:00`.
fn clock(left: Duration) -> String {
    let seconds = left.as_millis().div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_of_whichever_ends_sooner() {
        let progress = |duration, messages| Progress {
            bar: ProgressBar::hidden(),
            connections: 1,
            warmup: 100,
            duration,
            messages,
            warm: None,
        };
        assert_eq!(progress(Some(1000), None).position(100, 7), (100, 1000));
        assert_eq!(progress(None, Some(50)).position(100, 7), (7, 50));
        assert_eq!(progress(Some(1000), Some(50)).position(100, 7), (7, 50));
        assert_eq!(progress(Some(1000), Some(50)).position(900, 7), (900, 1000));
    }

    #[test]
    fn what_was_acknowledged_in_the_warm_up_is_no_progress() {
        let mut progress = Progress {
            bar: ProgressBar::hidden(),
            connections: 1,
            warmup: 100,
            duration: None,
            messages: Some(1000),
            warm: None,
        };
        progress.advance(50, 700);
        assert_eq!(progress.bar.position(), 0);
        progress.advance(100, 800);
        progress.advance(200, 1000);
        assert_eq!(progress.bar.position(), 200);
        progress.advance(900, 9000);
        assert_eq!(progress.bar.position(), 1000);
    }

    #[test]
    fn time_left_reads_like_a_clock() {
        for (ms, text) in [(0, "0:00"), (900, "0:01"), (65_000, "1:05"), (7_200_000, "2:00:00")] {
            assert_eq!(clock(Duration::from_millis(ms)), text);
        }
    }
}
