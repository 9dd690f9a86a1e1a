//! Tests of the deadlines of first bytes.

use super::*;

/// A turn without the periodic tasks.
fn turn(world: &mut World) {
    world.server.next_periodic_tasks = world.server.now + PERIOD;
    world.server.turn().unwrap();
}

/// The deadline is one of the loop: no periodic task is needed.
#[test]
fn first_bytes_that_stay_unclear_are_a_message_after_one_second() {
    let mut world = World::new(Setting::IN_PLACE);
    world.connect();
    let begun = Instant::now();
    world.clients[0].output.extend_from_slice(b"\r\n");
    world.clients[0].send(usize::MAX);
    while world.server.clients.next_deadline().is_none() {
        turn(&mut world);
    }
    let second = Duration::from_secs(1);
    assert!(world.server.timeout().is_some_and(|timeout| timeout <= second));
    let mut turns = 0;
    while world.server.stats.acknowledged == 0 {
        turn(&mut world);
        turns += 1;
        assert!(begun.elapsed() < PATIENCE, "it is forgotten");
    }
    assert!(begun.elapsed() + Duration::from_millis(2) >= second);
    assert!(turns < 20, "the loop does not spin: {turns}");
    assert!(world.server.clients.next_deadline().is_none());
}
