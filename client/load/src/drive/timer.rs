//! A timer finer than the milliseconds of `epoll_wait`.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::drive::clock::Nanos;

/// Wakes its `mio::Poll` once, when the time it was last set to has passed.
///
/// It is never read: registered edge-triggered, it reports each expiry, and setting it again
/// clears the last one.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    /// When it goes off, or did.
    at: Nanos,
}

impl Timer {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { fd, at: 0 })
    }

    /// Sets it to go off at `at`; it is `now`.
    pub(crate) fn set(&mut self, at: Nanos, now: Nanos) -> io::Result<()> {
        if at == self.at {
            return Ok(());
        }
        self.at = at;
        let delay = at.saturating_sub(now);
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec {
            tv_sec: (delay / 1_000_000_000).cast_signed(),
            tv_nsec: (delay % 1_000_000_000).max(1).cast_signed(),
        };
        let once = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn it_goes_off_each_time_it_is_set() {
        let mut poll = Poll::new().unwrap();
        let mut timer = Timer::new(poll.registry(), Token(3)).unwrap();
        let mut events = Events::with_capacity(8);
        for delay in [0, 200_000, 1_300_000] {
            let set_at = Instant::now();
            timer.set(500 + delay, 500).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(10)))
                .unwrap();
            assert_eq!(
                events
                    .iter()
                    .map(mio::event::Event::token)
                    .collect::<Vec<_>>(),
                [Token(3)]
            );
            assert!(set_at.elapsed() >= Duration::from_nanos(delay));
        }
    }
}
