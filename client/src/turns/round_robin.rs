//! Round-robin order of threads at a shared value.

use std::sync::{Condvar, Mutex, MutexGuard};

/// Threads 0, 1, … n-1 take turns at a shared value, round after round.
///
/// Each thread sleeps on its own condition variable, so handing over the turn wakes exactly one
/// thread.
pub(super) struct RoundRobin<T, E> {
    state: Mutex<State<T, E>>,
    wakers: Vec<Condvar>,
}

struct State<T, E> {
    shared: T,
    turn: Turn<E>,
}

enum Turn<E> {
    NotStarted,
    Of(usize),
    Stopped(E),
}

impl<T, E> RoundRobin<T, E> {
    /// Makes a round robin of `threads` threads. No turn begins before [`RoundRobin::start`].
    pub(super) fn new(threads: usize, shared: T) -> Self {
        let turn = Turn::NotStarted;
        Self {
            state: Mutex::new(State { shared, turn }),
            wakers: (0..threads).map(|_| Condvar::new()).collect(),
        }
    }

    /// Gives the turn to thread 0.
    pub(super) fn start(&self) {
        self.lock().turn = Turn::Of(0);
        self.wakers[0].notify_one();
    }

    /// Ends the turns of all threads.
    pub(super) fn stop(&self, why: E) {
        self.lock().turn = Turn::Stopped(why);
        for waker in &self.wakers {
            waker.notify_one();
        }
    }

    /// Waits for the turn of thread `k`, runs `work` and hands over the turn. An error stops all
    /// threads. Returns whether there may be another turn.
    pub(super) fn turn(&self, k: usize, work: impl FnOnce(&mut T) -> Result<(), E>) -> bool {
        let mut state = self.wakers[k]
            .wait_while(self.lock(), |state| match state.turn {
                Turn::NotStarted => true,
                Turn::Of(next) => next != k,
                Turn::Stopped(_) => false,
            })
            .expect(NO_PANIC);
        if matches!(state.turn, Turn::Stopped(_)) {
            return false;
        }
        if let Err(why) = work(&mut state.shared) {
            drop(state);
            self.stop(why);
            return false;
        }
        let next = (k + 1) % self.wakers.len();
        state.turn = Turn::Of(next);
        // Unlock first, so that the woken thread need not wait for the lock.
        drop(state);
        self.wakers[next].notify_one();
        true
    }

    /// The shared value, or why the turns were stopped.
    pub(super) fn finish(self) -> Result<T, E> {
        let state = self.state.into_inner().expect(NO_PANIC);
        match state.turn {
            Turn::Stopped(why) => Err(why),
            _ => Ok(state.shared),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no thread panics while it has the turn";

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn turns_come_round_in_order() {
        let round_robin = RoundRobin::new(7, Vec::new());
        thread::scope(|scope| {
            for k in (0..7).rev() {
                let round_robin = &round_robin;
                scope.spawn(move || {
                    for round in 0..50 {
                        assert!(round_robin.turn(k, |taken| {
                            taken.push((round, k));
                            Ok::<_, ()>(())
                        }));
                    }
                });
            }
            round_robin.start();
        });
        let expected: Vec<_> = (0..50).flat_map(|round| (0..7).map(move |k| (round, k))).collect();
        assert_eq!(round_robin.finish(), Ok(expected));
    }

    #[test]
    fn an_error_stops_every_thread() {
        let round_robin = RoundRobin::new(5, 0);
        thread::scope(|scope| {
            for k in 0..5 {
                let round_robin = &round_robin;
                scope.spawn(move || {
                    while round_robin.turn(k, |turns| {
                        *turns += 1;
                        if *turns == 12 { Err(k) } else { Ok(()) }
                    }) {}
                });
            }
            round_robin.start();
        });
        assert_eq!(round_robin.finish(), Err(1));
    }

    #[test]
    fn a_ring_stopped_before_its_start_takes_no_turn() {
        let round_robin = RoundRobin::new(2, ());
        thread::scope(|scope| {
            scope.spawn(|| assert!(!round_robin.turn(1, |()| panic!("took a turn"))));
            round_robin.stop("why");
        });
        assert_eq!(round_robin.finish(), Err("why"));
    }
}
