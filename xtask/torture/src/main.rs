//! `cargo xtask torture`: fault injection around the server, repeated.
//!
//! The tests of the workspace inject every fault once. Here each fault is injected often, at random
//! moments from a seed, and at scales that take too long for a test. A fault is written like a test: what
//! fails panics, and is reported as a broken promise.
//!
//! From the bottom up:
//!
//! - `options`: the command line
//! - `report`: the results of faults, and the summary of a run
//! - `latency`: how long another client waits for its replies
//! - `faults`: the faults of one server and its clients
//! - `rounds`: injects them, round by round
//! - `stream`: fault injection for a log that is a stream of several machines

#![allow(clippy::unwrap_used)]

mod faults;
mod latency;
mod options;
mod report;
mod rounds;
mod stream;

use std::process::ExitCode;
use std::time::Instant;

use common::process;
use common::units::seconds;
use fastrand::Rng;

use options::{COMMAND, Options};
use report::{conclude, say};

fn main() -> ExitCode {
    let options = match COMMAND.read(Options::default(), std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Err(error) = process::unblock_signals(process::ENDING_SIGNALS) {
        say(&format!("torture: cannot unblock signals: {error}\n"));
        return ExitCode::FAILURE;
    }
    // Many clients need many descriptors.
    process::raise_descriptor_limit();
    let length = seconds(options.time().as_secs_f64());
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..) >> 32);
    say(&format!("torture: {length}, -seed {seed}\n"));
    let mut random = Rng::with_seed(seed);
    let deadline = Instant::now() + options.time();
    let torture = if options.stream { stream::torture } else { rounds::torture };
    conclude(&torture(&options, &mut random, deadline))
}
