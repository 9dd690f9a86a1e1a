//! The one way to wait for something that no event reports.

use std::thread;
use std::time::{Duration, Instant};

/// The timeout for everything: a test that reaches it fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The interval of polling. It leaves the CPU to the processes that are waited for.
const PAUSE: Duration = Duration::from_millis(1);

/// The pause before a retry: an attempt may leave work to the node that rejected it.
const RETRY: Duration = Duration::from_millis(20);

/// The result of a poll: a condition that is true, or a value that is there.
pub trait Condition {
    type Value;

    fn value(self) -> Option<Self::Value>;
}

impl Condition for bool {
    type Value = ();

    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Condition for Option<T> {
    type Value = T;

    fn value(self) -> Self {
        self
    }
}

/// Polls `condition` until it is met. None if it is not met after `timeout`.
pub fn poll<C: Condition>(timeout: Duration, condition: impl FnMut() -> C) -> Option<C::Value> {
    poll_every(PAUSE, timeout, condition)
}

fn poll_every<C: Condition>(
    pause: Duration,
    timeout: Duration,
    mut condition: impl FnMut() -> C,
) -> Option<C::Value> {
    let deadline = Instant::now() + timeout;
    loop {
        let value = condition().value();
        if value.is_some() || Instant::now() >= deadline {
            return value;
        }
        thread::sleep(pause);
    }
}

/// Polls `condition` until it is met.
///
/// # Panics
/// It is not met after the [`DEADLINE`].
pub fn wait_until<C: Condition>(what: &str, condition: impl FnMut() -> C) -> C::Value {
    poll(DEADLINE, condition).unwrap_or_else(|| panic!("waited too long for {what}"))
}

/// Repeats `attempt` until it succeeds. After the [`DEADLINE`], returns its last error.
pub fn persist<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut last = None;
    let success =
        poll_every(RETRY, DEADLINE, || attempt().map_err(|error| last = Some(error)).ok());
    match (success, last) {
        (None, Some(error)) => Err(error),
        (success, _) => Ok(success.expect("an attempt succeeds or fails")),
    }
}
