//! A stream: create, update, read and delete it, and move its leader.

use nats::headers;
use nats::jetstream::{Answer, ApiError, StreamInfo, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::{ANSWER, call};
use super::cluster::Cluster;
use super::node::Node;
use crate::wait::persist;

/// A stream of a [`Cluster`], which need not exist. Requests go to any node that is up and are repeated: a
/// stream without a leader does not answer.
///
/// Every method fails when the stream rejects the request, or when there is no answer within the
/// [`DEADLINE`](crate::wait::DEADLINE).
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    cluster: &'a Cluster,
    name: &'a str,
}

/// A successful answer of the API, without its content.
#[derive(Deserialize)]
struct Done {}

impl Cluster {
    /// A stream of this name, which need not exist.
    pub fn stream<'a>(&'a self, name: &'a str) -> Stream<'a> {
        Stream { cluster: self, name }
    }
}

impl<'a> Stream<'a> {
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    pub(super) fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// Creates it, and waits until it can be reached through every node that is up. `config`, an object,
    /// overrides the defaults: subject `NAME.>`, file storage, a replica on every node. An existing stream
    /// with the same configuration is no error.
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

    /// Waits until a publication through a node reaches the stream. The message names another stream as
    /// expected, so that this one rejects it.
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

    /// Updates the fields of `changes`, an object, in its configuration.
    pub fn update(&self, changes: &Value) -> Result<(), String> {
        let mut info: Value = self.must("INFO", &json!({}))?;
        let config = merged(info["config"].take(), changes);
        self.must::<Done>("UPDATE", &config).map(|_| ())
    }

    /// Deletes it, if it exists.
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

    /// Its configuration and state, as reported by its leader.
    pub fn info(&self) -> Result<StreamInfo, String> {
        persist(|| {
            let info: StreamInfo = self.must("INFO", &json!({}))?;
            let is_led = info.has_leader();
            is_led.then_some(info).ok_or_else(|| format!("{} has no leader", self.name))
        })
    }

    /// The index of the node that leads it; waits for a leader.
    pub fn leader(&self) -> Result<usize, String> {
        persist(|| {
            let Some(cluster) = self.info()?.cluster else {
                return Ok(0);
            };
            let leader = cluster.leader.as_deref();
            let index = self.cluster.nodes.iter().position(|node| Some(node.name()) == leader);
            index.ok_or_else(|| format!("{} is led by {leader:?}", self.name))
        })
    }

    /// Makes its leader step down, if possible in favour of the node with the index `to`. The new leader may
    /// not be elected yet on return.
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

    /// The answer of the API to a verb; repeats the request until there is one.
    fn ask<T: DeserializeOwned>(
        &self,
        verb: &str,
        body: &Value,
    ) -> Result<Result<T, ApiError>, String> {
        let subject = format!("$JS.API.STREAM.{verb}.{}", self.name);
        persist(|| call(&mut self.cluster.client()?, &subject, body))
    }
}

/// `object`, with the values of `over` replacing its own.
fn merged(mut object: Value, over: &Value) -> Value {
    for (key, value) in over.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}
