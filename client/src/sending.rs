//! The command `client send`: sends the lines of standard input, of files or of a growing file, and
//! resends each until the server acknowledges it.
//!
//! - `options`: the command-line options
//! - `input`: the source of the lines
//! - `progress`: the progress bar and the summary

mod input;
mod options;
mod progress;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use follow::FilePosition;
use send::state::{Progress as Kept, StateFile};
use send::{Event, Sender};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::input::{Input, InputLine};
pub(crate) use self::options::COMMAND;
use self::options::Options;
use self::progress::{Figures, Progress, say};

/// Exit code after a signal that left lines unacknowledged.
const EXIT_INTERRUPTED: u8 = 130;

/// How often to check signals, files and the progress bar if nothing else happens.
const TICK: Duration = Duration::from_millis(200);

/// How long the state file may lag behind the acknowledged lines. See `keep_state` for the limit in
/// lines.
const STATE_LAG: Duration = Duration::from_secs(1);

/// `args` are the arguments after `client send`.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let options = match COMMAND.read(Options::default(), args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match Sending::begin(options).and_then(Sending::run) {
        Ok(code) => code,
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

/// Counts SIGINT and SIGTERM. The first stops the program when all lines are acknowledged, the
/// second at once.
fn count_signals() -> io::Result<Arc<AtomicU32>> {
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().spawn(move || {
        for _ in signals.forever() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    Ok(count)
}

/// A line that was given to the sender.
struct OnTheWay {
    /// The text as it was read, for `-rejects`.
    text: Vec<u8>,
    /// The position after this line, in a followed file.
    after: Option<FilePosition>,
    /// The next number to use once this line is settled.
    next: u64,
    settled: bool,
}

struct Sending {
    options: Options,
    sender: Sender,
    input: Input,
    state: Option<StateFile>,
    /// The state that was written last, or will be written next.
    kept: Kept,
    /// How many lines are settled and not yet in the state file, and since when.
    unkept: usize,
    unkept_since: Instant,
    /// The lines given to the sender, from the oldest unsettled one on.
    on_the_way: VecDeque<OnTheWay>,
    /// The ticket of the first line in `on_the_way`.
    first_ticket: u64,
    /// The number of the next line, with `-id`.
    next: u64,
    rejects: Option<BufWriter<File>>,
    figures: Figures,
    progress: Progress,
    signals: Arc<AtomicU32>,
    gave_up: bool,
}

impl Sending {
    fn begin(options: Options) -> Result<Self, String> {
        let signals = count_signals().map_err(|error| format!("cannot handle signals: {error}"))?;
        let id = options.tag_name();
        let (state, kept) = match &options.state {
            Some(path) => {
                let (state, kept) = StateFile::open(path, options.begin, options.id.as_deref())?;
                (Some(state), kept)
            }
            None => (None, Kept { id: id.clone(), next: 1, place: None }),
        };
        let rejects = options.rejects.as_ref().map(|path| {
            let mut file = File::options();
            let file = file.create(true).append(true).open(path);
            file.map_err(|error| format!("cannot write {}: {error}", path.display()))
        });
        let rejects = rejects.transpose()?.map(BufWriter::new);
        let sender = Sender::new(options.config()?).map_err(|error| error.to_string())?;
        let input = Input::open(&options, kept.place.clone(), sender.registry())?;
        Ok(Self {
            progress: Progress::new(&options, input.total()),
            figures: Figures::new(id),
            sender,
            input,
            state,
            next: kept.next,
            kept,
            unkept: 0,
            unkept_since: Instant::now(),
            on_the_way: VecDeque::new(),
            first_ticket: 0,
            rejects,
            signals,
            gave_up: false,
            options,
        })
    }

    fn run(mut self) -> Result<ExitCode, String> {
        loop {
            if !self.is_stopping() {
                self.take_lines()?;
            }
            let is_over = self.input.has_ended() || self.is_stopping();
            if is_over && self.sender.pending() == 0 || self.gave_up || self.is_impatient() {
                break;
            }
            let wait = self.sender.wait(Some(TICK));
            wait.map_err(|error| format!("cannot wait for the server: {error}"))?;
            for event in self.sender.events() {
                self.take_note(event);
            }
            self.keep_state(false)?;
            let (pending, on_the_way) = (self.sender.pending(), self.sender.on_the_way());
            self.progress.show(&self.figures, pending, on_the_way, self.input.position());
        }
        self.conclude()
    }

    /// Whether a signal asked for a stop.
    fn is_stopping(&self) -> bool {
        self.signals.load(Ordering::Relaxed) > 0
    }

    /// Whether a second signal asked for a stop at once.
    fn is_impatient(&self) -> bool {
        self.signals.load(Ordering::Relaxed) > 1
    }

    /// Gives lines to the sender while it has room.
    fn take_lines(&mut self) -> Result<(), String> {
        while self.sender.has_room() && self.unkept + self.sender.pending() < self.options.pipeline
        {
            let Some(line) = self.input.next()? else {
                break;
            };
            for notice in self.input.notices() {
                self.progress.say(&notice);
            }
            self.remember_file(&line)?;
            self.take_line(&line);
        }
        Ok(())
    }

    /// Saves the name of the followed file before its first line is sent. The file may be renamed,
    /// and this program may end, before the first line is acknowledged.
    fn remember_file(&mut self, line: &InputLine) -> Result<(), String> {
        let (Some(state), Some(after), None) = (&self.state, &line.after, &self.kept.place) else {
            return Ok(());
        };
        self.kept.place = Some(after.beginning());
        state.write(&self.kept)
    }

    fn take_line(&mut self, line: &InputLine) {
        self.figures.taken += 1;
        let limit = self.options.max_message;
        let mut rest = line.text.as_slice();
        loop {
            let tag = match &self.figures.id {
                Some(id) => format!("@{id}:{} ", self.next),
                None => String::new(),
            };
            let room = limit.saturating_sub(tag.len());
            let (piece, is_last) = if rest.len() <= room {
                (rest, true)
            } else if self.options.split && room > 0 {
                (&rest[..input::cut(rest, room)], false)
            } else {
                let why = format!("longer than {limit} bytes (-max-message)");
                self.refuse_unsent(line, &why);
                return;
            };
            let message = [tag.as_bytes(), piece].concat();
            let mut refused = None;
            if self.options.framing == common::protocol::Framing::Nul && message.contains(&0) {
                refused = Some("it holds a NUL, which would end it");
            }
            if let Some(why) = refused {
                self.refuse_unsent(line, why);
                return;
            }
            self.next += 1;
            self.sender.send(&message);
            rest = &rest[piece.len()..];
            self.on_the_way.push_back(OnTheWay {
                text: piece.to_vec(),
                after: line.after.clone().filter(|_| is_last),
                next: self.next,
                settled: false,
            });
            if is_last {
                return;
            }
        }
    }

    /// Reports and counts a line that cannot be sent; the report gives its number.
    fn refuse_unsent(&mut self, line: &InputLine, why: &str) {
        let number = self.figures.taken;
        self.progress.say(&format!("line {number} is not sent: {why}"));
        self.reject(&line.text);
    }

    fn reject(&mut self, text: &[u8]) {
        self.figures.refused += 1;
        if let Some(rejects) = &mut self.rejects {
            let written = rejects.write_all(text).and_then(|()| rejects.write_all(b"\n"));
            if let Err(error) = written {
                self.progress.say(&format!("cannot write -rejects: {error}"));
                self.rejects = None;
            }
        }
    }

    fn take_note(&mut self, event: Event) {
        match event {
            Event::Kept(ticket) => {
                self.figures.acknowledged += 1;
                self.figures.last_ok = Some(Instant::now());
                self.settle(ticket.0);
            }
            Event::Refused(ticket, why) => {
                let at = (ticket.0 - self.first_ticket) as usize;
                let text = self.on_the_way.get(at).map(|line| line.text.clone());
                self.progress.say(&format!("a line was refused: {why}"));
                self.reject(&text.unwrap_or_default());
                self.settle(ticket.0);
            }
            Event::Lost(why) => self.progress.say(&format!("cannot send: {why}; trying again")),
            Event::Back(address, outage) => {
                let outage = common::units::seconds(outage.as_secs_f64());
                self.progress.say(&format!("{address} takes lines again, after {outage}"));
            }
            Event::GaveUp(why) => {
                self.gave_up = true;
                self.progress.say(&format!("gave up: {why}"));
            }
        }
    }

    /// Marks the line of this ticket as settled. The state advances to the first unsettled line.
    fn settle(&mut self, ticket: u64) {
        if let Some(line) = self.on_the_way.get_mut((ticket - self.first_ticket) as usize) {
            line.settled = true;
        }
        while self.on_the_way.front().is_some_and(|line| line.settled)
            && let Some(line) = self.on_the_way.pop_front()
        {
            self.first_ticket += 1;
            if self.unkept == 0 {
                self.unkept_since = Instant::now();
            }
            self.unkept += usize::from(self.state.is_some());
            self.kept.next = line.next;
            if line.after.is_some() {
                self.kept.place = line.after;
            }
        }
    }

    /// Writes the state file when it is due. A crash resends at most as many lines as can be in
    /// flight.
    fn keep_state(&mut self, now: bool) -> Result<(), String> {
        let Some(state) = &self.state else {
            return Ok(());
        };
        let many = self.unkept * 2 >= self.options.pipeline;
        let late = self.unkept > 0 && self.unkept_since.elapsed() >= STATE_LAG;
        if many || late || now && self.unkept > 0 {
            state.write(&self.kept)?;
            self.unkept = 0;
        }
        Ok(())
    }

    fn conclude(mut self) -> Result<ExitCode, String> {
        self.keep_state(true)?;
        if let Some(mut rejects) = self.rejects.take() {
            let flushed = rejects.flush();
            flushed.map_err(|error| format!("cannot write -rejects: {error}"))?;
        }
        self.figures.left = self.sender.pending() as u64;
        self.figures.sent_again = self.sender.sent_again();
        self.progress.conclude(&self.figures);
        let left = self.figures.left > 0;
        Ok(if left && self.is_stopping() {
            ExitCode::from(EXIT_INTERRUPTED)
        } else if left || self.figures.refused > 0 {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
