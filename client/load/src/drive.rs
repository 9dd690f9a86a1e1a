//! The coordinator: checks, first connection, workers, and the report made of what they say.

pub(crate) mod clock;
mod connection;
pub(crate) mod figures;
pub(crate) mod plan;
mod progress;
pub(crate) mod replies;
mod schedule;
pub(crate) mod served;
mod tally;
mod timer;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use common::process::raise_descriptor_limit;
use mio::Waker;

use crate::commands::options::Options;
use crate::drive::clock::{Clock, Nanos, nanos};
use crate::drive::figures::Figures;
use crate::drive::plan::{Control, Done, News, Plan};
use crate::drive::progress::Progress;
use crate::drive::replies::Expected;
use crate::drive::worker::Worker;
use crate::message::ledger::Ledger;
use crate::message::template::Template;

/// Descriptors for what is not a connection: the standard streams, files, and a few per thread.
const DESCRIPTORS: usize = 24;
const DESCRIPTORS_PER_THREAD: usize = 4;

/// How often the coordinator looks at signals and draws.
const TICK: Duration = Duration::from_millis(50);

/// Replies are waited for no longer than this once a run was interrupted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a run ended that an interrupt ended before it began.
const INTERRUPTED: &str = "interrupted";

/// All that is known about a run when it is over.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) plan: Arc<Plan>,
    pub(crate) start: Nanos,
    pub(crate) figures: Figures,
    pub(crate) connect_times: Vec<Nanos>,
    /// Until all connections were ready.
    pub(crate) ready_in: Duration,
    /// By worker.
    pub(crate) done: Vec<Done>,
    pub(crate) interrupted: bool,
    pub(crate) error_seen: bool,
}

/// Runs the load; errors are for the user.
pub(crate) fn run(options: &Options, run: &str, interrupt: &AtomicBool) -> Result<Outcome, String> {
    check_descriptors(options)?;
    let started = Instant::now();
    let first = connect(options)?;
    let took = started.elapsed();
    let address = first.peer_addr().map_err(|error| error.to_string())?;
    let plan = Arc::new(plan(options, run, address));
    let control = Arc::new(Control::default());
    let (news, inbox) = mpsc::channel();
    let mut wakers = Vec::new();
    let mut first = Some((first, took));
    let mut workers = Vec::new();
    for number in 0..plan.workers {
        let made = Worker::new(plan.clone(), control.clone(), news.clone(), number);
        let (mut worker, waker) = made.map_err(|error| error.to_string())?;
        if let Some((stream, took)) = first.take() {
            worker.adopt(stream, took);
        }
        wakers.push(waker);
        workers.push(worker);
    }
    drop(news);
    for worker in workers {
        let name = "load".to_owned();
        let spawned = thread::Builder::new().name(name).spawn(|| worker.run());
        spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    let mut coordinator = Coordinator {
        figures: Figures::new(plan.workers),
        progress: Progress::new(
            options.duration.map(|d| d + options.warmup),
            options.messages,
        ),
        plan,
        control,
        inbox,
        wakers,
        interrupt,
        connect_times: Vec::new(),
        done: BTreeMap::new(),
    };
    let outcome = coordinator.conduct(started);
    coordinator.progress.finish();
    outcome
}

fn check_descriptors(options: &Options) -> Result<(), String> {
    let limit = raise_descriptor_limit();
    let needed = options.connections + DESCRIPTORS + DESCRIPTORS_PER_THREAD * options.threads;
    if needed > limit {
        return Err(format!(
            "{} connections need {needed} descriptors and this process may have {limit}: \
             ask for fewer, or raise the limit (ulimit -Hn)",
            options.connections
        ));
    }
    Ok(())
}

/// The first connection: it finds out which of the host's addresses answers.
fn connect(options: &Options) -> Result<TcpStream, String> {
    let (host, port) = (&options.host, options.port);
    let addresses = (host.as_str(), port).to_socket_addrs();
    let addresses = addresses.map_err(|error| format!("cannot resolve '{host}': {error}"))?;
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, options.timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(format!(
        "cannot connect to {host}:{port}: {last} (is the server running?)"
    ))
}

fn plan(options: &Options, run: &str, address: std::net::SocketAddr) -> Plan {
    // Checked when the options were read.
    let bytes = |text: &String| Template::unescape(text).unwrap_or_default();
    let ignored = options.ignore.iter().map(bytes).collect();
    let hello = options.hello.as_ref();
    Plan {
        clock: Clock::start(),
        address,
        workers: options.threads,
        connections: options.connections,
        pipeline: options.pipeline,
        message: options.message.template.bind(run),
        hello: hello.map(|hello| hello.template.bind(run)),
        greeting: options.greeting(),
        expected: Expected::new(bytes(&options.reply), options.reply_lines, ignored),
        stop_on_error: options.stop_on_error,
        timeout: nanos(options.timeout),
        connect_rate: options.connect_rate,
        rate: options.rate,
        warmup: nanos(options.warmup),
        duration: options.duration.map(nanos),
        messages: options.messages,
        pid: options.pid,
        keep: options.keeps_ledgers(),
    }
}

struct Coordinator<'a> {
    plan: Arc<Plan>,
    control: Arc<Control>,
    inbox: Receiver<News>,
    wakers: Vec<Waker>,
    interrupt: &'a AtomicBool,
    progress: Progress,
    figures: Figures,
    connect_times: Vec<Nanos>,
    done: BTreeMap<usize, Done>,
}

impl Coordinator<'_> {
    fn conduct(&mut self, started: Instant) -> Result<Outcome, String> {
        self.await_connections()?;
        let ready_in = started.elapsed();
        let start = self.plan.clock.now() + 1_000_000;
        self.control.start.store(start, Ordering::Release);
        self.wake();
        let mut stopped = false;
        while self.done.len() < self.plan.workers {
            self.hear()?;
            let elapsed = self.plan.clock.now().saturating_sub(start);
            let acknowledged = self.control.acknowledged.load(Ordering::Relaxed);
            self.progress
                .advance(Duration::from_nanos(elapsed), acknowledged);
            if self.interrupt.load(Ordering::Relaxed) {
                self.control.stop.store(true, Ordering::Relaxed);
            }
            if !stopped && self.control.stop.load(Ordering::Relaxed) {
                stopped = true;
                let patience = nanos(PATIENCE).min(self.plan.timeout);
                let give_up_at = self.plan.clock.now() + patience;
                self.control.give_up_at.store(give_up_at, Ordering::Relaxed);
                self.wake();
            }
        }
        Ok(Outcome {
            plan: self.plan.clone(),
            start,
            figures: std::mem::replace(&mut self.figures, Figures::new(0)),
            connect_times: std::mem::take(&mut self.connect_times),
            ready_in,
            done: std::mem::take(&mut self.done).into_values().collect(),
            interrupted: self.interrupt.load(Ordering::Relaxed),
            error_seen: self.control.error_seen.load(Ordering::Relaxed),
        })
    }

    fn await_connections(&mut self) -> Result<(), String> {
        let wanted = self.plan.connections;
        while self.connect_times.len() < wanted {
            let made = self.control.connected.load(Ordering::Relaxed);
            self.progress.connecting(made, wanted);
            let heard = self.hear();
            let interrupted = self.interrupt.load(Ordering::Relaxed);
            if heard.is_ok() && !interrupted {
                continue;
            }
            self.control.abort.store(true, Ordering::Relaxed);
            self.wake();
            let made = self.control.connected.load(Ordering::Relaxed);
            let address = self.plan.address;
            let why = heard.err().unwrap_or_else(|| INTERRUPTED.to_owned());
            return Err(format!("connected {made} of {wanted} to {address}: {why}"));
        }
        Ok(())
    }

    /// Takes in what workers say, for a moment.
    fn hear(&mut self) -> Result<(), String> {
        match self.inbox.recv_timeout(TICK) {
            Ok(News::Connected(times)) => self.connect_times.extend(times),
            Ok(News::Failed(why)) => return Err(why),
            Ok(News::Interval(interval)) => {
                if let Some(second) = self.figures.add(interval) {
                    self.progress.second(&second);
                }
            }
            Ok(News::Done(done)) => _ = self.done.insert(done.worker, *done),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err("a thread of the instrument ended early: this is a bug".to_owned());
            }
        }
        Ok(())
    }

    fn wake(&self) {
        for waker in &self.wakers {
            // A worker looks by itself within a second.
            _ = waker.wake();
        }
    }
}

impl Outcome {
    /// When the measurement began.
    pub(crate) fn begin(&self) -> Nanos {
        self.start + self.plan.warmup
    }

    /// The ledgers of all connections, by number.
    pub(crate) fn take_ledgers(&mut self) -> Vec<Ledger> {
        let mut ledgers = vec![Ledger::default(); self.plan.connections];
        for done in &mut self.done {
            for (index, ledger) in std::mem::take(&mut done.ledgers).into_iter().enumerate() {
                let number = self.plan.connection_number(done.worker, index);
                ledgers[number as usize] = ledger;
            }
        }
        ledgers
    }
}
