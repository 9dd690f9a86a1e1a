//! The command `client read`: prints the messages in the logs of servers that acknowledge lines.
//!
//! - `options`: the command-line options
//! - `logs`: the lines of the logs, in order or as they are written
//! - `message`: parser of a record
//! - `select`: filter of the messages
//! - `once`: order, repeats and gaps of the numbered lines of each sender
//! - `output`: formats of the output

mod logs;
mod message;
mod once;
mod options;
mod output;
mod select;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::ops::ControlFlow;
use std::process::ExitCode;

use common::args::Page;
use common::output::report;
use common::program::Names;
use common::record::{self, Format};
use common::units::plural;

use crate::logs::Logs;
use crate::message::Message;
use crate::once::Once;
use crate::options::{COMMAND, Options};
use crate::output::Output;
use crate::select::Selection;

/// Exit code if a number of a sender is missing.
const EXIT_MISSING: u8 = 4;

/// The options of `client read`.
pub fn page(names: &Names) -> Page {
    COMMAND.page(names)
}

/// Runs `client read`; `args` are the arguments after it.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let options = match COMMAND.read(Options::default(), args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match Reading::new(options).and_then(Reading::run) {
        Ok(code) => code,
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

/// A failed write is ignored: stderr may be closed, and the exit code reports the failure too.
fn say(text: &str) {
    report("client read", text);
}

struct Reading {
    options: Options,
    selection: Selection,
    output: Output<io::Stdout>,
    once: Option<Once>,
    /// The newest messages so far, with `-last`.
    last: VecDeque<Message>,
    /// The number of lines that are not records.
    foreign: u64,
    /// The format of the last record.
    format: Option<Format>,
    /// Whether the reader of stdout closed it.
    done: bool,
}

impl Reading {
    fn new(options: Options) -> Result<Self, String> {
        Ok(Self {
            selection: Selection::new(&options)?,
            output: Output::new(io::stdout(), options.show),
            once: options.once.then(|| Once::new(options.is_partial(), options.hold)),
            last: VecDeque::new(),
            foreign: 0,
            format: None,
            done: false,
            options,
        })
    }

    fn run(mut self) -> Result<ExitCode, String> {
        let mut logs = Logs::open(&self.options)?;
        loop {
            let step = logs.next(|line| self.take_line(line))?;
            for notice in logs.notices() {
                say(&notice);
            }
            if self.done {
                break;
            }
            match step {
                logs::Step::More => {}
                logs::Step::End => break,
                logs::Step::CaughtUp => {
                    self.show_last()?;
                    self.flush()?;
                    if logs.wait()?.is_break() {
                        break;
                    }
                }
            }
        }
        for log in logs.torn() {
            self.foreign += 1;
            say(&format!("{log} ends with a torn record, which was never acknowledged"));
        }
        self.conclude()
    }

    fn take_line(&mut self, line: &[u8]) -> Result<ControlFlow<()>, String> {
        if !self.take_record(line)? {
            self.foreign += 1;
            if self.foreign == 1 {
                let line = record::printable(line, 120);
                say(&format!("no record: '{line}' (others are counted)"));
            }
            // A power cut may have left garbage before a whole record.
            if let Some(begin) = record::last_in(line, self.format) {
                self.take_record(&line[begin..])?;
            }
        }
        Ok(if self.done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Returns false if the line is not a record.
    fn take_record(&mut self, line: &[u8]) -> Result<bool, String> {
        let Ok(message) = Message::parse(line, self.selection.wants_time()) else {
            return Ok(false);
        };
        self.format = Some(if line.starts_with(b"{") { Format::Json } else { Format::Original });
        match message {
            Some(message) if self.selection.wants(&message) => self.take(message)?,
            _ => {}
        }
        Ok(true)
    }

    fn take(&mut self, message: Message) -> Result<(), String> {
        let Some(once) = &mut self.once else {
            return self.pass(message);
        };
        once.take(message);
        while let Some(message) = self.once.as_mut().and_then(Once::ready) {
            self.pass(message)?;
        }
        Ok(())
    }

    /// Prints a message, or keeps it for `-last`.
    fn pass(&mut self, message: Message) -> Result<(), String> {
        let Some(most) = self.options.last else {
            return self.show(&message);
        };
        self.last.push_back(message);
        if self.last.len() > most {
            self.last.pop_front();
        }
        Ok(())
    }

    fn show_last(&mut self) -> Result<(), String> {
        for message in std::mem::take(&mut self.last) {
            self.show(&message)?;
        }
        // Later messages are printed as they come.
        self.options.last = None;
        Ok(())
    }

    fn show(&mut self, message: &Message) -> Result<(), String> {
        let shown = self.output.show(message);
        self.check(shown)
    }

    fn flush(&mut self) -> Result<(), String> {
        let flushed = self.output.flush();
        self.check(flushed)
    }

    /// A closed stdout is not an error. Nothing more is printed.
    fn check(&mut self, written: io::Result<()>) -> Result<(), String> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.done = true;
                Ok(())
            }
            written => written.map_err(|error| format!("cannot write to stdout: {error}")),
        }
    }

    fn conclude(mut self) -> Result<ExitCode, String> {
        while let Some(message) = self.once.as_mut().and_then(Once::rest) {
            self.pass(message)?;
        }
        self.show_last()?;
        self.flush()?;
        if self.foreign > 0 {
            say(&format!(
                "{} no record",
                match self.foreign {
                    1 => "1 line is".to_owned(),
                    n => format!("{} are", plural(n, "line")),
                }
            ));
        }
        let mut missing = false;
        for account in self.once.iter().flat_map(Once::accounts) {
            say(&account.to_string());
            missing |= account.has_gaps();
        }
        Ok(if missing {
            ExitCode::from(EXIT_MISSING)
        } else if self.options.strict && self.foreign > 0 {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
