//! Stubs for builds without NATS: options that report it, and types without values.
#![allow(missing_docs, reason = "as in the package nats")]

use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use common::args::{ArgValue, Opt, UsageError};

pub fn name(arg: &ArgValue) -> Result<String, UsageError> {
    Err(absent(arg))
}

fn absent(arg: &ArgValue) -> UsageError {
    arg.wrong("this program was built without streams")
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes;

impl Nodes {
    pub fn are_given(&self) -> bool {
        false
    }

    pub fn check(&self) -> Result<(), UsageError> {
        Ok(())
    }
}

#[derive(Debug)]
pub struct SharedOptions<O>(PhantomData<O>);

impl<O: AsMut<Nodes> + 'static> SharedOptions<O> {
    pub const NATS: Opt<O> = row(&["nats"], "URLS");
    pub const CREDENTIALS: Opt<O> = row(&["nats-creds"], "FILE");
    pub const CA: Opt<O> = row(&["nats-ca"], "FILE");
    pub const CERT: Opt<O> = row(&["nats-cert"], "FILE");
    pub const KEY: Opt<O> = row(&["nats-key"], "FILE");
}

const fn row<O>(names: &'static [&'static str], value: &'static str) -> Opt<O> {
    Opt::new(names, value, "left out of this program", |_, arg| {
        Err(absent(arg))
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    First,
    Last(u64),
    Time(String),
}

#[derive(Debug)]
pub struct Delivered {
    pub sequence: u64,
    pub message: Received,
}

#[derive(Debug)]
pub struct Received {
    pub payload: Vec<u8>,
}

#[derive(Debug)]
pub struct Pull(Infallible);

impl Pull {
    pub fn open(
        _servers: Nodes,
        _who: &str,
        stream: &str,
        _start: Start,
        _patience: Option<Duration>,
    ) -> Result<Self, String> {
        Err(format!(
            "cannot read stream {stream}: this program was built without streams"
        ))
    }

    pub fn next(&mut self, _deadline: Instant) -> Result<Option<Delivered>, String> {
        match self.0 {}
    }

    pub fn is_done(&self) -> bool {
        match self.0 {}
    }

    pub fn pending(&self) -> u64 {
        match self.0 {}
    }

    pub fn extend(&mut self) {
        match self.0 {}
    }

    pub fn notices(&mut self) -> Vec<String> {
        match self.0 {}
    }
}
