//! Tests of the whole loop over real sockets and a log that fails, driven by random schedules.
//!
//! Between any two phases of a turn, clients connect, send input split anywhere, stall, half-close,
//! disconnect or reset. The log rejects batches, tears records, recovers, is slow, or leaves outcomes
//! unknown. After each turn the invariants are checked. At the end, every reply must agree with the log.
//! `FUZZ_SEED` replays a run, and `FUZZ_CASES` sets its length.

mod budgets;
mod commits;
mod ends;
#[cfg(feature = "tls")]
mod handshakes;
mod log;
mod openings;
#[cfg(feature = "tls")]
mod secure;
mod strangers;
mod test_client;

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::{Config as Fuzz, RngSeed, TestCaseResult, TestRunner};

use super::commits::LONE_RECORDS_WAIT;
use super::*;
use crate::admission::Expected;
use crate::connection::{Life, Queue, QueueState};
use crate::replies::Replies;
use crate::tls::MAX_HELD_BYTES;
use log::{Control, Decision, Delayed, Disk};
use strangers::{Act, OPENINGS, Stranger};
use test_client::TestClient;

const MAX_MESSAGE: usize = 64;

/// The size of socket buffers in bytes: small, so that unread replies soon fill them.
const BUFFER: usize = 4096;

/// Small, so that schedules fill it.
const BATCH_BYTES: usize = 64 << 10;

/// The most bytes that one record, or the records of one write of replies, can add to a batch.
const OVERRUN_BYTES: usize = Replies::OKS * 110;

/// A schedule without progress for this long is stuck.
const PATIENCE: Duration = Duration::from_secs(3);

/// One step of a schedule. The number of a client is taken modulo the number of clients.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    /// Appends this many messages to the client's output.
    Say(usize, usize),
    /// The same, but each message is over the limit.
    SayTooMuch(usize, usize),
    /// Sends at most this many bytes of the output.
    Send(usize, usize),
    /// Reads at most this many bytes of replies.
    Read(usize, usize),
    HalfClose(usize),
    Leave(usize),
    Reset(usize),
    /// Corrupts the TLS stream, this many bytes into the unsent output.
    Spoil(usize, usize),
    /// A client of another protocol connects and sends at most this many bytes of an opening.
    Intrude(usize, usize),
    /// A client of another protocol acts.
    Act(usize, Act),
    /// From now on the log takes this many bytes, and can or cannot be cut back.
    Fill(usize, bool),
    /// The log has room again.
    Free,
    /// Finishes a submitted batch.
    Finish(Decision),
    /// Runs the next phase of a turn.
    Phase,
    /// Runs a whole turn.
    Turn,
}

/// The configuration of the world in which a schedule runs.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// The most batches that may be submitted at the same time. With 0 they are finished in place.
    room: usize,
    idle_timeout: Option<Duration>,
    max_clients: Option<usize>,
    /// All clients speak TLS.
    tls: bool,
    /// Connections must begin with a PROXY header.
    proxied: bool,
}

impl Setting {
    const IN_PLACE: Self =
        Self { room: 0, idle_timeout: None, max_clients: None, tls: false, proxied: false };
}

fn schedules() -> impl Strategy<Value = (Setting, Vec<Step>)> {
    let client = 0..16_usize;
    let some = prop_oneof![8 => 0..40_usize, 2 => 0..3_000_usize, 1 => 0..40_000_usize];
    let few = prop_oneof![8 => 0..4_usize, 1 => 0..500_usize];
    let decision = prop_oneof![
        12 => Just(Decision::Decided),
        1 => any::<bool>().prop_map(|written| Decision::Unknown { written }),
    ];
    let act =
        prop_oneof![Just(Act::Send), Just(Act::HalfClose), Just(Act::Leave), Just(Act::Reset)];
    let step = prop_oneof![
        2 => Just(Step::Connect),
        6 => (client.clone(), some.clone()).prop_map(|(k, n)| Step::Say(k, n)),
        2 => (client.clone(), few).prop_map(|(k, n)| Step::SayTooMuch(k, n)),
        8 => (client.clone(), some.clone()).prop_map(|(k, n)| Step::Send(k, 7 * n)),
        6 => (client.clone(), some.clone()).prop_map(|(k, n)| Step::Read(k, 2 * n)),
        1 => client.clone().prop_map(Step::HalfClose),
        1 => client.clone().prop_map(Step::Leave),
        2 => client.clone().prop_map(Step::Reset),
        1 => (client.clone(), some.clone()).prop_map(|(k, n)| Step::Spoil(k, n)),
        1 => (0..OPENINGS.len(), 1..80_usize).prop_map(|(k, n)| Step::Intrude(k, n)),
        3 => (client, act).prop_map(|(k, act)| Step::Act(k, act)),
        2 => (some, any::<bool>()).prop_map(|(n, cuts)| Step::Fill(n, cuts)),
        2 => Just(Step::Free),
        4 => decision.prop_map(Step::Finish),
        24 => Just(Step::Phase),
        6 => Just(Step::Turn),
    ];
    // `FUZZ_TLS=1`: over TLS only.
    let tls_only = std::env::var_os("FUZZ_TLS").is_some();
    let tls = any::<bool>().prop_map(move |tls| (tls || tls_only) && cfg!(feature = "tls"));
    let setting =
        (0..4_usize, tls).prop_map(|(room, tls)| Setting { room, tls, ..Setting::IN_PLACE });
    (setting, prop::collection::vec(step, 1..200))
}

#[test]
fn every_schedule_keeps_the_promise() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("FUZZ_SEED={seed}");
    let config = Fuzz {
        cases: number("FUZZ_CASES").map_or(200, |cases| cases as u32),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: 20_000,
        ..Fuzz::default()
    };
    let sessions = Cell::new(0);
    let run = |(setting, schedule): (Setting, Vec<Step>)| {
        let connects = schedule.iter().filter(|step| matches!(step, Step::Connect));
        sessions.set(sessions.get() + connects.count() * usize::from(setting.tls));
        World::new(setting).run(&schedule)
    };
    if let Err(error) = TestRunner::new(config).run(&schedules(), run) {
        panic!("{error}");
    }
    println!("{} sessions over TLS", sessions.get());
}

/// If the server is paused between reading a message and replying to it, the client must not count as idle
/// before it can respond to that reply.
#[test]
fn a_pause_in_the_middle_of_a_turn_is_not_idleness() {
    let mut world =
        World::new(Setting { idle_timeout: Some(Duration::from_secs(1)), ..Setting::IN_PLACE });
    world.connect();
    world.clients[0].say(1, "");
    world.run_until_idle().unwrap();
    world.clients[0].say(1, "");
    world.clients[0].send(usize::MAX);
    world.phase().unwrap();
    world.phase().unwrap();
    // The pause is the fault.
    std::thread::sleep(Duration::from_millis(2100));
    world.turn().unwrap();
    world.clients[0].say(1, "");
    world.run_until_idle().unwrap();
}

/// Turns longer than any timeout do not count as pauses: idle clients are still found.
#[test]
fn an_idle_client_is_found_while_every_turn_takes_long() {
    let mut world =
        World::new(Setting { idle_timeout: Some(Duration::from_secs(1)), ..Setting::IN_PLACE });
    world.connect();
    world.clients[0].say(1, "");
    world.run_until_idle().unwrap();
    let begun = Instant::now();
    while !world.clients[0].was_closed {
        world.phase().unwrap();
        // The long turn is the fault.
        std::thread::sleep(2 * PERIOD + Duration::from_millis(1));
        while world.next_phase > 0 {
            world.phase().unwrap();
        }
        world.clients[0].read(usize::MAX);
        assert!(begun.elapsed() < 4 * PATIENCE, "it stays connected");
    }
}

/// Replies sent after a slow commit are newer than the turn: a client must not count as idle before it
/// could respond to them.
#[test]
fn a_commit_that_takes_longer_than_the_idle_timeout_ends_no_client() {
    let idle_timeout = Duration::from_secs(1);
    let mut world = World::new(Setting { idle_timeout: Some(idle_timeout), ..Setting::IN_PLACE });
    world.connect();
    world.turn().unwrap();
    world.clients[0].say(1, "");
    world.clients[0].send(usize::MAX);
    // Wait, read, submit; then the slow commit; then complete and reply.
    for _ in 0..3 {
        world.phase().unwrap();
    }
    std::thread::sleep(2 * idle_timeout);
    world.turn().unwrap();
    let answered = Instant::now();
    while answered.elapsed() < idle_timeout * 9 / 10 {
        world.server.wait(Some(Duration::from_millis(50))).unwrap();
        let served = world.server.clients.iter();
        let open = served.filter(|(_, client)| client.life() == Life::Open);
        assert_eq!(open.count(), 1, "after {:?}", answered.elapsed());
    }
}

/// A deadline is met even if the turn before it was as long as the wait: the loop sleeps only for the rest.
#[test]
fn the_duration_of_a_turn_shortens_the_next_wait() {
    let mut world = World::new(Setting::IN_PLACE);
    world.connect();
    for _ in 0..3 {
        world.turn().unwrap();
    }
    let begun = Instant::now();
    world.server.next_periodic_tasks = world.server.now + PERIOD;
    let timeout = world.server.timeout();
    assert_eq!(timeout, Some(PERIOD));
    // The long turn is the fault.
    std::thread::sleep(PERIOD);
    world.server.wait(timeout).unwrap();
    assert!(begun.elapsed() < 2 * PERIOD);
}

/// A reset arrives between the reading of half a line and the reply to the line before it, so the write of
/// that reply receives it. A client that has ended its input may also be reset by a reply that it does not
/// wait for. But then the end of its input is real.
#[test]
fn half_a_line_is_a_message_after_a_true_end_only() {
    type Leave = fn(&mut TestClient);
    let cases: [(Leave, &[usize]); 2] =
        [(TestClient::reset, &[0]), (|client| client.socket = None, &[0, 1])];
    for (leave, expected) in cases {
        let mut world = World::new(Setting::IN_PLACE);
        world.connect();
        world.turn().unwrap();
        world.clients[0].output.extend_from_slice(b"0 0 .\n0 1 .");
        world.clients[0].send(usize::MAX);
        // Wait and read; then the client disconnects; then submit, complete and reply.
        world.phase().unwrap();
        world.phase().unwrap();
        leave(&mut world.clients[0]);
        for _ in 0..3 {
            world.turn().unwrap();
        }
        assert!(world.server.clients.is_empty());
        assert_eq!(world.disk.state.borrow_mut().records(0), expected);
    }
}

/// One read brings messages and then a broken TLS record, and the messages use up the client's share of
/// the turn. Replies that were due before are dropped at once, not at the next read.
#[cfg(feature = "tls")]
#[test]
fn replies_that_are_due_when_tls_breaks_are_dropped() {
    let setting = Setting { tls: true, ..Setting::IN_PLACE };
    let schedule = [
        Step::Connect,
        Step::Send(0, 420),
        Step::Phase,
        Step::Turn,
        Step::Fill(0, false),
        Step::Say(0, 2061),
        Step::Connect,
        Step::Read(14, 668),
        Step::Send(2, 16_492),
        Step::Spoil(0, 1071),
        Step::Phase,
        Step::Turn,
    ];
    World::new(setting).run(&schedule).unwrap();
}

/// A TLS client stops reading until the kernel takes no more replies, corrupts its stream, and reads again.
/// The server waits for it without spinning, and closes only this connection.
#[cfg(feature = "tls")]
#[test]
fn tls_may_break_while_replies_wait() {
    let mut world = World::new(Setting { tls: true, ..Setting::IN_PLACE });
    world.connect();
    world.clients[0].say(1, "");
    world.run_until_idle().unwrap();
    let is_blocked = |world: &World| {
        let mut clients = world.server.clients.iter();
        clients.any(|(_, client)| !client.ready.contains(Ready::WRITABLE))
    };
    let begun = Instant::now();
    while !is_blocked(&world) {
        world.clients[0].say(500, "");
        world.clients[0].send(usize::MAX);
        world.turn().unwrap();
        assert!(begun.elapsed() < PATIENCE, "replies fill the sockets");
    }
    world.clients[0].spoil(usize::MAX);
    while !world.clients[0].has_sent_all() {
        world.clients[0].send(usize::MAX);
        world.turn().unwrap();
        assert!(begun.elapsed() < PATIENCE, "what is sent is read");
    }
    // It reads in small steps, so that the kernel often takes only a part of the pending output.
    while world.clients[0].socket.is_some() {
        let replies = world.clients[0].read(300);
        world.hear(0, &replies).unwrap();
        world.turn().unwrap();
        while world.server.timeout() == Some(Duration::ZERO) {
            world.turn().unwrap();
            assert!(begun.elapsed() < PATIENCE, "the loop spins");
        }
        assert!(begun.elapsed() < PATIENCE, "the connection ends");
    }
    world.run_until_idle().unwrap();
    world.check_log().unwrap();
}

/// The server, its disk, and its clients.
struct World {
    server: Server<Delayed>,
    disk: Disk,
    commits: Rc<RefCell<Control>>,
    clients: Vec<TestClient>,
    strangers: Vec<Stranger>,
    /// The clients speak TLS.
    tls: bool,
    /// The next phase, an index into [`PHASES`].
    next_phase: usize,
    stopping: bool,
    /// The disk was full at some time, so messages may have been rejected.
    was_full: bool,
    /// The number of batches whose outcome the schedule left unknown.
    unknown: usize,
}

type Phase = fn(&mut World) -> TestCaseResult;

/// The phases of [`Server::turn`], in its order.
const PHASES: [Phase; 8] = [
    |world| {
        // With a timeout of zero, so that it never blocks.
        world.server.wait(Some(Duration::ZERO)).unwrap();
        Ok(())
    },
    |world| {
        world.server.read();
        world.server.gather().unwrap();
        world.check_that_no_reply_has_left_early()
    },
    |world| {
        world.server.submit();
        Ok(())
    },
    |world| {
        world.server.complete().unwrap();
        Ok(())
    },
    |world| {
        world.server.reply();
        Ok(())
    },
    |world| {
        world.server.shake_hands();
        Ok(())
    },
    |world| {
        world.server.reap();
        Ok(())
    },
    |world| {
        world.server.accept();
        world.check_queues()?;
        world.check_memory()
    },
];

impl World {
    fn new(setting: Setting) -> Self {
        let sockets = net::listen("127.0.0.1", 0, net::Options::default()).unwrap();
        let listener = socket2::SockRef::from(&sockets[0]);
        listener.set_send_buffer_size(BUFFER).unwrap();
        let config = Config {
            max_message: MAX_MESSAGE,
            idle_timeout: setting.idle_timeout,
            max_clients: setting.max_clients,
            ..Config::default()
        };
        let config = if setting.proxied {
            let proxy_from = "127.0.0.0/8".parse().unwrap();
            Config { proxy_from, ..config }
        } else {
            config
        };
        let disk = Disk::default();
        let back_end = Delayed::new(disk.clone(), setting.room, BATCH_BYTES);
        let commits = Rc::clone(&back_end.control);
        let stderr = Stderr::open(true);
        #[cfg(feature = "tls")]
        let acceptor = setting.tls.then(secure::acceptor).flatten();
        #[cfg(not(feature = "tls"))]
        let acceptor = None;
        let admission = Admission::new(&config, acceptor);
        let terminal = Terminal::closed();
        let server =
            Server::new(&config, admission, sockets, None, back_end, terminal, stderr).unwrap();
        Self {
            server,
            disk,
            commits,
            clients: Vec::new(),
            strangers: Vec::new(),
            tls: setting.tls,
            next_phase: 0,
            stopping: false,
            was_full: false,
            unknown: 0,
        }
    }

    fn run(mut self, schedule: &[Step]) -> TestCaseResult {
        for &step in schedule {
            self.take(step)?;
        }
        self.disk.state.borrow_mut().room = None;
        self.disk.state.borrow_mut().can_cut = true;
        self.run_until_idle()?;
        self.check_log()?;
        self.stop()
    }

    fn take(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Connect => self.connect(),
            Step::Say(k, n) => self.with(k, |client| client.say(n, "")),
            Step::SayTooMuch(k, n) => {
                let filler = "x".repeat(MAX_MESSAGE);
                self.with(k, |client| client.say(n, &filler));
            }
            Step::Send(k, n) => self.with(k, |client| client.send(n)),
            Step::Read(k, n) => {
                let k = k % self.clients.len().max(1);
                let bytes = self.clients.get_mut(k).map(|client| client.read(n));
                self.hear(k, &bytes.unwrap_or_default())?;
            }
            Step::HalfClose(k) => self.with(k, TestClient::half_close),
            Step::Leave(k) => self.with(k, TestClient::leave),
            Step::Reset(k) => self.with(k, TestClient::reset),
            Step::Spoil(k, n) => self.with(k, |client| client.spoil(n)),
            Step::Intrude(opening, most) => {
                let address = self.server.addresses().unwrap()[0];
                let stranger = Stranger::connect(address, opening, most);
                self.strangers.push(stranger);
            }
            Step::Act(k, act) => {
                let count = self.strangers.len().max(1);
                if let Some(stranger) = self.strangers.get_mut(k % count) {
                    stranger.act(act);
                }
            }
            Step::Fill(n, can_cut) => {
                self.was_full = true;
                let mut disk = self.disk.state.borrow_mut();
                (disk.room, disk.can_cut) = (Some(n), can_cut);
            }
            Step::Free => {
                let mut disk = self.disk.state.borrow_mut();
                (disk.room, disk.can_cut) = (None, true);
            }
            Step::Finish(decision) => self.finish(decision),
            Step::Phase => self.phase()?,
            Step::Turn => self.turn()?,
        }
        Ok(())
    }

    fn with(&mut self, k: usize, action: impl FnOnce(&mut TestClient)) {
        let count = self.clients.len().max(1);
        if let Some(client) = self.clients.get_mut(k % count) {
            action(client);
        }
    }

    fn connect(&mut self) {
        let address = self.server.addresses().unwrap()[0];
        let id = self.clients.len();
        let client = TestClient::connect(id, address);
        #[cfg(feature = "tls")]
        let client = if self.tls { client.over(secure::Secure::new()) } else { client };
        self.clients.push(client);
    }

    /// The number of batches of unknown outcome, whose clients are closed without a reply.
    fn unknown(&self) -> usize {
        self.unknown + self.commits.borrow().unknown
    }

    fn finish(&mut self, decision: Decision) {
        if self.commits.borrow().under_way > 0 {
            self.unknown += usize::from(matches!(decision, Decision::Unknown { .. }));
            self.commits.borrow_mut().finish(decision);
        }
    }

    /// Runs the next phase of a turn.
    fn phase(&mut self) -> TestCaseResult {
        let phase = PHASES[self.next_phase];
        self.next_phase = (self.next_phase + 1) % PHASES.len();
        phase(self)
    }

    /// Runs the rest of the current turn, then a whole one.
    fn turn(&mut self) -> TestCaseResult {
        while self.next_phase > 0 {
            self.phase()?;
        }
        PHASES.iter().try_for_each(|phase| phase(self))
    }

    /// Before the commit, no client has more `ok`s than its messages have records in the log. With TLS,
    /// this is checked when replies are read.
    fn check_that_no_reply_has_left_early(&self) -> TestCaseResult {
        if self.tls {
            return Ok(());
        }
        for client in &self.clients {
            let Some(socket) = &client.socket else {
                continue;
            };
            let mut peeked = vec![0; 256 << 10];
            let n = socket.peek(&mut peeked).unwrap_or(0);
            let oks = client.kept.len() + peeked[..n].windows(3).filter(|w| w == b"ok\n").count();
            let records = self.disk.state.borrow_mut().records(client.id).len();
            prop_assert!(oks <= records, "client {}: {oks} oks, {records} records", client.id);
        }
        Ok(())
    }

    /// A connection with work is in the queue for it, and the loop does not wait before it gets there. If
    /// nothing can be done, the loop does wait.
    fn check_queues(&self) -> TestCaseResult {
        let server = &self.server;
        for (key, client) in server.clients.iter() {
            prop_assert!(
                !matches!(client.awaits(), Some((Expected::Messages, _)))
                    || server.clients.holds_unclear(key),
                "{key} waits without a deadline: {client:?}"
            );
            let leaves = client.ready.contains(Ready::QUEUED_TO_REAP);
            prop_assert!(leaves == client.is_done(), "{key} is not reaped: {client:?}");
            prop_assert!(!client.wants_end(), "{key} is not closed: {client:?}");
            let queues = [
                (client.wants_read() && !client.is_opening(), Queue::Read),
                (client.wants_read() && client.is_opening(), Queue::Handshake),
                (client.wants_write(), Queue::Write),
            ];
            for (wants, queue) in queues {
                let place = client.queue_states.get(queue);
                let is_held = server.clients.holds(key, queue);
                prop_assert!(!wants || place != QueueState::Out, "{key} is forgotten: {client:?}");
                prop_assert!(
                    is_held || place == QueueState::Out,
                    "{key} is in no list: {client:?}"
                );
            }
        }
        let timeout = server.timeout();
        let has_room = self.commits.borrow().under_way < self.commits.borrow().room.max(1);
        // The clock may have reached a deadline since the turn checked for it.
        let is_due = server.until_deadline() == Some(Duration::ZERO);
        prop_assert_eq!(timeout == Some(Duration::ZERO), server.has_work() || is_due);
        if server.clients.have_input_or_output() && (has_room || !server.commits.is_full()) {
            prop_assert!(server.has_work());
        }
        if !server.commits.staged.is_empty() && has_room {
            let longest = LONE_RECORDS_WAIT.max(group_commit_delay::MAX_DELAY);
            prop_assert!(timeout.is_some_and(|timeout| timeout <= longest));
        }
        let waits = !server.commits.staged.replies().is_empty();
        let delay_is_over = server.commits.delay_is_over(server.now);
        prop_assert!(
            !waits || !has_room || !delay_is_over || server.has_work(),
            "no message waits when the delay is over"
        );
        Ok(())
    }

    fn check_memory(&self) -> TestCaseResult {
        let staged = self.server.commits.staged.size();
        prop_assert!(staged < BATCH_BYTES + OVERRUN_BYTES, "{staged} bytes are staged");
        for (key, client) in self.server.clients.iter() {
            let (held, _) = client.footprint();
            let of_channel = MAX_HELD_BYTES * usize::from(self.tls);
            let most = self.server.buffers.most_held_bytes(self.server.policy.rules) + of_channel;
            prop_assert!(held <= most, "{key} holds {held} bytes");
            prop_assert!(client.owed() <= Replies::MAX, "{key}: {client:?}");
        }
        Ok(())
    }

    /// Checks replies: each belongs to the next message and agrees with its outcome.
    fn hear(&mut self, k: usize, bytes: &[u8]) -> TestCaseResult {
        let unknown = self.unknown();
        let Some(client) = self.clients.get_mut(k) else {
            return Ok(());
        };
        client.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut client.input);
        let mut lines = input.split_inclusive(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next_if(|line| line.ends_with(b"\n")) {
            let n = client.heard;
            client.heard += 1;
            prop_assert!(n < client.said.len(), "a reply to nothing");
            let line = str::from_utf8(line).unwrap().trim_end();
            if line.starts_with("error shutting-down: ") {
                prop_assert!(self.stopping);
                continue;
            }
            let too_long = line.starts_with("error too-long: ");
            prop_assert_eq!(too_long, !client.said[n], "message {}: {}", n, line);
            if line == "ok" {
                client.kept.push(n);
                let kept = self.disk.state.borrow_mut().records(client.id).binary_search(&n);
                prop_assert!(kept.is_ok(), "message {n} is not in the log");
            } else {
                prop_assert!(too_long || line.starts_with("error log: "), "{line}");
            }
        }
        client.input = lines.next().unwrap_or_default().to_vec();
        let all_heard = client.half_closed && client.heard == client.said.len();
        let may_close = all_heard || client.is_spoilt || self.stopping || unknown > 0;
        prop_assert!(!client.was_closed || may_close, "client {k} was cut off");
        let may_cut_off = client.is_spoilt || self.stopping || unknown > 0;
        prop_assert!(!client.was_cut_off || may_cut_off, "no farewell to client {k}");
        Ok(())
    }

    /// Lets all clients send their output and read, until all connected ones have their replies and the
    /// server has removed the others.
    fn run_until_idle(&mut self) -> TestCaseResult {
        self.strangers.clear();
        let mut progress = Instant::now();
        loop {
            let mut waiting = self.commits.borrow().under_way > 0;
            for k in 0..self.clients.len() {
                let client = &mut self.clients[k];
                let before = client.sent;
                client.send(usize::MAX);
                let bytes = client.read(usize::MAX);
                if client.sent > before || !bytes.is_empty() {
                    progress = Instant::now();
                }
                waiting |= client.is_waiting();
                self.hear(k, &bytes)?;
            }
            // A client that has disconnected may have sent messages that are still to be read.
            let here = self.clients.iter().filter(|client| client.socket.is_some());
            waiting |= self.server.clients.len() > here.count();
            if !waiting && self.server.commits.staged.replies().is_empty() {
                return Ok(());
            }
            self.finish(Decision::Decided);
            self.turn()?;
            let stuck = progress.elapsed() > PATIENCE;
            prop_assert!(!stuck, "a client waits for ever: {:?}", self.server.clients);
        }
    }

    /// The log holds exactly the messages that were answered `ok`. For clients that disconnected before
    /// their last reply it may hold more, each once and in order.
    fn check_log(&mut self) -> TestCaseResult {
        // A batch that is not rejected shows that the log is whole again.
        self.connect();
        let last = self.clients.len() - 1;
        self.clients[last].say(1, "");
        self.run_until_idle()?;
        let unknown = self.unknown();
        let mut disk = self.disk.state.borrow_mut();
        prop_assert!(disk.bytes.ends_with(b"\n"), "no torn record");
        for client in &self.clients {
            let records = disk.records(client.id);
            prop_assert!(records.is_sorted_by(|a, b| a < b), "order");
            let heard = records.iter().take_while(|&&n| n < client.heard);
            prop_assert!(heard.eq(&client.kept), "client {}", client.id);
            if client.left_politely && !self.was_full && unknown == 0 {
                let said = client.said.iter().filter(|&&fits| fits).count();
                prop_assert_eq!(records.len(), said, "client {} left politely", client.id);
            }
        }
        Ok(())
    }

    /// Stops the server with the clients as they are. Those that do not close are cut off.
    fn stop(mut self) -> TestCaseResult {
        self.stopping = true;
        for client in &mut self.clients {
            client.say(1, "");
            client.send(usize::MAX);
        }
        self.server.begin_stop();
        let begun = Instant::now();
        while !self.server.has_stopped() {
            self.finish(Decision::Decided);
            for k in 0..self.clients.len() {
                let bytes = self.clients[k].read(usize::MAX);
                self.hear(k, &bytes)?;
                if self.clients[k].heard == self.clients[k].said.len() {
                    self.clients[k].socket = None;
                }
            }
            self.turn()?;
            prop_assert!(begun.elapsed() < 2 * PATIENCE, "it does not stop");
        }
        Ok(())
    }
}
