//! Timer with a finer resolution than the milliseconds of `epoll_wait`.

#[cfg(any(not(any(target_os = "linux", target_os = "freebsd")), test))]
mod thread;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
mod timerfd;

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(crate) use thread::Timer;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(crate) use timerfd::Timer;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use mio::{Events, Poll, Token};

    use super::*;

    #[test]
    fn it_goes_off_each_time_it_is_set() {
        let mut poll = Poll::new().unwrap();
        let mut timer = Timer::new(poll.registry(), Token(3)).unwrap();
        check(&mut poll, |delay| timer.set(500 + delay, 500).unwrap());
    }

    #[test]
    fn so_does_the_one_of_other_systems() {
        let mut poll = Poll::new().unwrap();
        let mut timer = thread::Timer::new(poll.registry(), Token(3)).unwrap();
        check(&mut poll, |delay| timer.set(500 + delay, 500).unwrap());
    }

    fn check(poll: &mut Poll, mut set: impl FnMut(u64)) {
        let mut events = Events::with_capacity(8);
        for delay in [0, 200_000, 1_300_000] {
            let set_at = Instant::now();
            set(delay);
            poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert_eq!(events.iter().map(mio::event::Event::token).collect::<Vec<_>>(), [Token(3)]);
            assert!(set_at.elapsed() >= Duration::from_nanos(delay));
        }
    }
}
