//! Coordinator of a run: checks the limits, makes the first connection, starts the workers and
//! collects their figures.

pub(crate) mod clock;
mod connection;
pub(crate) mod counters;
pub(crate) mod figures;
pub(crate) mod plan;
mod progress;
pub(crate) mod replies;
mod schedule;
mod timer;
pub(crate) mod usage;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use common::connect::connect;
use common::process::raise_descriptor_limit;

use crate::drive::clock::{Nanos, nanos};
use crate::drive::figures::Figures;
use crate::drive::plan::{Control, Done, Plan, WorkerMessage};
use crate::drive::progress::Progress;
use crate::drive::schedule::Schedule;
use crate::drive::worker::Worker;
use crate::message::ack_log::AckLog;

/// Descriptors for other things than connections: the standard streams, files, and a few per
/// thread.
const DESCRIPTORS: usize = 24;
const DESCRIPTORS_PER_THREAD: usize = 4;

/// How often the coordinator checks for signals and updates the progress bar.
const TICK: Duration = Duration::from_millis(50);

/// Maximum wait for replies after an interrupt.
const PATIENCE: Duration = Duration::from_secs(1);

/// The error of a run that was interrupted before its first message.
const INTERRUPTED: &str = "interrupted";

/// The result of a run.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) plan: Arc<Plan>,
    pub(crate) control: Arc<Control>,
    pub(crate) start: Nanos,
    pub(crate) figures: Figures,
    pub(crate) connect_times: Vec<Nanos>,
    /// Time until all connections were ready.
    pub(crate) ready_in: Duration,
    /// By worker.
    pub(crate) done: Vec<Done>,
    pub(crate) interrupted: bool,
}

/// Runs the load.
///
/// # Errors
///
/// The text is for the user.
pub(crate) fn run(plan: Plan, interrupt: &AtomicBool) -> Result<RunResult, String> {
    check_descriptors(&plan)?;
    let progress = Progress::new(&plan);
    let started = Instant::now();
    // This finds out which address of the host answers.
    let first = connect(&plan.load.host, plan.load.port, Duration::from_nanos(plan.load.timeout))?;
    let address = first.peer_addr().map_err(|error| error.to_string())?;
    let took = started.elapsed();
    let plan = Arc::new(plan);
    let control = Arc::new(Control::new(&plan, address));
    let (coordinator, inbox) = mpsc::channel();
    let mut wakers = Vec::new();
    let mut first = Some((first, took));
    let mut workers = Vec::new();
    for number in 0..plan.load.threads {
        let made = Worker::new(plan.clone(), control.clone(), coordinator.clone(), number);
        let (mut worker, waker) = made.map_err(|error| error.to_string())?;
        if let Some((stream, took)) = first.take() {
            worker.adopt(stream, took);
        }
        wakers.push(waker);
        workers.push(worker);
    }
    drop(coordinator);
    // Nothing else sets them, so this cannot fail.
    _ = control.wakers.set(wakers);
    for worker in workers {
        let name = "load".to_owned();
        let spawned = thread::Builder::new().name(name).spawn(|| worker.run());
        spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    let mut coordinator = Coordinator {
        figures: Figures::new(plan.load.threads),
        progress,
        plan,
        control,
        inbox,
        interrupt,
        connect_times: Vec::new(),
        done: BTreeMap::new(),
    };
    let outcome = coordinator.conduct(started);
    coordinator.progress.finish();
    outcome
}

fn check_descriptors(plan: &Plan) -> Result<(), String> {
    let limit = raise_descriptor_limit();
    let needed = plan.load.connections + DESCRIPTORS + DESCRIPTORS_PER_THREAD * plan.load.threads;
    if needed > limit {
        return Err(format!(
            "{} connections need {needed} descriptors and this process may have {limit}: \
             ask for fewer, or raise the limit (ulimit -Hn)",
            plan.load.connections
        ));
    }
    Ok(())
}

struct Coordinator<'a> {
    plan: Arc<Plan>,
    control: Arc<Control>,
    inbox: Receiver<WorkerMessage>,
    interrupt: &'a AtomicBool,
    progress: Progress,
    figures: Figures,
    connect_times: Vec<Nanos>,
    done: BTreeMap<usize, Done>,
}

impl Coordinator<'_> {
    fn conduct(&mut self, started: Instant) -> Result<RunResult, String> {
        self.await_connections()?;
        let ready_in = started.elapsed();
        let start = self.start();
        self.progress.begin();
        let mut stopped = false;
        while self.done.len() < self.plan.load.threads {
            self.hear()?;
            let elapsed = self.plan.clock.now().saturating_sub(start);
            let acknowledged = self.control.acknowledged.load(Ordering::Relaxed);
            self.progress.advance(elapsed, acknowledged);
            if self.interrupt.load(Ordering::Relaxed) {
                self.control.stop.store(true, Ordering::Relaxed);
            }
            if !stopped && self.control.stop.load(Ordering::Relaxed) {
                stopped = true;
                let patience = nanos(PATIENCE).min(self.plan.load.timeout);
                let give_up_at = self.plan.clock.now() + patience;
                self.control.give_up_at.store(give_up_at, Ordering::Relaxed);
                self.control.wake();
            }
        }
        Ok(RunResult {
            plan: self.plan.clone(),
            control: self.control.clone(),
            start,
            figures: std::mem::replace(&mut self.figures, Figures::new(0)),
            connect_times: std::mem::take(&mut self.connect_times),
            ready_in,
            done: std::mem::take(&mut self.done).into_values().collect(),
            interrupted: self.interrupt.load(Ordering::Relaxed),
        })
    }

    /// Sets the start of the run to 1 ms from now, wakes the workers and returns the start.
    fn start(&self) -> Nanos {
        let plan = &self.plan;
        let start = plan.clock.now() + 1_000_000;
        if let Some(rate) = plan.load.rate {
            let begin = start + plan.load.warmup;
            let end = plan.load.duration.map_or(Nanos::MAX, |d| begin.saturating_add(d));
            let schedule = Schedule::new((start, begin, end), rate, plan.load.messages);
            // Nothing else sets it, so this cannot fail.
            _ = self.control.schedule.set(schedule);
        }
        self.control.start.store(start, Ordering::Release);
        self.control.wake();
        start
    }

    fn await_connections(&mut self) -> Result<(), String> {
        let wanted = self.plan.load.connections;
        while self.connect_times.len() < wanted {
            let made = self.control.connected.load(Ordering::Relaxed);
            self.progress.connecting(made);
            let heard = self.hear();
            let interrupted = self.interrupt.load(Ordering::Relaxed);
            if heard.is_ok() && !interrupted {
                continue;
            }
            self.control.abort.store(true, Ordering::Relaxed);
            self.control.wake();
            let made = self.control.connected.load(Ordering::Relaxed);
            let address = self.control.address;
            let why = heard.err().unwrap_or_else(|| INTERRUPTED.to_owned());
            return Err(format!("connected {made} of {wanted} to {address}: {why}"));
        }
        Ok(())
    }

    /// Waits for a message from a worker, for one tick, and takes it in.
    fn hear(&mut self) -> Result<(), String> {
        match self.inbox.recv_timeout(TICK) {
            Ok(WorkerMessage::Connected(times)) => self.connect_times.extend(times),
            Ok(WorkerMessage::Failed(why)) => return Err(why),
            Ok(WorkerMessage::Interval(interval)) => {
                if let Some(second) = self.figures.add(interval) {
                    self.progress.second(&second);
                }
            }
            Ok(WorkerMessage::Done(mut done)) => {
                for second in self.figures.leave(done.counters.roll()) {
                    self.progress.second(&second);
                }
                self.done.insert(done.worker, *done);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err("a worker thread ended early: this is a bug".to_owned());
            }
        }
        Ok(())
    }
}

impl RunResult {
    /// The time when the measurement began, after the warm-up.
    pub(crate) fn begin(&self) -> Nanos {
        self.start + self.plan.load.warmup
    }

    /// The acknowledgement logs of all connections, indexed by connection number.
    pub(crate) fn take_ack_logs(&mut self) -> Vec<AckLog> {
        let made = self.control.next_connection.load(Ordering::Relaxed);
        let mut ack_logs = vec![AckLog::default(); made as usize];
        for done in &mut self.done {
            for (number, ack_log) in std::mem::take(&mut done.ack_logs) {
                ack_logs[number as usize] = ack_log;
            }
        }
        ack_logs
    }
}
