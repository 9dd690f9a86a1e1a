//! Tests of how a connection ends in each of its states once its client sends nothing more.

use super::*;
use crate::connection::LastLine;
use crate::sock_diag::Tcp;

const HOUR_MS: u32 = 3_600_000;

/// The kernel's answer for a dead peer with unacknowledged data.
const GONE: Tcp = Tcp {
    unacknowledged_bytes: 1,
    unanswered: 1,
    heard_ago: Duration::from_millis(HOUR_MS as u64),
};

/// All states, each once. The compiler reports a new state that is missing here.
fn all_states() -> Vec<Life> {
    let next = |life| match life {
        Life::Open => Some(Life::Refusing),
        Life::Refusing => Some(Life::ReadClosed),
        Life::ReadClosed => Some(Life::WriteClosed(LastLine::AsReadingTells)),
        Life::WriteClosed(LastLine::AsReadingTells) => Some(Life::WriteClosed(LastLine::Dropped)),
        Life::WriteClosed(LastLine::Dropped) => Some(Life::Closing),
        Life::Closing => Some(Life::Lingering),
        Life::Lingering => Some(Life::Closed),
        Life::Closed => None,
    };
    std::iter::successors(Some(Life::Open), |life| next(*life)).collect()
}

impl World {
    /// A world with a client in this state. With `owed` it does not take its replies.
    fn with_one_in(life: Life, owed: bool) -> Self {
        let mut world = Self::new(Setting {
            idle_timeout: Some(Duration::from_secs(600)),
            ..Setting::IN_PLACE
        });
        world.connect();
        world.clients[0].say(1, "");
        world.run_until_idle().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let is_stuck = |world: &Self| {
            let (_, client) = world.server.clients.iter().next().unwrap();
            client.owed() > 0 && !client.ready.contains(Ready::WRITABLE)
        };
        // A lingering client is owed nothing.
        while owed && life != Life::Lingering && !is_stuck(&world) {
            world.clients[0].say(1000, "");
            world.clients[0].send(usize::MAX);
            world.turn().unwrap();
            assert!(Instant::now() < deadline, "it takes all replies");
        }
        // Lingering begins with a shutdown, as soon as a client that is being closed is owed nothing.
        let forced = match life {
            Life::Lingering => Life::Closing,
            life => life,
        };
        world.server.clients.with(0, |client| client.force(forced));
        world
    }

    /// Runs turns until no client is left. Each turn moves the clients' last activity an hour back.
    fn wait_for_the_end(mut self, life: Life) {
        let begun = Instant::now();
        while !self.server.clients.is_empty() {
            let mut sweep = self.server.clients.sweep();
            while !sweep.is_over() {
                self.server.clients.advance(&mut sweep, |_, client| {
                    client.moved_at_ms = client.moved_at_ms.wrapping_sub(HOUR_MS);
                    true
                });
            }
            self.server.next_periodic_tasks = self.server.now;
            self.turn().unwrap();
            assert!(begun.elapsed() < PATIENCE, "{life:?} stays");
        }
    }
}

#[test]
fn a_dead_peer_is_dropped_in_every_state() {
    for life in all_states() {
        let mut world = World::with_one_in(life, true);
        world.server.timeouts.pretend(GONE);
        world.wait_for_the_end(life);
    }
}

#[test]
fn a_client_that_is_owed_nothing_and_says_nothing_is_closed_in_every_state() {
    for life in all_states() {
        World::with_one_in(life, false).wait_for_the_end(life);
    }
}
