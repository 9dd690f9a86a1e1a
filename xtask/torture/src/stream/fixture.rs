//! A fixture: nodes, servers that keep their lines in a stream of the nodes, and clients.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use test_support::balancer::Balancer;
use test_support::nodes::{CURRENT, Cluster, Message, Setup, Store, Stream, install};
use test_support::numbered::{Load, verify};
use test_support::programs::succeeds;
use test_support::server::Server;
use test_support::stream_log::{self, STREAM};

use super::evidence;
use crate::report::{FaultReport, attempt};

/// The number of clients.
const CLIENTS: usize = 100;

/// The server's `-ack-wait`. Some faults take longer, so that connections are also closed without a reply.
const ACK_WAIT: [&str; 2] = ["-ack-wait", "10s"];

/// For [`succeeds`].
pub(crate) const HAPROXY: &str = "command -v haproxy";

/// The processes of a fixture.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) nodes: usize,
    /// The number of servers; more than one are behind `HAProxy`.
    pub(crate) servers: usize,
    /// The disk size of each node in bytes, if its disk is small.
    pub(crate) disk: Option<u64>,
    /// Part of `-short`.
    pub(crate) short: bool,
}

/// All processes, under load.
pub(crate) struct Fixture {
    pub(crate) clients: Load,
    _balancer: Option<Balancer>,
    pub(crate) servers: Vec<Server>,
    pub(crate) cluster: Cluster,
    /// The messages of streams that have been deleted.
    past: Vec<Message>,
    /// The longest outage.
    longest: Duration,
}

impl Fixture {
    /// Starts all processes, and waits until every client gets `ok`. No outage will be longer than `longest`.
    pub(crate) fn start(setting: &Setting, longest: Duration, random: &mut Rng) -> Self {
        let store = setting.disk.map_or(Store::Folder, Store::Memory);
        let cluster = stream_log::start(Setup {
            nodes: setting.nodes,
            stores: vec![store; setting.nodes],
            ..Setup::of(install(CURRENT).unwrap())
        });
        let count = if succeeds(HAPROXY) { setting.servers } else { 1 };
        let serve = |n| stream_log::serve_fixed(&format!("s{n}"), &cluster, &ACK_WAIT);
        let servers: Vec<_> = (1..=count).map(serve).collect();
        let addresses: Vec<_> = servers.iter().map(Server::address).collect();
        let balancer = (addresses.len() > 1).then(|| Balancer::start(&addresses, "").unwrap());
        let address = balancer.as_ref().map_or(addresses[0], |it| it.address);
        let fixture = Self {
            clients: Load::persistent(address, CLIENTS, random),
            _balancer: balancer,
            servers,
            cluster,
            past: Vec::new(),
            longest,
        };
        fixture.clients.wait_for_ok();
        fixture
    }

    pub(crate) fn stream(&self) -> Stream<'_> {
        self.cluster.stream(STREAM)
    }

    /// Sleeps for a random time, at most `at_most` and the longest outage.
    pub(crate) fn rest(&self, random: &mut Rng, at_most: Duration) {
        let at_most = at_most.min(self.longest);
        thread::sleep(at_most.mul_f64(random.f64()));
    }

    /// Starts dead nodes, resumes stopped ones, and waits until all are healthy, every client gets `ok` again,
    /// and all servers run.
    pub(crate) fn repair(&mut self) {
        self.repair_nodes();
        self.clients.wait_for_ok();
        for server in &mut self.servers {
            let status = server.exit_status();
            assert!(status.is_none(), "a server has ended with {status:?}");
        }
    }

    fn repair_nodes(&mut self) {
        for node in &mut self.cluster.nodes {
            match node.pid() {
                None => node.start().unwrap(),
                Some(_) if !node.is_up() => node.resume().unwrap(),
                Some(_) => {}
            }
        }
        self.cluster.wait_until_healthy().unwrap();
    }

    /// Reads the stream, deletes it, calls `after`, and creates it again. It must not have grown.
    pub(crate) fn make_anew(&mut self, after: impl FnOnce(&Self)) {
        let stream = self.cluster.stream(STREAM);
        let mut messages = stream.messages().unwrap();
        let last = messages.last().map_or(0, |last| last.sequence);
        let now = stream.info().unwrap().state.last_seq;
        assert_eq!(now, last, "a full stream grew");
        self.past.append(&mut messages);
        stream.delete().unwrap();
        after(self);
        stream_log::create(&self.cluster);
    }

    /// Stops all processes, and compares the clients' replies with the stream. Keeps the evidence if a promise
    /// was broken, now or `before`.
    pub(crate) fn account(mut self, before: Option<String>) -> FaultReport {
        let repaired = attempt(|| self.repair_nodes());
        let accounts = self.clients.finish().unwrap();
        let mut messages = self.past;
        messages.append(&mut self.cluster.stream(STREAM).messages().unwrap());
        let log: Vec<_> = messages.iter().map(|it| it.payload.as_slice()).collect();
        let verification = verify(&accounts, log.concat().as_slice()).unwrap();
        let mut report = FaultReport::of(&verification);
        let torn = verification.torn;
        report.expect(torn == 0, format!("{torn} torn records"));
        let (errors, unanswered) = (verification.errors, verification.unanswered);
        report.remark(&format!("the last run: {errors} refused, {unanswered} unanswered"));
        report.broken.extend(before);
        report.broken.extend(repaired.err());
        let mut said = Vec::new();
        for server in self.servers {
            let mut ended = server.stop();
            let status = ended.status;
            report.expect(status.success(), format!("a server ends with {status}"));
            said.append(&mut ended.said);
        }
        if report.is_broken() {
            let kept = evidence::keep(&messages, &said, &self.cluster.nodes);
            report.broken.push(kept);
        }
        report
    }
}
