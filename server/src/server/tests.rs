//! The whole loop over real sockets and a log that fails, driven by random schedules.
//!
//! Clients connect, send in any pieces, stall, half-close, reset; the log refuses, tears, recovers.
//! After each turn what must always hold is checked, and in the end that everything was answered
//! as the log says. `FUZZ_SEED` replays a run and `FUZZ_CASES` makes it longer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Write};
use std::net::{Shutdown, TcpStream as Client};
use std::path::Path;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::{Config as Fuzz, RngSeed, TestCaseResult, TestRunner};
use socket2::{Domain, Socket, Type};

use super::*;
use crate::net;

const MAX_MESSAGE: usize = 64;

const BUFFER: usize = 4096;

/// Without any progress for so long a schedule is stuck.
const PATIENCE: Duration = Duration::from_secs(3);

/// One step of a schedule. Clients are chosen by a number modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    /// Puts so many messages into the client's output.
    Say(usize, usize),
    /// The same, but each is longer than the server allows.
    SayTooMuch(usize, usize),
    /// Sends at most so many bytes of the output.
    Send(usize, usize),
    /// Reads at most so many bytes of replies.
    Read(usize, usize),
    HalfClose(usize),
    Reset(usize),
    /// From now on the log takes so many bytes, and can or cannot be cut back.
    Fill(usize, bool),
    /// The log has room again.
    Free,
    Turn,
}

fn schedules() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..16_usize;
    let some = prop_oneof![8 => 0..40_usize, 2 => 0..3_000_usize, 1 => 0..40_000_usize];
    let few = prop_oneof![8 => 0..4_usize, 1 => 0..500_usize];
    let step = prop_oneof![
        2 => Just(Step::Connect),
        6 => (who.clone(), some.clone()).prop_map(|(k, n)| Step::Say(k, n)),
        2 => (who.clone(), few).prop_map(|(k, n)| Step::SayTooMuch(k, n)),
        8 => (who.clone(), some.clone()).prop_map(|(k, n)| Step::Send(k, 10 * n)),
        6 => (who.clone(), some.clone()).prop_map(|(k, n)| Step::Read(k, 2 * n)),
        1 => who.clone().prop_map(Step::HalfClose),
        1 => who.prop_map(Step::Reset),
        2 => (some, any::<bool>()).prop_map(|(n, cuts)| Step::Fill(n, cuts)),
        2 => Just(Step::Free),
        10 => Just(Step::Turn),
    ];
    prop::collection::vec(step, 1..150)
}

#[test]
fn every_schedule_keeps_the_promise() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("FUZZ_SEED={seed}");
    let config = Fuzz {
        cases: number("FUZZ_CASES").map_or(150, |cases| cases as u32),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: 20_000,
        ..Fuzz::default()
    };
    let run = |schedule: Vec<Step>| World::new(None).run(&schedule);
    if let Err(error) = TestRunner::new(config).run(&schedules(), run) {
        panic!("{error}");
    }
}

/// Paused between the reading of a message and its reply, the server must not take the client for
/// idle before it can answer to that reply.
#[test]
fn a_pause_in_the_middle_of_a_turn_is_not_idleness() {
    let mut world = World::new(Some(Duration::from_secs(1)));
    world.connect();
    world.clients[0].say(1, "");
    world.settle().unwrap();
    world.clients[0].say(1, "");
    world.clients[0].send(usize::MAX);
    world.server.wait(Some(Duration::ZERO)).unwrap();
    world.server.read();
    // The pause is the fault.
    std::thread::sleep(Duration::from_millis(2100));
    world.server.commit().unwrap();
    world.server.reply();
    world.turn().unwrap();
    world.clients[0].say(1, "");
    world.settle().unwrap();
}

/// The server, its disk, and its clients.
struct World {
    server: Server<Disk>,
    disk: Disk,
    clients: Vec<Talker>,
    stopping: bool,
}

/// A client, with what it has said and heard.
struct Talker {
    id: usize,
    socket: Option<Client>,
    /// What it is to send, and how much of that is sent.
    output: Vec<u8>,
    sent: usize,
    half_closed: bool,
    /// For each message, whether it is within the limit.
    said: Vec<bool>,
    /// What has come of replies that are not whole yet.
    input: Vec<u8>,
    /// Replies.
    heard: usize,
    /// Messages that were answered `ok`.
    kept: Vec<usize>,
}

impl World {
    fn new(idle_timeout: Option<Duration>) -> Self {
        let sockets = net::listen("127.0.0.1", 0, None).unwrap();
        // Small buffers, so that those who do not read are soon in the way of their replies.
        let listener = socket2::SockRef::from(&sockets[0]);
        listener.set_send_buffer_size(BUFFER).unwrap();
        let config = Config {
            max_message: MAX_MESSAGE,
            idle_timeout,
            ..Config::default()
        };
        let disk = Disk::default();
        let journal = Journal::new(disk.clone(), false);
        let stderr = Stderr::open(true);
        let server = Server::new(&config, sockets, journal, Terminal::closed(), stderr).unwrap();
        Self {
            server,
            disk,
            clients: Vec::new(),
            stopping: false,
        }
    }

    fn run(mut self, schedule: &[Step]) -> TestCaseResult {
        for &step in schedule {
            self.take(step)?;
        }
        self.disk.state.borrow_mut().room = None;
        self.disk.state.borrow_mut().can_cut = true;
        self.settle()?;
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
            Step::HalfClose(k) => self.with(k, Talker::half_close),
            Step::Reset(k) => self.with(k, Talker::reset),
            Step::Fill(n, can_cut) => {
                let mut disk = self.disk.state.borrow_mut();
                (disk.room, disk.can_cut) = (Some(n), can_cut);
            }
            Step::Free => {
                let mut disk = self.disk.state.borrow_mut();
                (disk.room, disk.can_cut) = (None, true);
            }
            Step::Turn => self.turn()?,
        }
        Ok(())
    }

    fn with(&mut self, k: usize, action: impl FnOnce(&mut Talker)) {
        let count = self.clients.len().max(1);
        if let Some(client) = self.clients.get_mut(k % count) {
            action(client);
        }
    }

    fn connect(&mut self) {
        let address = self.server.addresses().unwrap()[0];
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(BUFFER).unwrap();
        socket.connect(&address.into()).unwrap();
        let socket = Client::from(socket);
        socket.set_nonblocking(true).unwrap();
        self.clients.push(Talker {
            id: self.clients.len(),
            socket: Some(socket),
            output: Vec::new(),
            sent: 0,
            half_closed: false,
            said: Vec::new(),
            input: Vec::new(),
            heard: 0,
            kept: Vec::new(),
        });
    }

    /// A turn of the loop, phase by phase.
    fn turn(&mut self) -> TestCaseResult {
        // Without a wait, so that it never blocks.
        self.server.wait(Some(Duration::ZERO)).unwrap();
        self.server.read();
        self.check_that_no_reply_has_left_early()?;
        self.server.commit().unwrap();
        self.server.reply();
        self.server.reap();
        self.server.accept();
        self.check_queues()?;
        self.check_memory()
    }

    /// Before the commit nobody has more `ok`s than there are records of his messages in the log.
    fn check_that_no_reply_has_left_early(&self) -> TestCaseResult {
        for client in &self.clients {
            let Some(socket) = &client.socket else {
                continue;
            };
            let mut peeked = vec![0; 256 << 10];
            let n = socket.peek(&mut peeked).unwrap_or(0);
            let oks = client.kept.len() + peeked[..n].windows(3).filter(|w| w == b"ok\n").count();
            let records = self.disk.state.borrow_mut().records(client.id).len();
            prop_assert!(
                oks <= records,
                "client {}: {oks} oks, {records} records",
                client.id
            );
        }
        Ok(())
    }

    /// Whatever there is to do for a connection, it is in the queue for that, and the loop will not
    /// wait before it gets to it.
    fn check_queues(&self) -> TestCaseResult {
        let server = &self.server;
        for (key, connection) in &server.connections {
            let flags = connection.flags;
            prop_assert!(!connection.is_done(), "{key} is not reaped: {flags:?}");
            prop_assert!(!connection.wants_end(), "{key} is not closed: {flags:?}");
            let queues = [
                (connection.wants_read(), &server.queues.to_read),
                (connection.wants_write(), &server.queues.to_write),
            ];
            for (wants, queue) in queues {
                prop_assert!(
                    !wants || queue.contains(&key),
                    "{key} is forgotten: {flags:?}"
                );
            }
        }
        let timeout = server.timeout();
        if server.queues.has_work() || server.can_accept() {
            prop_assert_eq!(timeout, Some(Duration::ZERO));
        }
        if !server.batch.is_empty() {
            prop_assert!(timeout.is_some_and(|timeout| timeout <= LONE_RECORDS_WAIT));
        }
        prop_assert!(
            server.batch.replies().is_empty(),
            "no reply waits for another turn"
        );
        Ok(())
    }

    fn check_memory(&self) -> TestCaseResult {
        let staged = self.server.batch.records().len();
        prop_assert!(staged < 2 * TURN_BUDGET, "{staged} bytes are staged");
        for (key, connection) in &self.server.connections {
            let (held, owed) = connection.footprint();
            prop_assert!(held <= 4 * (MAX_MESSAGE + 1), "{key} holds {held} bytes");
            // The limit of 16 Ki, and what one more turn's reading brings.
            prop_assert!(owed < 40_000, "{key} is owed {owed} replies");
        }
        Ok(())
    }

    /// Takes note of replies: each belongs to the next message, and says what became of it.
    fn hear(&mut self, k: usize, bytes: &[u8]) -> TestCaseResult {
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
                let kept = self
                    .disk
                    .state
                    .borrow_mut()
                    .records(client.id)
                    .binary_search(&n);
                prop_assert!(kept.is_ok(), "message {n} is not in the log");
            } else {
                prop_assert!(too_long || line.starts_with("error log: "), "{line}");
            }
        }
        client.input = lines.next().unwrap_or_default().to_vec();
        Ok(())
    }

    /// Everybody sends what he has to say and reads, until all who are still there are answered.
    fn settle(&mut self) -> TestCaseResult {
        let mut progress = Instant::now();
        loop {
            let mut waiting = false;
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
            if !waiting {
                return Ok(());
            }
            self.turn()?;
            let stuck = progress.elapsed() > PATIENCE;
            prop_assert!(
                !stuck,
                "a client waits for ever: {:?}",
                self.server.connections
            );
        }
    }

    /// The log holds exactly what was answered `ok`, and of those who left before they heard
    /// everything perhaps more, each message once and in order.
    fn check_log(&mut self) -> TestCaseResult {
        // A batch that is not refused shows that the log is whole again.
        self.connect();
        let last = self.clients.len() - 1;
        self.clients[last].say(1, "");
        self.settle()?;
        let mut disk = self.disk.state.borrow_mut();
        prop_assert!(disk.bytes.ends_with(b"\n"), "no torn record");
        for client in &self.clients {
            let records = disk.records(client.id);
            prop_assert!(records.is_sorted_by(|a, b| a < b), "order");
            let heard = records.iter().take_while(|&&n| n < client.heard);
            prop_assert!(heard.eq(&client.kept), "client {}", client.id);
        }
        Ok(())
    }

    /// Stops with the clients as they are: those who do not close are given up on.
    fn stop(mut self) -> TestCaseResult {
        self.stopping = true;
        for client in &mut self.clients {
            client.say(1, "");
            client.send(usize::MAX);
        }
        self.server.begin_stop();
        let begun = Instant::now();
        while !self.server.has_stopped() {
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

impl Talker {
    fn say(&mut self, count: usize, filler: &str) {
        if self.half_closed || self.socket.is_none() {
            return;
        }
        for _ in 0..count {
            writeln!(self.output, "{} {}{filler}", self.id, self.said.len()).unwrap();
            self.said.push(filler.is_empty());
        }
    }

    fn send(&mut self, most: usize) {
        let rest = &self.output[self.sent..];
        let rest = &rest[..rest.len().min(most)];
        if let Some(socket) = &mut self.socket {
            self.sent += socket.write(rest).unwrap_or(0);
            if self.half_closed && self.sent == self.output.len() {
                // Again is no error, and after a reset there is nothing to shut down.
                _ = socket.shutdown(Shutdown::Write);
            }
        }
    }

    fn read(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most.min(256 << 10)];
        let n = match &mut self.socket {
            Some(socket) => socket.read(&mut bytes).unwrap_or(0),
            None => 0,
        };
        bytes.truncate(n);
        bytes
    }

    /// Sends what is begun, the last message without its line end if it can, and then no more.
    fn half_close(&mut self) {
        if self.half_closed || self.socket.is_none() {
            return;
        }
        self.half_closed = true;
        let mut ends = memchr::memchr_iter(b'\n', &self.output);
        let whole = ends.find(|end| end + 1 >= self.sent).map(|end| end + 1);
        self.output.truncate(whole.unwrap_or(0));
        if self.sent < self.output.len() {
            self.output.pop();
        }
        let lines = self.output.split_inclusive(|&byte| byte == b'\n').count();
        self.said.truncate(lines);
        self.send(0);
    }

    fn reset(&mut self) {
        if let Some(socket) = self.socket.take() {
            let reset = socket2::SockRef::from(&socket);
            reset.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    fn is_waiting(&self) -> bool {
        self.socket.is_some() && (self.sent < self.output.len() || self.heard < self.said.len())
    }
}

/// A log in memory that can be full, and may then not even be cut back.
#[derive(Clone, Default)]
struct Disk {
    state: Rc<RefCell<State>>,
}

struct State {
    bytes: Vec<u8>,
    room: Option<usize>,
    can_cut: bool,
    /// What of `bytes` is in `records`.
    seen: usize,
    /// By client, the numbers of its messages and where their records end.
    records: HashMap<usize, (Vec<usize>, Vec<usize>)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            room: None,
            can_cut: true,
            seen: 0,
            records: HashMap::new(),
        }
    }
}

impl State {
    /// The messages of a client whose records are in the log, in the order of the log.
    fn records(&mut self, id: usize) -> &[usize] {
        let unseen = &self.bytes[self.seen..];
        let whole = memchr::memrchr(b'\n', unseen).map_or(0, |end| end + 1);
        for line in unseen[..whole].split_inclusive(|&byte| byte == b'\n') {
            self.seen += line.len();
            let line = str::from_utf8(line).unwrap();
            let Some((_, message)) = line.trim_end().split_once(" recieved: ") else {
                continue;
            };
            let (id, n) = message.split_once(' ').unwrap();
            let (numbers, ends) = self.records.entry(id.parse().unwrap()).or_default();
            numbers.push(n.parse().unwrap());
            ends.push(self.seen);
        }
        let entry = self.records.entry(id).or_default();
        &entry.0
    }

    fn cut(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.seen = self.seen.min(length);
        for (numbers, ends) in self.records.values_mut() {
            let kept = ends.partition_point(|&end| end <= length);
            ends.truncate(kept);
            numbers.truncate(kept);
        }
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let n = state.room.unwrap_or(usize::MAX).min(bytes.len());
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.bytes.extend_from_slice(&bytes[..n]);
        state.room = state.room.map(|room| room - n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Disk {
    fn open(_: &Path) -> io::Result<Self> {
        Ok(Self::default())
    }

    fn is_at(&self, _: &Path) -> bool {
        true
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.state.borrow().bytes.len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        if !state.can_cut {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let cut = state.bytes.len() - length as usize;
        state.room = state.room.map(|room| room + cut);
        state.cut(length as usize);
        Ok(())
    }

    fn byte_at(&self, offset: u64) -> io::Result<u8> {
        Ok(self.state.borrow().bytes[offset as usize])
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_with_name(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
