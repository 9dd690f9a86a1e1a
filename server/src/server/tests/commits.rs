//! Tests of a slow log: everything else goes on during a commit, and no reply is sent early.

use super::*;

const ONE_UNDER_WAY: Setting = Setting { room: 1, ..Setting::IN_PLACE };

impl World {
    /// Runs turns until nothing is left that can be done without waiting.
    fn rest(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        // A turn may cause an event in the next one.
        let mut quiet_turns = 0;
        while quiet_turns < 3 {
            self.turn().unwrap();
            let waits = !self.server.has_work() && self.server.commits.deadline().is_none();
            quiet_turns = if waits { quiet_turns + 1 } else { 0 };
            assert!(Instant::now() < deadline, "it does not come to rest");
        }
    }

    /// The reply lines that a client has received and not read.
    fn replies(&mut self, k: usize) -> Vec<String> {
        let bytes = self.clients[k].read(usize::MAX);
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn send(&mut self, k: usize, text: &str) {
        let client = &mut self.clients[k];
        client.output.extend_from_slice(text.as_bytes());
        client.send(usize::MAX);
    }

    /// A world with one client, whose first message is in a submitted batch.
    fn with_one_under_way() -> Self {
        let mut world = Self::new(ONE_UNDER_WAY);
        world.connect();
        world.send(0, "0 0 .\n");
        world.rest();
        assert_eq!(world.commits.borrow().under_way, 1);
        world
    }
}

#[test]
fn clients_are_accepted_and_read_during_a_commit_but_not_answered() {
    let mut world = World::with_one_under_way();
    world.connect();
    world.send(1, "1 0 .\n");
    world.send(0, "0 1 .\n");
    world.rest();
    assert_eq!(world.server.clients.served(), 2);
    assert_eq!(world.server.commits.staged.messages(), 2);
    assert!(world.replies(0).is_empty() && world.replies(1).is_empty());

    world.finish(Decision::Decided);
    world.rest();
    assert_eq!(world.replies(0), ["ok"]);
    assert!(world.replies(1).is_empty(), "what had gathered is under way now");
    world.finish(Decision::Decided);
    world.rest();
    assert_eq!((world.replies(0), world.replies(1)), (vec!["ok".into()], vec!["ok".into()]));
}

/// The poll reports it once, even while the next batch is being staged.
#[test]
fn a_commit_that_finishes_while_gathering_is_answered_in_the_same_turn() {
    let mut world = World::with_one_under_way();
    world.connect();
    world.rest();
    world.send(1, "1 0 .\n");
    world.phase().unwrap();
    world.finish(Decision::Decided);
    while world.next_phase > 0 {
        world.phase().unwrap();
    }
    assert_eq!(world.server.commits.staged.messages(), 1);
    assert_eq!(world.replies(0), ["ok"]);
}

#[test]
fn answered_clients_share_the_next_commit_with_new_ones() {
    let mut world = World::with_one_under_way();
    world.connect();
    world.send(1, "1 0 .\n");
    world.rest();
    let before = world.server.now;
    world.finish(Decision::Decided);
    world.server.wait(Some(Duration::ZERO)).unwrap();
    world.server.complete().unwrap();
    world.server.reply();
    let commits = &world.server.commits;
    assert!(!commits.can_submit(before, false));
    assert!(commits.can_submit(before, true), "a stop does not wait");
    let later = Instant::now() + group_commit_delay::MAX_DELAY;
    assert!(commits.can_submit(later, false), "no other client sends");
    world.send(0, "0 1 .\n");
    world.server.wait(Some(Duration::ZERO)).unwrap();
    world.server.read();
    assert!(world.server.commits.can_submit(before, false));
}

/// The delay counts from the turn's time, however late in the turn it begins.
#[test]
fn a_long_turn_does_not_make_the_wait_for_others_longer() {
    let mut world = World::with_one_under_way();
    world.connect();
    world.send(1, "1 0 .\n");
    world.rest();
    world.finish(Decision::Decided);
    world.server.wait(Some(Duration::ZERO)).unwrap();
    // The long turn is the fault.
    std::thread::sleep(2 * group_commit_delay::MAX_DELAY);
    world.server.complete().unwrap();
    let deadline = world.server.commits.deadline();
    assert!(
        deadline
            .is_some_and(|deadline| deadline <= world.server.now + group_commit_delay::MAX_DELAY)
    );
}

#[test]
fn excess_clients_are_refused_and_closed_during_a_commit() {
    let mut world = World::new(Setting { max_clients: Some(1), ..ONE_UNDER_WAY });
    world.connect();
    world.send(0, "0 0 .\n");
    world.rest();
    world.connect();
    world.rest();
    let refusal = "error too-many-clients: 1 are connected, try later";
    assert_eq!(world.replies(1), [refusal]);
    world.clients[1].socket = None;
    world.rest();
    assert_eq!(world.server.clients.len(), 1);
    assert_eq!(world.server.stats.clients.served, 1);
    world.finish(Decision::Decided);
    world.rest();
    assert_eq!(world.replies(0), ["ok"]);
}

#[test]
fn with_one_batch_under_way_and_one_full_nothing_is_read_and_the_loop_sleeps() {
    let mut world = World::with_one_under_way();
    let lines = "0 9 .\n".repeat(4 * BATCH_BYTES / 6);
    world.clients[0].output = lines.into_bytes();
    world.connect();
    world.clients[1].output = world.clients[0].output.clone();
    world.clients[1].sent = 0;
    world.clients[0].sent = 0;
    for _ in 0..100 {
        world.clients[0].send(usize::MAX);
        world.clients[1].send(usize::MAX);
        world.turn().unwrap();
    }
    world.rest();
    assert!(world.server.commits.is_full());
    assert!(world.server.clients.have_input_or_output(), "there is more to read");
    assert_ne!(world.server.timeout(), Some(Duration::ZERO));
    assert_eq!(world.commits.borrow().under_way, 1);
}

#[test]
fn the_successor_of_a_closed_client_gets_none_of_its_replies() {
    let mut world = World::with_one_under_way();
    world.clients[0].reset();
    world.rest();
    assert!(world.server.clients.is_empty());
    world.connect();
    world.rest();
    assert_eq!(world.server.clients.iter().next().unwrap().0, 0, "the same key");
    world.finish(Decision::Decided);
    world.rest();
    assert!(world.replies(1).is_empty());
    assert_eq!(world.disk.state.borrow_mut().records(0), [0]);
    world.send(1, "1 0 .\n");
    world.rest();
    world.finish(Decision::Decided);
    world.rest();
    assert_eq!(world.replies(1), ["ok"]);
}

#[test]
fn an_unknown_outcome_is_not_answered_but_earlier_ones_are() {
    let mut world = World::with_one_under_way();
    world.send(0, "0 1 .\n");
    world.connect();
    world.send(1, "1 0 .\n");
    world.rest();
    world.finish(Decision::Decided);
    world.rest();
    world.finish(Decision::Unknown { written: true });
    world.rest();
    assert_eq!(world.replies(0), ["ok"]);
    for k in 0..2 {
        assert!(world.replies(k).is_empty());
        assert!(world.clients[k].was_closed);
    }
}

#[test]
fn a_half_closed_client_waits_for_its_commit() {
    let mut world = World::with_one_under_way();
    world.send(0, "0 1 .");
    world.clients[0].half_closed = true;
    world.clients[0].send(0);
    world.rest();
    assert_eq!(world.server.clients.served(), 1);
    world.finish(Decision::Decided);
    world.rest();
    world.finish(Decision::Decided);
    world.rest();
    assert_eq!(world.replies(0), ["ok", "ok"]);
    assert!(world.server.clients.is_empty());
}

/// The log is slow, not the client.
#[test]
fn a_slow_commit_is_not_taken_for_a_silent_client() {
    let mut world =
        World::new(Setting { idle_timeout: Some(Duration::from_secs(1)), ..ONE_UNDER_WAY });
    world.connect();
    world.send(0, "0 0 .\n");
    let begun = Instant::now();
    // The time that passes is the fault. The server wakes up for its periodic tasks.
    while begun.elapsed() < Duration::from_millis(3500) {
        world.turn().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    world.finish(Decision::Decided);
    world.rest();
    assert_eq!(world.replies(0), ["ok"]);
}

#[test]
fn a_stop_waits_for_the_commit_and_reports_undecided_messages() {
    let mut world = World::with_one_under_way();
    world.stopping = true;
    world.server.begin_stop();
    world.rest();
    assert!(!world.server.has_stopped());
    world.server.stop.as_mut().unwrap().age(Duration::from_millis(4200));
    world.rest();
    world.rest();
    assert!(!world.server.has_stopped(), "its time is not over");
    assert!(world.server.timeout().is_some_and(|timeout| timeout > Duration::ZERO));
    world.server.stop.as_mut().unwrap().age(Duration::from_millis(300));
    match world.server.turn() {
        Err(Failure::Unanswered(1)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stop_answers_commits_that_finish_in_time() {
    let mut world = World::with_one_under_way();
    world.stopping = true;
    world.server.begin_stop();
    world.rest();
    world.server.stop.as_mut().unwrap().age(Duration::from_millis(4200));
    world.rest();
    world.finish(Decision::Decided);
    world.rest();
    assert_eq!(world.replies(0), ["ok"]);
    world.clients[0].socket = None;
    let deadline = Instant::now() + PATIENCE;
    while !world.server.has_stopped() {
        assert!(Instant::now() < deadline, "it does not stop");
        // The record of the reply is a batch as well.
        world.finish(Decision::Decided);
        world.turn().unwrap();
    }
}
