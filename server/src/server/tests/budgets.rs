//! Tests of the budgets: work for many clients is spread over several turns.

use super::*;

const MANY: usize = 300;

/// The most connections closed or removed in one turn.
const MAX: usize = 128;

impl World {
    fn with_many(idle_timeout: Option<Duration>) -> Self {
        let mut world = Self::new(Setting { idle_timeout, ..Setting::IN_PLACE });
        while world.server.clients.len() < MANY {
            if world.clients.len() < MANY {
                world.connect();
            }
            world.turn().unwrap();
        }
        world
    }

    fn count(&self, life: Life) -> usize {
        let clients = self.server.clients.iter();
        clients.filter(|(_, client)| client.life() == life).count()
    }
}

#[test]
fn clients_that_time_out_together_are_not_closed_in_one_breath() {
    let mut world = World::with_many(Some(Duration::from_secs(5)));
    let mut sweep = world.server.clients.sweep();
    while !sweep.is_over() {
        world.server.clients.advance(&mut sweep, |_, client| {
            client.moved_at_ms = client.moved_at_ms.wrapping_sub(10_000);
            true
        });
    }
    world.server.next_periodic_tasks = Instant::now();
    let mut closed = Vec::new();
    while closed.iter().sum::<usize>() < MANY {
        let before = world.count(Life::Lingering);
        world.turn().unwrap();
        closed.push(world.count(Life::Lingering) - before);
        assert!(closed.len() < 100, "{closed:?}");
    }
    assert!(closed.iter().all(|&n| n <= MAX), "{closed:?}");
}

#[test]
fn clients_that_leave_together_are_not_removed_in_one_breath() {
    let mut world = World::with_many(None);
    world.clients.iter_mut().for_each(TestClient::reset);
    let mut left = MANY;
    while left > 0 {
        world.turn().unwrap();
        let now = world.server.clients.len();
        assert!(left - now <= MAX, "{left} to {now}");
        left = now;
    }
}

/// A newly ready client is read before clients that send all the time, and a client that becomes ready
/// again and again waits like the others.
#[test]
fn new_flows_come_first_for_one_share() {
    let mut world = World::new(Setting::IN_PLACE);
    for _ in 0..40 {
        world.connect();
    }
    world.turn().unwrap();
    for heavy in &mut world.clients[1..] {
        heavy.say(20_000, "");
        heavy.send(usize::MAX);
    }
    // The share of one client fills a turn's batch, so after this many turns every client has had one.
    for _ in 0..40 {
        world.turn().unwrap();
    }
    assert!(world.server.clients.have_input_or_output());
    world.clients[0].say(1, "");
    world.clients[0].send(usize::MAX);
    world.server.wait(Some(Duration::ZERO)).unwrap();
    world.server.read();
    let staged = String::from_utf8_lossy(world.server.commits.staged.records());
    let first = staged.lines().find(|line| line.contains("recieved")).unwrap();
    assert!(first.ends_with(" recieved: 0 0 ."), "{first}");
}
