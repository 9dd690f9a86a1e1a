//! What the programs ask of the operating system about their own process.

use std::io;

use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};

/// The environment variable in which the launcher tells its children its process id.
pub const LAUNCHER_PID: &str = "LAUNCHER_PID";

/// Ties this process to the launcher that started it, if one did: when the launcher ends, however
/// it ends, the kernel sends this process SIGTERM.
///
/// To be called from the main thread, first thing. A launcher that has ended before the call is
/// an error.
pub fn end_with_launcher() -> io::Result<()> {
    let Ok(launcher) = std::env::var(LAUNCHER_PID) else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref() == Some(launcher.as_str()) {
        return Ok(());
    }
    Err(io::Error::other(
        "the launcher that started this program has ended",
    ))
}

/// Raises the soft limit of open descriptors to the hard one and returns what it is then.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Refused only where the hard limit is more than the system allows: then the soft one stays.
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}
