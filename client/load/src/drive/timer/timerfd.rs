//! Timer that uses the kernel's timer descriptor, `timerfd`.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::drive::clock::Nanos;

/// A timer that wakes its `mio::Poll` once, at the last time set.
///
/// The descriptor is never read. Since it is registered edge-triggered, it reports each expiry, and
/// setting it again clears the last one.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    /// The time set last.
    at: Nanos,
}

impl Timer {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { fd, at: 0 })
    }

    /// Sets the timer to go off at `at`. `now` is the current time.
    pub(crate) fn set(&mut self, at: Nanos, now: Nanos) -> io::Result<()> {
        if at == self.at {
            return Ok(());
        }
        self.at = at;
        let delay = at.saturating_sub(now);
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: (delay / 1_000_000_000).cast_signed(),
            tv_nsec: (delay % 1_000_000_000).max(1).cast_signed(),
        };
        let once = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
