//! A stream: made, changed, moved and read.

use std::thread;
use std::time::{Duration, Instant};

use nats::client::Client;
use nats::headers;
use nats::jetstream::{Answer, ApiError, StreamInfo, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{ANSWER, Cluster, DEADLINE, Node};

/// How long is waited before it is tried again where somebody said no.
const PAUSE: Duration = Duration::from_millis(20);

/// A stream of a [`Cluster`], whether it is there or not. What is asked of it is asked of any node that
/// is up, again and again, since a stream that is looking for a leader does not answer.
///
/// All of it fails when the stream refuses, and when nobody answers until the [`DEADLINE`] is over.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    cluster: &'a Cluster,
    name: &'a str,
}

/// What the API answers when something was done: nothing that matters.
#[derive(Deserialize)]
struct Done {}

impl<'a> Stream<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: &'a str) -> Self {
        Self { cluster, name }
    }

    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    pub(crate) fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// Makes it, and waits until it can be reached through every node that is up. What `config`, an
    /// object, does not say: it stores `NAME.>`, in files, on every node. It is no error if there is one
    /// that is exactly so.
    pub fn create(&self, config: &Value) -> Result<(), String> {
        let defaults = json!({
            "name": self.name,
            "subjects": [format!("{}.>", self.name)],
            "storage": "file",
            "num_replicas": self.cluster.nodes.len(),
        });
        let info: StreamInfo = self.must("CREATE", &merged(defaults, config))?;
        let Some(subject) = info.config.subjects.first() else {
            return Ok(());
        };
        if info.config.no_ack {
            return Ok(());
        }
        let subject = subject.replace(['*', '>'], "nobody");
        let mut nodes = self.cluster.nodes.iter().filter(|node| node.is_up());
        nodes.try_for_each(|node| self.await_route(node, &subject))
    }

    /// Waits until what is published through a node reaches the stream. What is published here is meant
    /// for another, so that it is refused.
    fn await_route(&self, node: &Node, subject: &str) -> Result<(), String> {
        let mut block = Vec::new();
        headers::write(&mut block, &[(header::EXPECTED_STREAM, "another")]);
        persist(|| {
            let mut client = self.cluster.client_of(&[node])?;
            let answer = client.request(subject, &block, b"", ANSWER);
            let answer = answer.map_err(|error| error.to_string())?;
            match Answer::<Done>::parse(answer.headers(), &answer.payload) {
                Answer::No(error) if error.is_no_responders() => Err(format!("{subject}: {error}")),
                _ => Ok(()),
            }
        })
    }

    /// Changes what `changes`, an object, names in its configuration.
    pub fn update(&self, changes: &Value) -> Result<(), String> {
        let mut info: Value = self.must("INFO", &json!({}))?;
        let config = merged(info["config"].take(), changes);
        self.must::<Done>("UPDATE", &config).map(|_| ())
    }

    /// Deletes it, if it is there.
    pub fn delete(&self) -> Result<(), String> {
        match self.ask::<Done>("DELETE", &json!({}))? {
            Err(error) if error.err_code != ApiError::STREAM_NOT_FOUND => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Deletes all of its messages.
    pub fn purge(&self) -> Result<(), String> {
        self.must::<Done>("PURGE", &json!({})).map(|_| ())
    }

    /// How it is configured, and what is in it, by its leader.
    pub fn info(&self) -> Result<StreamInfo, String> {
        persist(|| {
            let info: StreamInfo = self.must("INFO", &json!({}))?;
            let is_led = info.has_leader();
            is_led
                .then_some(info)
                .ok_or_else(|| format!("{} has no leader", self.name))
        })
    }

    /// The index of the node that leads it, after waiting for one.
    pub fn leader(&self) -> Result<usize, String> {
        persist(|| {
            let Some(cluster) = self.info()?.cluster else {
                return Ok(0);
            };
            let leader = cluster.leader.as_deref();
            let index = self
                .cluster
                .nodes
                .iter()
                .position(|node| Some(node.name()) == leader);
            index.ok_or_else(|| format!("{} is led by {leader:?}", self.name))
        })
    }

    /// Has its leader step down, for the node with the index `to` if there is one. The new leader may
    /// yet have to be waited for.
    pub fn step_down(&self, to: Option<usize>) -> Result<(), String> {
        let body = match to {
            None => json!({}),
            Some(index) => json!({"placement": {"preferred": self.cluster.nodes[index].name()}}),
        };
        self.must::<Done>("LEADER.STEPDOWN", &body).map(|_| ())
    }

    fn must<T: DeserializeOwned>(&self, verb: &str, body: &Value) -> Result<T, String> {
        let answer = self.ask(verb, body)?;
        answer.map_err(|error| format!("{verb} of stream {}: {error}", self.name))
    }

    /// What the API answers to a verb, sooner or later.
    fn ask<T: DeserializeOwned>(
        &self,
        verb: &str,
        body: &Value,
    ) -> Result<Result<T, ApiError>, String> {
        let subject = format!("$JS.API.STREAM.{verb}.{}", self.name);
        persist(|| call(&mut self.cluster.client()?, &subject, body))
    }
}

/// Asks the API once. A refusal that may pass is an error of this function.
pub(crate) fn call<T: DeserializeOwned>(
    client: &mut Client,
    subject: &str,
    body: &Value,
) -> Result<Result<T, ApiError>, String> {
    match client.call(subject, body.to_string().as_bytes(), ANSWER) {
        Ok(Answer::Yes(answer)) => Ok(Ok(answer)),
        Ok(Answer::No(error)) if !error.is_passing() => Ok(Err(error)),
        Ok(Answer::No(error)) => Err(format!("{subject}: {error}")),
        Ok(Answer::Nonsense(why)) => Err(format!("{subject}: {why}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Tries until something comes of it, or the deadline is over; then it is said what was wrong last.
pub(crate) fn persist<T>(mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(PAUSE),
            result => return result,
        }
    }
}

/// An object, with the values of another one over its own.
fn merged(mut object: Value, over: &Value) -> Value {
    for (key, value) in over.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}
