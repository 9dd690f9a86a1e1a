//! What the programs ask of the operating system about their own process.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getppid, getrlimit, setrlimit, test_kill_process};

/// The environment variable in which the launcher tells its children its process id.
pub const LAUNCHER_PID: &str = "LAUNCHER_PID";

/// What became of [`end_with_launcher`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentCheck {
    /// No launcher has started this process, or it ends with the one that did.
    Sound,
    /// The environment names a launcher that is not this process's parent, so it was left there by
    /// somebody else: its value, to be told of.
    Foreign(String),
}

/// Ties this process to the launcher that started it, if one did: when the launcher ends, however
/// it ends, the kernel sends this process SIGTERM.
///
/// To be called from the main thread, first thing. A launcher that has ended before the call is
/// an error. It leaves its children to the first process of the system, and no process has its
/// number any more; whatever else does not fit is a variable that was inherited.
pub fn end_with_launcher() -> io::Result<ParentCheck> {
    let Ok(launcher) = std::env::var(LAUNCHER_PID) else {
        return Ok(ParentCheck::Sound);
    };
    let pid = launcher.parse().ok().and_then(Pid::from_raw);
    if pid.is_some() && getppid() == pid {
        end_with_parent()?;
        if getppid() == pid {
            return Ok(ParentCheck::Sound);
        }
    }
    let is_orphan = getppid().is_none_or(|parent| parent == Pid::INIT);
    let has_ended = |pid| test_kill_process(pid) == Err(Errno::SRCH);
    if is_orphan && pid.is_some_and(has_ended) {
        return Err(io::Error::other(
            "the launcher that started this program has ended",
        ));
    }
    Ok(ParentCheck::Foreign(launcher))
}

/// Has the kernel send this process SIGTERM when its parent ends, where it can do that: macOS cannot.
fn end_with_parent() -> io::Result<()> {
    #[cfg(not(target_os = "macos"))]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    Ok(())
}

/// The signals that end a program, at once or as it handles them.
pub const ENDING_SIGNALS: [i32; 4] = [
    Signal::SIGINT as i32,
    Signal::SIGTERM as i32,
    Signal::SIGHUP as i32,
    Signal::SIGQUIT as i32,
];

/// Unblocks these signals: the process that started this one may have blocked any, and what is blocked
/// stays so. Every program does that for the signals that it relies on, before there are other threads.
pub fn unblock_signals(signals: impl IntoIterator<Item = i32>) -> io::Result<()> {
    signal_set(signals)?.thread_unblock()?;
    Ok(())
}

/// Blocks a signal for this process. Of SIGTTOU, that has the terminal take the output of a
/// background process even after `stty tostop`: it stops one that does not block or ignore the
/// signal (`tty_check_change` in the kernel's `tty_jobctrl.c`).
pub fn block_signal(signal: i32) -> io::Result<()> {
    signal_set([signal])?.thread_block()?;
    Ok(())
}

fn signal_set(signals: impl IntoIterator<Item = i32>) -> io::Result<SigSet> {
    let mut set = SigSet::empty();
    for signal in signals {
        set.add(Signal::try_from(signal)?);
    }
    Ok(set)
}

/// How many descriptors are open in this process, those that it has inherited included.
pub fn open_descriptors() -> usize {
    // Reading the folder takes one itself. Where there is none, only the standard ones are known of.
    std::fs::read_dir("/dev/fd").map_or(3, |entries| entries.count().saturating_sub(1))
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
