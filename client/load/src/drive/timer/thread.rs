//! Timer for systems without timer descriptors: a thread that sleeps.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use mio::unix::pipe;
use mio::{Interest, Registry, Token};

use crate::drive::clock::Nanos;

/// A timer that wakes its `mio::Poll` once, at the last time set.
#[derive(Debug)]
pub(crate) struct Timer {
    deadlines: Sender<Instant>,
    /// The pipe in which the thread reports that a deadline has passed. A poll has room for one
    /// waker only.
    passed: pipe::Receiver,
    /// The time set last.
    at: Nanos,
}

impl Timer {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let (wake, mut passed) = pipe::new()?;
        registry.register(&mut passed, token, Interest::READABLE)?;
        let (deadlines, received) = channel();
        std::thread::Builder::new()
            .name("timer".to_owned())
            .spawn(move || sleep(&received, wake))?;
        Ok(Self { deadlines, passed, at: 0 })
    }

    /// Sets the timer to go off at `at`. `now` is the current time.
    pub(crate) fn set(&mut self, at: Nanos, now: Nanos) -> io::Result<()> {
        if at != self.at {
            self.at = at;
            while self.passed.read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
            let deadline = Instant::now() + Duration::from_nanos(at.saturating_sub(now));
            let sent = self.deadlines.send(deadline);
            sent.map_err(|_| io::Error::other("the timer's thread has ended"))?;
        }
        Ok(())
    }
}

/// Sleeps until the last received deadline, then reports it, as long as the timer exists.
fn sleep(deadlines: &Receiver<Instant>, mut wake: pipe::Sender) {
    let mut deadline: Option<Instant> = None;
    loop {
        let received = match deadline {
            Some(deadline) => {
                deadlines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            }
            None => deadlines.recv().map_err(RecvTimeoutError::from),
        };
        deadline = match received {
            Ok(deadline) => Some(deadline),
            Err(RecvTimeoutError::Timeout) if wake.write(&[0]).is_ok() => None,
            Err(_) => return,
        };
    }
}
