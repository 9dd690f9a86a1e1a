//! The turn-taking client: `-nt` threads share one connection and write strictly one after
//! another, thread 0, 1, … n-1 in each of `-ni` rounds. A thread prints its line, sends it, waits
//! for the reply `ok` and hands the turn on.
//!
//! - `options`: what can be typed
//! - `connect`: from a host name to a connection, in bounded time
//! - `connection`: one message out, one reply in; everything a server can do wrong
//! - `ring`: whose turn it is

mod connect;
mod connection;
mod options;
mod ring;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use common::args::{self, Invocation};
use common::summary::Summary;
use hdrhistogram::Histogram;

use self::connection::Connection;
use self::options::{COMMAND, Options};
use self::ring::Ring;

/// Enough for what a thread does here; a thousand threads cost little.
const STACK_BYTES: usize = 128 * 1024;

/// `client`: reads the command line, takes the turns, says how it went.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let options = match COMMAND.parse(args) {
        Ok(Invocation::Run(given)) => Options::new(&given),
        Ok(Invocation::Print(text)) => return args::print(&text),
        Err(error) => Err(error),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => return COMMAND.refuse(&error),
    };
    let (last_words, code) = match run(&options) {
        Ok(summary) => (summary.to_string(), ExitCode::SUCCESS),
        Err(End::StdoutClosed) => return ExitCode::SUCCESS,
        Err(End::Failed(why)) => (why, ExitCode::FAILURE),
    };
    // Nobody may be reading; the exit code tells all the same.
    _ = writeln!(io::stderr(), "client: {last_words}");
    code
}

/// Why the turns ended before the last one.
enum End {
    /// Who read the lines has had enough: no error.
    StdoutClosed,
    /// One line that says what happened.
    Failed(String),
}

fn run(options: &Options) -> Result<Summary, End> {
    let stream =
        connect::connect(&options.host, options.port, options.timeout).map_err(End::Failed)?;
    let connection = Connection::new(stream, options.framing, options.timeout)
        .map_err(|error| End::Failed(format!("cannot set up the connection: {error}")))?;
    let ring = Ring::new(options.threads, Session::new(connection, options));
    let take_turns = |k| {
        (0..options.rounds).all(|i| ring.turn(k, |session| session.exchange(k, i)));
    };
    thread::scope(|scope| {
        for k in 0..options.threads {
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn_scoped(scope, move || take_turns(k)) {
                let of = options.threads;
                let why = format!("cannot start thread {k} of {of}: {error}; try a smaller -nt");
                ring.stop(End::Failed(why));
                return;
            }
        }
        // Nothing is sent unless all threads are there.
        ring.start();
    });
    ring.finish()?.finish()
}

/// What the threads share: the connection and the figures.
struct Session<'a> {
    options: &'a Options,
    connection: Connection,
    /// The line to print, ended by LF; its buffer is used again and again.
    line: Vec<u8>,
    /// In nanoseconds, from just before a message is sent to its whole reply.
    round_trips: Histogram<u64>,
    worst: Duration,
    started: Option<Instant>,
    time: Duration,
}

impl<'a> Session<'a> {
    fn new(connection: Connection, options: &'a Options) -> Self {
        Self {
            options,
            connection,
            line: Vec::new(),
            round_trips: Histogram::new(3).expect("3 significant digits are within 0 to 5"),
            worst: Duration::ZERO,
            started: None,
            time: Duration::ZERO,
        }
    }

    /// The turn of thread `k` in round `i`. The line is printed before it is sent, so that a slow
    /// terminal is no part of the round trip.
    fn exchange(&mut self, k: usize, i: u64) -> Result<(), End> {
        let v = self.options.formula.value(i);
        self.line.clear();
        writeln!(self.line, "Thread {k}, iteration {v}").expect("a Vec takes every write");
        if !self.options.quiet {
            print(&self.line)?;
        }
        let text = &self.line[..self.line.len() - 1];
        let mut message = text.to_vec();
        self.options.framing.finish_message(&mut message, 0);
        let sent = Instant::now();
        let started = *self.started.get_or_insert(sent);
        self.connection.exchange(&message).map_err(|failure| {
            let text = String::from_utf8_lossy(text);
            self.failed(&format!("{failure} (at '{text}'"))
        })?;
        let now = Instant::now();
        let round_trip = now - sent;
        self.round_trips
            .record(u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX))
            .expect("the histogram grows as needed");
        self.worst = self.worst.max(round_trip);
        self.time = now - started;
        Ok(())
    }

    /// After the last turn: takes leave of the server and adds up.
    fn finish(mut self) -> Result<Summary, End> {
        self.connection
            .finish()
            .map_err(|failure| self.failed(&format!("{failure} (at the end")))?;
        let median = Duration::from_nanos(self.round_trips.value_at_quantile(0.5));
        Ok(Summary {
            messages: self.round_trips.len(),
            time: self.time,
            // The histogram rounds up.
            median: median.min(self.worst),
            worst: self.worst,
        })
    }

    fn failed(&self, what: &str) -> End {
        let (peer, acknowledged) = (self.connection.peer(), self.round_trips.len());
        End::Failed(format!(
            "{peer}: {what}, {acknowledged} acknowledged before)"
        ))
    }
}

fn print(line: &[u8]) -> Result<(), End> {
    io::stdout().write_all(line).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            End::StdoutClosed
        } else {
            End::Failed(format!("cannot write to stdout: {error}"))
        }
    })
}
