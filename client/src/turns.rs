//! Turn-taking client: `-nt` threads share one connection and write strictly one after another,
//! thread 0, 1, … n-1 in each of `-ni` rounds. A thread prints its line, sends it, waits for the
//! reply `ok` and hands the turn on.
//!
//! - `options`: the command-line options
//! - `connection`: one message out, one reply in, and every server error
//! - `wire`: the socket, with TLS or without
//! - `round_robin`: the order of the turns
//! - `interrupt`: Ctrl-C
//! - `limit`: how many threads the system allows

mod connection;
mod interrupt;
mod limit;
mod options;
mod round_robin;
mod wire;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use common::connect::connect;
use common::output::{report, write_all};
use common::program::named;
use common::summary::Summary;
use hdrhistogram::Histogram;
use rustix::io::ioctl_fionread;
use tls::Connector;

use self::connection::Connection;
use self::interrupt::{EXIT_INTERRUPTED, Interrupt};
pub(crate) use self::options::COMMAND;
use self::options::Options;
use self::round_robin::RoundRobin;

/// Enough for a thread's work here, and small enough for a thousand threads.
const STACK_BYTES: usize = 128 * 1024;

/// Entry point of `client` without a command: parses the options, takes the turns and prints the
/// summary.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let options = match COMMAND.read(Options::default(), args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let warned = warn_of_input();
    let end = run(&options);
    if !warned {
        // The input may have come later.
        warn_of_input();
    }
    let (last_words, code) = match end {
        Ok(summary) => (summary.to_string(), ExitCode::SUCCESS),
        Err(End::StdoutClosed) => return ExitCode::SUCCESS,
        Err(End::Interrupted(done)) => {
            let done = done.map_or_else(
                || "nothing was acknowledged".to_owned(),
                |summary| summary.to_string(),
            );
            (format!("interrupted: {done}"), EXIT_INTERRUPTED.into())
        }
        Err(End::Failed(why)) => (why, ExitCode::FAILURE),
    };
    say(&last_words);
    code
}

/// Warns if data waits on standard input, and returns whether it does. Someone who pipes lines into
/// this client expects it to send them. A terminal does not count.
fn warn_of_input() -> bool {
    let stdin = io::stdin();
    let waiting = !stdin.is_terminal() && ioctl_fionread(&stdin).is_ok_and(|bytes| bytes > 0);
    if waiting {
        let send = named("client send");
        say(&format!(
            "there is something on standard input, and it is not sent: this client sends lines of \
             its own; '{send}' sends yours"
        ));
    }
    waiting
}

/// A failed write is ignored: stderr may be closed, and the exit code reports the failure too.
fn say(text: &str) {
    report("client", text);
}

/// Why the turns ended early.
enum End {
    /// The reader of stdout closed it; not an error.
    StdoutClosed,
    /// A signal came. Holds the summary so far, if a message was acknowledged.
    Interrupted(Option<Summary>),
    /// One line that says what failed.
    Failed(String),
}

fn run(options: &Options) -> Result<Summary, End> {
    limit::check(options.threads).map_err(End::Failed)?;
    let session = Connector::open(&options.tls).and_then(|connector| {
        let begun = connector.map(|connector| connector.begin(&options.host));
        begun.transpose()
    });
    let session = session.map_err(End::Failed)?;
    let stream = connect(&options.host, options.port, options.timeout).map_err(End::Failed)?;
    let address = stream.peer_addr();
    let cannot_set_up = |error| match address {
        Ok(address) => End::Failed(format!("cannot set up the connection to {address}: {error}")),
        Err(_) => End::Failed(format!("cannot set up the connection: {error}")),
    };
    let interrupt = stream.try_clone().and_then(Interrupt::watch);
    let interrupt = interrupt.map_err(cannot_set_up)?;
    let connection = Connection::open(stream, session, options.framing, options.timeout);
    let connection = connection.map_err(cannot_set_up)?;
    let session = Session::new(connection, interrupt, options);
    let round_robin = RoundRobin::new(options.threads, session);
    let take_turns = |k| {
        (0..options.rounds).all(|i| round_robin.turn(k, |session| session.exchange(k, i)));
    };
    thread::scope(|scope| {
        for k in 0..options.threads {
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn_scoped(scope, move || take_turns(k)) {
                let of = options.threads;
                let why = format!("cannot start thread {k} of {of}: {error}; try a smaller -nt");
                round_robin.stop(End::Failed(why));
                return;
            }
        }
        // No thread sends until all have started.
        round_robin.start();
    });
    round_robin.finish()?.finish()
}

/// State that the threads share: the connection and the measurements.
struct Session<'a> {
    options: &'a Options,
    connection: Connection,
    interrupt: Interrupt,
    /// The line to print, with its LF. The buffer is reused.
    line: Vec<u8>,
    /// In nanoseconds, from just before the send to the end of the reply.
    round_trips: Histogram<u64>,
    worst: Duration,
    started: Option<Instant>,
    time: Duration,
}

impl<'a> Session<'a> {
    fn new(connection: Connection, interrupt: Interrupt, options: &'a Options) -> Self {
        Self {
            options,
            connection,
            interrupt,
            line: Vec::new(),
            round_trips: Histogram::new(3).expect("3 significant digits are within 0 to 5"),
            worst: Duration::ZERO,
            started: None,
            time: Duration::ZERO,
        }
    }

    /// The turn of thread `k` in round `i`. The line is printed before it is sent, so that the
    /// round trip does not include a slow terminal.
    fn exchange(&mut self, k: usize, i: u64) -> Result<(), End> {
        if self.interrupt.is_asked() {
            return Err(self.interrupted());
        }
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
        if let Err(failure) = self.connection.exchange(&message) {
            let text = String::from_utf8_lossy(text);
            return Err(self.failed(&format!("{failure} (at '{text}'")));
        }
        let now = Instant::now();
        let round_trip = now - sent;
        self.round_trips
            .record(u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX))
            .expect("the histogram grows as needed");
        self.worst = self.worst.max(round_trip);
        self.time = now - started;
        Ok(())
    }

    /// Closes the connection after the last turn and returns the summary.
    fn finish(mut self) -> Result<Summary, End> {
        self.connection
            .finish()
            .map_err(|failure| self.failed(&format!("{failure} (at the end")))?;
        Ok(self.summary())
    }

    /// The summary so far.
    fn summary(&self) -> Summary {
        let median = Duration::from_nanos(self.round_trips.value_at_quantile(0.5));
        Summary {
            messages: self.round_trips.len(),
            time: self.time,
            // The histogram rounds up to its resolution.
            median: median.min(self.worst),
            worst: self.worst,
        }
    }

    fn interrupted(&self) -> End {
        End::Interrupted((!self.round_trips.is_empty()).then(|| self.summary()))
    }

    /// Reports a failure as an interrupt if a signal has shut down the connection.
    fn failed(&self, what: &str) -> End {
        if self.interrupt.is_asked() {
            return self.interrupted();
        }
        let (peer, acknowledged) = (self.connection.peer(), self.round_trips.len());
        End::Failed(format!("{peer}: {what}, {acknowledged} acknowledged before)"))
    }
}

fn print(line: &[u8]) -> Result<(), End> {
    write_all(io::stdout(), line).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            End::StdoutClosed
        } else {
            End::Failed(format!("cannot write to stdout: {error}"))
        }
    })
}
