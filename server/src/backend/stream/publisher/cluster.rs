//! The publisher against a cluster of our own, driven by random schedules in virtual time.
//!
//! Three nodes keep one stream. They are stopped, killed and succeeded; what travels is lost, repeated,
//! or held back for minutes; the stream is full, loses messages to its limits, is deleted and made
//! anew; processes die in the middle of a batch, two use one identity, and a stranger publishes. Each
//! outcome is held against what is in the stream, then and later, and when all is well again, every
//! batch has to be kept. `FUZZ_SEED` replays a schedule, and `FUZZ_CASES` makes them more.
//!
//! That the nodes agree is taken for granted: there is one sequence of stored messages. So is what no
//! client could tell, and nobody has seen with real nodes:
//!
//! - The last message is told by the leader of the moment alone, who knows all that is agreed on, unless
//!   its disk has failed.
//! - Who was the leader and does not know yet that it is not may refuse for good what is stored, but not
//!   what is still to be stored.
//! - Of an attempt that is repeated on its way, not one is refused for good and another one stored.
//! - What is on its way does not meet the sequence that it expects a second time: the same number in a
//!   stream that was made anew, or an empty subject after limits took what came meanwhile.
//! - Where limits take messages, a stranger publishes, or a stream is made anew under two servers of one
//!   identity, the stream knows a batch for longer than the publisher tries.

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

/// So long it goes badly.
const TROUBLE: Duration = Duration::from_secs(40);

/// When all has been well for so long, every batch is kept.
const RECOVERY: Duration = Duration::from_secs(10);

/// What comes about in a thousand schedules.
const COUNTED: [&str; 6] = [
    "kept",
    "refused",
    "unknown",
    "usurped",
    "an error for what is stored",
    "a disk fails under what is stored",
];

/// So long after nothing is on its way any more.
const LAST_ARRIVAL: Duration = Duration::from_secs(600);

/// A schedule has not so many events by far.
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
    // The worst has to come about, or this proves little.
    for what in COUNTED {
        let often = counts.get(what).copied().unwrap_or_default();
        assert!(cases < 1000 || often > 10, "{what}: {often} times");
    }
}

/// What happens to a world, in the order of time.
#[derive(Debug)]
enum Happening {
    /// A request comes to the node that the process is connected to.
    Arrives(Request),
    /// A request comes to a node that is, or was, the leader.
    Judged(usize, Request),
    /// What the leader of this term has proposed is agreed on.
    Agreed(u64),
    /// Somebody is elected, if there is no leader.
    Elected,
    /// A node that was stopped goes on.
    Woken(usize),
    /// A node that was killed is back.
    Restarted(usize),
    /// A process hears something on a connection.
    Inbound(usize, u64, Event),
    /// A process has a connection to a node, if that is there.
    Connected(usize, usize),
    /// A connection of a process has ended.
    Disconnected(usize, u64),
    /// A process has another batch.
    Submitted(usize),
    /// Another process begins.
    Started,
    /// The stream is made.
    Created,
    /// Something goes wrong.
    Fault,
}

/// How a world is made.
#[derive(Debug)]
struct Setting {
    rules: Rules,
    /// So long the stream knows an identity.
    window: Duration,
    ack_wait: Duration,
    /// What goes wrong.
    faults: Vec<Fault>,
    /// Of a hundred packets so many are lost, so many held back, and so many repeated.
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
    /// What the leader has proposed, and is not agreed on yet.
    proposed: Option<Request>,
    stream: Option<Stream>,
    /// While there is no stream: another one has the subject.
    is_another: bool,

    processes: Vec<Process>,
    /// What was stored at some time.
    stored: BTreeSet<BatchId>,
    /// What is said never to be.
    refused: BTreeSet<BatchId>,
    /// Attempts that a leader has refused for good, and those that one has proposed.
    dismissed: BTreeSet<(BatchId, u32)>,
    taken: BTreeSet<(BatchId, u32)>,
    lie: Option<String>,

    /// Since when all is well.
    well: Option<Duration>,
    /// Nobody has another batch.
    is_quiet: bool,
    /// It says what happens.
    is_told: bool,
    /// What has come about, and how often.
    counts: &'a mut BTreeMap<&'static str, usize>,
}

impl<'a> World<'a> {
    fn new(seed: u64, counts: &'a mut BTreeMap<&'static str, usize>) -> Self {
        // For the publishers' own.
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
        // Whatever is still on its way arrives. What is in the stream then stays as it is.
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

    /// Lets happen what happens up to then.
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
        self.queue
            .insert((self.now + delay, self.serial), happening);
    }

    /// From a millisecond to so many; mostly few.
    fn some(&mut self, most_ms: u64) -> Duration {
        let share = self.rng.f64();
        Duration::from_millis(1) + Duration::from_millis(most_ms).mul_f64(share * share * share)
    }

    /// While it goes badly, so often.
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
