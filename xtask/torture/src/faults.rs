//! The faults of one server and its clients.
//!
//! - `server`: the server, its disk and its signals, under load
//! - `clients`: a client that misbehaves, and its effect on another one
//! - `crowds`: many clients that misbehave together
//! - `sender`: a sender that follows a file, while the processes around it are killed

mod clients;
mod crowds;
mod sender;
mod server;

use fastrand::Rng;

use crate::report::FaultReport;

/// A fault: its name, the maximum number of injections, and the function that injects it.
pub(crate) struct Fault(
    pub(crate) &'static str,
    pub(crate) u32,
    pub(crate) fn(&mut Rng) -> FaultReport,
);

/// All faults, in the order of their injection.
pub(crate) const FAULTS: &[Fault] = &[
    Fault("kill -9 under load", 100, server::crash),
    Fault("kill -9 while it rotates", 100, server::crash_rotating),
    Fault("SIGTERM under load", 100, server::stop),
    Fault("full disk (1 MiB)", 100, server::full_disk),
    Fault("file-size limit", 100, server::file_size_limit),
    Fault("rotation under load", 500, server::rotation),
    Fault("a sender under faults", 200, sender::under_faults),
    Fault("10,000 connections in a row", 1, clients::in_a_row),
    Fault("19,000 silent clients", 1, clients::silent),
    Fault("slow clients", 1, clients::slow),
    Fault("a flooding client", 1, clients::flooder),
    Fault("a light client beside 50 that flood", 1, crowds::flooders),
    Fault("a light client beside 50 of bare LFs", 1, crowds::bare_line_ends),
    Fault("slow readers", 1, crowds::slow_readers),
    Fault("resets in mid-line", 20, crowds::resets),
    Fault("ends in mid-line", 5, crowds::ends),
    Fault("a client that never reads", 1, clients::deaf),
    Fault("a line of 1 GB", 1, clients::endless_line),
    Fault("64 files, 200 clients", 1, server::few_descriptors),
    Fault("random schedules (fuzz)", 2, server::schedules),
    Fault("SIGSTOP for 10 s", 1, server::pause),
];
