//! Facts about the process itself: its parent, signals and descriptors.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getppid, getrlimit, setrlimit, test_kill_process};

/// The environment variable with the launcher's process ID, for its children.
pub const LAUNCHER_PID: &str = "LAUNCHER_PID";

/// The result of [`end_with_launcher`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentCheck {
    /// No launcher has started this process, or the process is tied to the one that did.
    Sound,
    /// The environment names a launcher that is not this process's parent, so the variable was inherited. The
    /// text is its value, to be reported.
    Foreign(String),
}

/// Ties this process to the launcher that started it, if one did: when the launcher ends in any way, the
/// kernel sends this process SIGTERM.
///
/// Call it first, from the main thread. It is an error if the launcher has ended already: then its children
/// belong to the init process, and its process ID is not in use. Any other mismatch means that the variable
/// was inherited.
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
        return Err(io::Error::other("the launcher that started this program has ended"));
    }
    Ok(ParentCheck::Foreign(launcher))
}

/// Asks the kernel to send SIGTERM to this process when its parent ends. macOS does not support it.
fn end_with_parent() -> io::Result<()> {
    #[cfg(not(target_os = "macos"))]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    Ok(())
}

/// The signals that terminate a program, at once or through its handler.
pub const ENDING_SIGNALS: [i32; 4] =
    [Signal::SIGINT as i32, Signal::SIGTERM as i32, Signal::SIGHUP as i32, Signal::SIGQUIT as i32];

/// Unblocks these signals. A parent process may have blocked any of them, and children inherit that. Every
/// program calls it for the signals that it relies on, before it starts threads.
pub fn unblock_signals(signals: impl IntoIterator<Item = i32>) -> io::Result<()> {
    signal_set(signals)?.thread_unblock()?;
    Ok(())
}

/// Blocks a signal for this process. With SIGTTOU blocked, the terminal accepts the output of a background
/// process even after `stty tostop`, which stops a process that neither blocks nor ignores the signal
/// (`tty_check_change` in the kernel's `tty_jobctrl.c`).
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

/// The number of open descriptors of this process, inherited ones included.
pub fn open_descriptors() -> usize {
    // Reading the folder takes one itself. Without the folder, only the three standard ones are known.
    std::fs::read_dir("/dev/fd").map_or(3, |entries| entries.count().saturating_sub(1))
}

/// Raises the soft limit of open descriptors to the hard limit. Returns the new soft limit.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    // This fails only if the hard limit exceeds that of the system. Then the soft limit stays.
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}
