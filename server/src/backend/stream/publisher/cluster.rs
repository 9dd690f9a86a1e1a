//! A simulation of the publisher and a cluster, driven by random schedules in virtual time.
//!
//! Three nodes keep one stream. Nodes are paused and killed, and leaders change. Packets are lost, repeated,
//! or delayed for minutes. The stream is full, loses messages to its limits, is deleted and created again.
//! Processes die during a batch, two use one identity, and a foreign client publishes. Each outcome is
//! compared with the stream, at once and later. After the faults have ended, every batch must be stored.
//! `FUZZ_SEED` replays a schedule; `FUZZ_CASES` sets their number.
//!
//! Agreement between the nodes is assumed: there is one sequence of stored messages. The following is assumed
//! as well. No client could detect the opposite, and it was never seen with real nodes:
//!
//! - Only the current leader returns the last message. It knows everything that is committed, unless its disk
//!   has failed.
//! - A former leader that does not know of its successor may permanently reject what is stored, but not what
//!   will be stored later.
//! - Of the copies of one attempt, it does not happen that one is permanently rejected and another one
//!   stored.
//! - An attempt in flight does not meet its expected sequence a second time. That could be the same number in
//!   a stream that was created again, or an empty subject after limits removed all later messages.
//! - The duplicate window is longer than the publisher retries if limits remove messages, if a foreign client
//!   publishes, or if a stream is created again under two servers of one identity.

mod faults;
mod nodes;
mod process;
mod requests;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Event;
use crate::backend::stream::identity::BatchId;
use faults::Fault;
use nodes::Node;
use process::Process;
use requests::Request;
use stream::{Rules, Stream};

const STREAM: &str = "LOG";
const SERVER: &str = "a";
const SUBJECT: &str = "LOG.a";

/// How long faults are injected.
const TROUBLE: Duration = Duration::from_secs(40);

/// After this long without faults, every batch is stored.
const RECOVERY: Duration = Duration::from_secs(10);

/// Events that must occur in a thousand schedules.
const COUNTED: [&str; 6] = [
    "kept",
    "refused",
    "unknown",
    "fenced",
    "an error for what is stored",
    "a disk fails under what is stored",
];

/// After this long, no packet is in flight any more.
const LAST_ARRIVAL: Duration = Duration::from_secs(600);

/// An upper bound for the events of a schedule, far above the real number.
const MAX_EVENTS: usize = 50_000;

#[test]
fn no_schedule_makes_it_lie() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = number("FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let cases = number("FUZZ_CASES").unwrap_or(2000);
    println!("FUZZ_SEED={seed}");
    let mut counts = BTreeMap::new();
    for case in 0..cases {
        let seed = seed.wrapping_add(case);
        if let Err(lie) = World::new(seed, &mut counts).run() {
            let mut world = World::new(seed, &mut counts);
            world.is_told = true;
            _ = world.run();
            panic!("schedule {case}: {lie}; FUZZ_SEED={seed} FUZZ_CASES=1 replays it");
        }
    }
    // Each of these cases must occur, or the test proves little.
    for what in COUNTED {
        let often = counts.get(what).copied().unwrap_or_default();
        assert!(cases < 1000 || often > 10, "{what}: {often} times");
    }
}

/// An event of the simulation, in the order of time.
#[derive(Debug)]
enum Happening {
    /// A request reaches the node that the process is connected to.
    Arrives(Request),
    /// A request reaches a node that is, or was, the leader.
    Judged(usize, Request),
    /// The proposal of this term's leader is committed.
    Agreed(u64),
    /// An election, if there is no leader.
    Elected,
    /// A paused node continues.
    Woken(usize),
    /// A killed node is back.
    Restarted(usize),
    /// A process receives something on a connection.
    Inbound(usize, u64, Event),
    /// A process is connected to a node, if the node is up.
    Connected(usize, usize),
    /// A connection of a process has ended.
    Disconnected(usize, u64),
    /// A process has another batch.
    Submitted(usize),
    /// Another process starts.
    Started,
    /// The stream is created.
    Created,
    /// A fault is injected.
    Fault,
}

/// The parameters of a simulation.
#[derive(Debug)]
struct Setting {
    rules: Rules,
    /// The duplicate window.
    window: Duration,
    ack_wait: Duration,
    /// The faults that may be injected.
    faults: Vec<Fault>,
    /// The percentage of packets that are lost, of those delayed, and of those repeated.
    losses: u32,
}

impl Setting {
    fn new(rng: &mut Rng) -> Self {
        let share = rng.u32(1..=4);
        let mut faults = Fault::ALL.to_vec();
        faults.retain(|_| rng.u32(..4) < share);
        let is_long = rng.bool();
        if !is_long {
            let has_rivals = faults.contains(&Fault::Rival);
            faults.retain(|fault| !fault.needs_identities(has_rivals));
        }
        Self {
            rules: [Rules::IdentityFirst, Rules::SequenceFirst, Rules::Old][rng.usize(..3)],
            window: Duration::from_secs(if is_long { 120 } else { 3 }),
            ack_wait: Duration::from_secs(rng.u64(5..=30)),
            faults,
            losses: [0, 2, 10][rng.usize(..3)],
        }
    }

    fn has_rivals(&self) -> bool {
        self.faults.contains(&Fault::Rival)
    }
}

struct World<'a> {
    rng: Rng,
    setting: Setting,
    epoch: Instant,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Happening>,
    serial: u64,

    nodes: [Node; 3],
    leader: Option<usize>,
    term: u64,
    /// What the leader has proposed and is not committed yet.
    proposed: Option<Request>,
    stream: Option<Stream>,
    /// While there is no stream: whether another one has the subject.
    is_another: bool,

    processes: Vec<Process>,
    /// The batches that were ever stored.
    stored: BTreeSet<BatchId>,
    /// The batches that were reported as never stored.
    refused: BTreeSet<BatchId>,
    /// Attempts that a leader has permanently rejected, and those that one has proposed.
    dismissed: BTreeSet<(BatchId, u32)>,
    taken: BTreeSet<(BatchId, u32)>,
    lie: Option<String>,

    /// Since when there are no faults.
    well: Option<Duration>,
    /// Whether no process gets another batch.
    is_quiet: bool,
    /// Whether events are printed.
    is_told: bool,
    /// How often each case occurred.
    counts: &'a mut BTreeMap<&'static str, usize>,
}

impl<'a> World<'a> {
    fn new(seed: u64, counts: &'a mut BTreeMap<&'static str, usize>) -> Self {
        // The publishers use the thread's generator.
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let setting = Setting::new(&mut rng);
        let stream = Stream::new(setting.rules, setting.window, Duration::ZERO);
        Self {
            rng,
            setting,
            epoch: Instant::now(),
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            serial: 0,
            nodes: Default::default(),
            leader: Some(0),
            term: 0,
            proposed: None,
            stream: Some(stream),
            is_another: false,
            processes: Vec::new(),
            stored: BTreeSet::new(),
            refused: BTreeSet::new(),
            dismissed: BTreeSet::new(),
            taken: BTreeSet::new(),
            lie: None,
            well: None,
            is_quiet: false,
            is_told: false,
            counts,
        }
    }

    fn run(mut self) -> Result<(), String> {
        self.report(|world| format!("{:?}", world.setting));
        self.after(Duration::ZERO, Happening::Started);
        for _ in 0..self.rng.u32(..40) {
            let wait = TROUBLE.mul_f64(self.rng.f64());
            self.after(wait, Happening::Fault);
        }
        self.until(TROUBLE)?;
        self.heal();
        self.until(TROUBLE + RECOVERY + Duration::from_secs(5))?;
        // All packets in flight arrive. After that the stream does not change.
        self.is_quiet = true;
        self.until(self.now + LAST_ARRIVAL)?;
        self.is_quiet = false;
        for process in 0..self.processes.len() {
            self.submit(process);
        }
        self.is_quiet = true;
        self.until(self.now + RECOVERY)?;
        let stuck = self.processes.iter().find(|process| process.is_stuck());
        stuck.map_or(Ok(()), |process| Err(format!("stuck: {process:?}")))
    }

    /// Runs all events up to `end`.
    fn until(&mut self, end: Duration) -> Result<(), String> {
        for _ in 0..MAX_EVENTS {
            let next = self.queue.keys().next();
            let next = next.map_or(Duration::MAX, |(at, _)| *at);
            let processes = self.processes.iter().enumerate();
            let ticks = processes.filter_map(|(i, it)| Some((it.deadline(self.epoch)?, i)));
            let (tick, process) = ticks.min().unwrap_or((Duration::MAX, 0));
            if tick.min(next) > end {
                self.now = end;
                return Ok(());
            }
            self.now = self.now.max(tick.min(next));
            if tick <= next {
                self.drive(process, Event::Tick);
            } else if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
            if let Some(lie) = self.lie.take() {
                return Err(lie);
            }
        }
        Err("this does not end".to_owned())
    }

    fn happen(&mut self, happening: Happening) {
        let Some(happening) = self.taken(happening) else {
            return;
        };
        match happening {
            Happening::Arrives(request) => self.arrive(&request),
            Happening::Judged(node, request) => self.judge(node, request),
            Happening::Agreed(term) => self.agree(term),
            Happening::Elected => self.elect(),
            Happening::Woken(node) => self.wake(node),
            Happening::Restarted(node) => self.restart(node),
            Happening::Inbound(process, connection, event) => self.hear(process, connection, event),
            Happening::Connected(process, node) => self.connect(process, node),
            Happening::Disconnected(process, connection) => self.disconnect(process, connection),
            Happening::Submitted(process) => self.submit(process),
            Happening::Started => self.start(),
            Happening::Created => self.create(),
            Happening::Fault => self.fault(),
        }
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.serial += 1;
        self.queue.insert((self.now + delay, self.serial), happening);
    }

    /// A random duration from a millisecond up to `most_ms`, usually short.
    fn some(&mut self, most_ms: u64) -> Duration {
        let share = self.rng.f64();
        Duration::from_millis(1) + Duration::from_millis(most_ms).mul_f64(share * share * share)
    }

    /// True with this probability, while faults are injected.
    fn chance(&mut self, percent: u32) -> bool {
        self.well.is_none() && self.rng.u32(..100) < percent
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
        self.report(|_| what.to_owned());
    }

    fn report(&self, what: impl FnOnce(&Self) -> String) {
        if self.is_told {
            println!("{:10.4} {}", self.now.as_secs_f64(), what(self));
        }
    }
}
