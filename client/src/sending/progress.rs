//! Progress bar and summary of `client send`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Instant;

use common::output::report;
use common::units::{count, plural, rate, seconds};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::options::Options;

/// Prints a message to stderr. A failed write is ignored: the exit code reports the failure too.
pub(super) fn say(text: &str) {
    report("client send", text);
}

/// The counts of a run so far.
pub(super) struct Figures {
    /// The name in the tag of each line.
    pub(super) id: Option<String>,
    /// Lines read.
    pub(super) taken: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) sent_again: u64,
    /// Lines neither acknowledged nor refused.
    pub(super) left: u64,
    pub(super) last_ok: Option<Instant>,
    begun: Instant,
}

impl Figures {
    pub(super) fn new(id: Option<String>) -> Self {
        Self {
            id,
            taken: 0,
            acknowledged: 0,
            refused: 0,
            sent_again: 0,
            left: 0,
            last_ok: None,
            begun: Instant::now(),
        }
    }
}

/// A progress bar on a terminal. Elsewhere only messages are printed.
pub(super) struct Progress {
    bar: ProgressBar,
    json: bool,
}

impl Progress {
    pub(super) fn new(options: &Options, total: Option<u64>) -> Self {
        let target = if options.quiet {
            ProgressDrawTarget::hidden()
        } else {
            // indicatif hides the bar if stderr is not a terminal.
            ProgressDrawTarget::stderr_with_hz(5)
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{bar:30} {percent:>3} %  {msg}",
            None => "{msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        let json = options.json;
        Self { bar, json }
    }

    /// Updates the bar. `pending` lines have no reply yet, `on_the_way` of them are sent, and
    /// `position` counts bytes of the input.
    pub(super) fn show(&self, figures: &Figures, pending: usize, on_the_way: usize, position: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let elapsed = figures.begun.elapsed().as_secs_f64().max(1e-3);
        let silent = match figures.last_ok {
            Some(at) if pending > 0 && at.elapsed().as_secs() > 0 => {
                format!(", last ok {} ago", seconds(at.elapsed().as_secs() as f64))
            }
            None if pending > 0 => ", no ok yet".to_owned(),
            _ => String::new(),
        };
        self.bar.set_position(position);
        self.bar.set_message(format!(
            "{} acknowledged, {}/s, {} on the way{silent}",
            plural(figures.acknowledged, "line"),
            rate(figures.acknowledged as f64 / elapsed),
            count(on_the_way as u64),
        ));
    }

    /// Prints a message above the bar.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    /// Prints the summary, the last line.
    pub(super) fn conclude(&self, figures: &Figures) {
        self.bar.finish_and_clear();
        let elapsed = figures.begun.elapsed().as_secs_f64();
        let mut text = format!("{} acknowledged", plural(figures.acknowledged, "line"));
        let parts = [
            (figures.sent_again, "sent again"),
            (figures.refused, "refused"),
            (figures.left, "not acknowledged"),
        ];
        for (n, what) in parts.into_iter().filter(|(n, _)| *n > 0) {
            // Writing to a String cannot fail.
            _ = write!(text, ", {} {what}", count(n));
        }
        say(&format!("{text}, in {}", seconds(elapsed)));
        if self.json {
            print(figures, elapsed);
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    format: &'static str,
    version: u32,
    id: Option<&'a str>,
    lines: u64,
    acknowledged: u64,
    refused: u64,
    not_acknowledged: u64,
    sent_again: u64,
    elapsed_s: f64,
}

fn print(figures: &Figures, elapsed_s: f64) {
    let json = Json {
        format: "client-send",
        version: 1,
        id: figures.id.as_deref(),
        lines: figures.taken,
        acknowledged: figures.acknowledged,
        refused: figures.refused,
        not_acknowledged: figures.left,
        sent_again: figures.sent_again,
        elapsed_s,
    };
    if let Ok(text) = serde_json::to_string(&json) {
        // A reader that closed stdout is not an error.
        _ = writeln!(io::stdout(), "{text}");
    }
}
