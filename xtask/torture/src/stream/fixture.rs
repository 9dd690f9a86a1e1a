//! A fixture: nodes, servers that keep their lines in a stream of the nodes, and clients.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use test_support::nodes::{Cluster, Message, Node, Setup, Store, Stream, json};

use super::clients::Clients;
use super::faults::Fault;
use super::servers::LogServer;
use super::{SHORT, STREAM, Setting, Tools, evidence};
use crate::balancer::Balancer;
use crate::numbered::{Verification, verify};

/// All processes of a setting, under load.
pub(crate) struct Fixture {
    pub(crate) clients: Clients,
    _balancer: Option<Balancer>,
    pub(crate) servers: Vec<LogServer>,
    pub(crate) cluster: Cluster,
    /// The messages of streams that have been deleted.
    past: Vec<Message>,
    /// The longest outage.
    longest: Duration,
}

impl Fixture {
    /// Starts all processes of a setting, and waits until every client gets `ok`.
    pub(crate) fn set(setting: &Setting, tools: &Tools, random: &mut Rng) -> Result<Self, String> {
        let store = setting.disk.map_or(Store::Folder, Store::Memory);
        let setup = Setup {
            nodes: setting.nodes,
            stores: vec![store; setting.nodes],
            ..Setup::of(tools.program.clone())
        };
        let cluster = setup.start()?;
        create(&cluster.stream(STREAM))?;
        let count = if tools.balancer { setting.servers } else { 1 };
        let servers = (1..=count).map(|n| LogServer::start(&cluster, &format!("s{n}")));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<_> = servers.iter().map(LogServer::address).collect();
        let balancer = match addresses[..] {
            [_] => Ok(None),
            _ => Balancer::start(&addresses, "").map(Some),
        };
        let balancer = balancer.map_err(|error| format!("cannot start HAProxy: {error}"))?;
        let address = balancer.as_ref().map_or(addresses[0], |it| it.address);
        let clients = Clients::start(address, random);
        clients.wait_until_kept()?;
        Ok(Self {
            clients,
            _balancer: balancer,
            servers,
            cluster,
            past: Vec::new(),
            longest: if tools.short { SHORT } else { Duration::MAX },
        })
    }

    pub(crate) fn stream(&self) -> Stream<'_> {
        self.cluster.stream(STREAM)
    }

    /// Sleeps for a random time, at most `at_most` and the longest outage.
    pub(crate) fn rest(&self, random: &mut Rng, at_most: Duration) {
        let at_most = at_most.min(self.longest);
        thread::sleep(at_most.mul_f64(random.f64()));
    }

    /// Injects a fault, repairs the nodes, and waits until every client gets `ok` again. Returns the longest
    /// time for which a client got none.
    pub(crate) fn run(&mut self, fault: &Fault, random: &mut Rng) -> Result<Duration, String> {
        self.rest(random, Duration::from_millis(300));
        self.clients.silence();
        (fault.inject)(self, random)?;
        self.mend()?;
        self.clients.wait_until_kept()?;
        self.servers.iter_mut().try_for_each(LogServer::check)?;
        Ok(self.clients.silence())
    }

    /// Starts dead nodes, resumes stopped ones, and waits until all are healthy.
    fn mend(&mut self) -> Result<(), String> {
        for node in &mut self.cluster.nodes {
            match node.pid() {
                None => node.start()?,
                Some(_) if !node.is_up() => node.resume()?,
                Some(_) => {}
            }
        }
        self.cluster.wait_until_healthy()
    }

    /// Reads the stream, deletes it, calls `after`, and creates it again. An error if the stream has grown.
    pub(crate) fn make_anew(&mut self, after: impl FnOnce(&Self)) -> Result<(), String> {
        let stream = self.cluster.stream(STREAM);
        let mut messages = stream.messages()?;
        let last = messages.last().map_or(0, |last| last.sequence);
        let state = stream.info()?.state;
        if state.last_seq != last {
            return Err(format!(
                "a full stream grew from {last} to {}",
                state.last_seq
            ));
        }
        self.past.append(&mut messages);
        stream.delete()?;
        after(self);
        create(&self.stream())
    }

    /// Stops all processes, and compares the clients' replies with the stream. Appends a failed check to
    /// `wrong`, and keeps the evidence.
    pub(crate) fn account(mut self, wrong: &mut Vec<String>) -> Result<Verification, String> {
        let mended = self.mend();
        let accounts = self.clients.finish()?;
        let mut messages = self.past;
        messages.append(&mut self.cluster.stream(STREAM).messages()?);
        let log: Vec<_> = messages.iter().map(|it| it.payload.as_slice()).collect();
        let verification =
            verify(&accounts, log.concat().as_slice()).map_err(|it| it.to_string())?;
        if !verification.is_good() || verification.torn > 0 {
            wrong.push(format!("{verification:?}"));
        }
        let mut said = Vec::new();
        for server in self.servers {
            match server.stop() {
                Ok(mut lines) => said.append(&mut lines),
                Err(why) => wrong.push(why),
            }
        }
        wrong.extend(mended.err());
        if !wrong.is_empty() {
            let logs: Vec<_> = self.cluster.nodes.iter().map(Node::log).collect();
            wrong.push(evidence::keep(&messages, &said, &logs)?);
        }
        Ok(verification)
    }
}

fn create(stream: &Stream<'_>) -> Result<(), String> {
    stream.create(&json!({"discard": "new"}))
}
