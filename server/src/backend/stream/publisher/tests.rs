//! Tests of the publisher: each event in each state as a table, and sequences of events.

use nats::headers;
use nats::jetstream::Stored;

use super::*;

/// The action for each event, by the state in which it happens:
///
/// - `P`ublish, `L`ook (`L!`: every attempt was rejected), pin`G`, `R`econnect
/// - outcomes: `K`ept, `N`ot kept, `U`nknown, `X`: another server uses the identity
/// - no action: `.` nothing changes, `p`: a backoff begins, `s`: the answer timeout begins again
/// - `-`: it cannot happen
///
/// `=9`: from then on 9 is the sequence of the last message, not 7.
const TABLE: &str = "
                      | idle | lost | paused | sent | resent | looking | refused | doubted
submitted             | P    | -    | -      | -    | -      | -       | -       | -
connected             | .    | P    | -      | -    | -      | -       | -       | -
disconnected          | .    | p    | p      | p    | p      | p       | p       | p
progress              | .    | .    | .      | s    | s      | .       | .       | .
pong                  | .    | .    | .      | .    | .      | .       | .       | P
tick                  | .    | .    | .      | .    | .      | .       | .       | .
tick, it is time      | -    | U    | P      | G    | G      | G       | G       | R
tick, time is over    | .    | U    | U      | U    | U      | U       | U       | R

stored                | .    | K=9  | K=9    | K=9  | K=9    | K=9     | K=9     | K=9
stored before         | .    | K=9  | K=9    | K=9  | K=9    | K=9     | K=9     | K=9
stored, without place | .    | .    | .      | p    | p      | .       | .       | p
stored by OTHER       | .    | .    | .      | p    | p      | .       | .       | p
nonsense              | .    | .    | .      | p    | p      | .       | .       | p
10071 wrong last      | .    | .    | .      | L    | L      | .       | .       | L
10164 wrong last      | .    | .    | .      | L    | L      | .       | .       | L
10201 known           | .    | .    | .      | L    | L      | .       | .       | L
10054 too large       | .    | .    | .      | L!   | p      | .       | .       | L!
10060 not the stream  | .    | .    | .      | L!   | p      | .       | .       | L!
10077 maximum bytes   | .    | .    | .      | L!   | p      | .       | .       | L!
10109 sealed          | .    | .    | .      | L!   | p      | .       | .       | L!
10174 not allowed     | .    | .    | .      | L!   | p      | .       | .       | L!
503                   | .    | .    | .      | L!   | p      | .       | .       | L!
503 raft: not leader  | .    | .    | .      | p    | p      | .       | .       | p
10077 no space left   | .    | .    | .      | p    | p      | .       | .       | p
10158 in process      | .    | .    | .      | p    | p      | .       | .       | p
10167 too many        | .    | .    | .      | p    | p      | .       | .       | p
10008 unavailable     | .    | .    | .      | p    | p      | .       | .       | p
1: stored             | .    | K=9  | K=9    | K=9  | K=9    | K=9     | K=9     | K=9
1: 10071 wrong last   | .    | .    | .      | L    | .      | .       | .       | L
1: 10109 sealed       | .    | .    | .      | L!   | .      | .       | .       | L!
1: 10008 unavailable  | .    | .    | .      | p    | .      | .       | .       | p
0: stored             | .    | .    | .      | .    | .      | .       | .       | .
before: stored        | .    | .    | .      | .    | .      | .       | .       | .
before: 10109 sealed  | .    | .    | .      | .    | .      | .       | .       | .

last a.5.2            | .    | .    | .      | .    | .      | K=9     | K=9     | .
last a.5.1            | .    | .    | .      | .    | .      | P=9     | N=9     | .
last a.4.8            | .    | .    | .      | .    | .      | p=9     | p=9     | .
last a.5.3            | .    | .    | .      | .    | .      | X       | X       | .
last a.6.1            | .    | .    | .      | .    | .      | X       | X       | .
last b.5.2            | .    | .    | .      | .    | .      | p=9     | p=9     | .
last                  | .    | .    | .      | .    | .      | p=9     | p=9     | .
at 7: last a.4.8      | .    | .    | .      | .    | .      | P       | N       | .
at 7: last            | .    | .    | .      | .    | .      | P       | N       | .
last? 10037 no message| .    | .    | .      | .    | .      | P=0     | N=0     | .
last? 10059 no stream | .    | .    | .      | .    | .      | P=0     | N=0     | .
last? 10008 no leader | .    | .    | .      | .    | .      | p       | p       | .
last? 503             | .    | .    | .      | .    | .      | p       | p       | .
last? nonsense        | .    | .    | .      | .    | .      | p       | p       | .
before: last a.5.2    | .    | .    | .      | .    | .      | .       | .       | .
";

/// How long a publisher has been in its state: less than the shortest backoff.
const SINCE_ENTERED: Duration = Duration::from_millis(10);

#[test]
fn each_event_in_each_state() {
    let mut lines = TABLE.lines().filter(|line| !line.is_empty());
    let heads = lines.next().expect("a table has a head").split('|');
    let states: Vec<_> = heads.skip(1).map(str::trim).collect();
    for line in lines {
        let mut cells = line.split('|').map(str::trim);
        let name = cells.next().expect("a line has a name");
        for (state, cell) in states.iter().zip(cells).filter(|(_, cell)| *cell != "-") {
            let mut case = Case::in_state(state);
            assert_eq!(case.outcome_of(name), cell, "{name}, while {state}");
        }
    }
}

/// Sequences of events, with actions and outcomes as in the table.
#[test]
fn one_after_another() {
    let stories: [(&str, &[(&str, &str)]); 8] = [
        // A batch is rejected only if no attempt at it can be stored.
        (
            "resent",
            &[
                ("10109 sealed", "p"),
                ("1: 10109 sealed", "."),
                ("tick, it is time", "P"),
                ("10109 sealed", "L!"),
                ("last a.5.1", "N=9"),
            ],
        ),
        // An inconclusive answer to a query counts as none, and so does a late one.
        (
            "refused",
            &[
                ("last? 10008 no leader", "p"),
                ("tick, it is time", "P"),
                ("10109 sealed", "L!"),
                ("tick, it is time", "G"),
                ("last a.5.2", "."),
                ("pong", "P"),
                ("10071 wrong last", "L"),
                ("last a.5.1", "P=9"),
            ],
        ),
        // An earlier run may have left one attempt, but not two.
        (
            "looking",
            &[
                ("last a.4.8", "p=9"),
                ("tick, it is time", "P=9"),
                ("10071 wrong last", "L=9"),
                ("last a.4.8", "p=9"),
                ("tick, it is time", "P=9"),
                ("10071 wrong last", "L=9"),
                ("at 11: last a.4.9", "X=9"),
            ],
        ),
        // A message that the earlier run stored before this run began does not count.
        ("looking", &[("at 7: last a.4.7", "P"), ("10071 wrong last", "L"), ("last a.4.8", "p=9")]),
        // If the sequence keeps changing, the attempts are spaced by a backoff.
        (
            "looking",
            &[
                ("last a.5.1", "P=9"),
                ("10071 wrong last", "L=9"),
                ("last a.5.1", "P=9"),
                ("10071 wrong last", "L=9"),
                ("last a.5.1", "P=9"),
                ("10071 wrong last", "L=9"),
                ("last a.5.1", "p=9"),
            ],
        ),
        // A node that owed an answer at the end of -ack-wait gets a PING before the next publish. Without a
        // PONG the publisher leaves the node, even if -ack-wait ends for that batch, too.
        (
            "sent",
            &[
                ("tick, time is over", "U"),
                ("submitted", "G"),
                ("tick, time is over", "R"),
                ("disconnected", "p"),
                ("tick", "U"),
                ("connected", "."),
                ("submitted", "P"),
            ],
        ),
        (
            "sent",
            &[
                ("tick, time is over", "U"),
                ("submitted", "G"),
                ("pong", "P"),
                ("stored", "K=9"),
                ("submitted", "P=9"),
            ],
        ),
        // A silent node is left, and the attempt is repeated on another. The first attempt is still in
        // flight.
        (
            "sent",
            &[
                ("tick, it is time", "G"),
                ("tick, it is time", "R"),
                ("disconnected", "p"),
                ("connected", "P"),
                ("10109 sealed", "p"),
                ("1: stored", "K=9"),
                ("2: stored", ".=9"),
                ("submitted", "P=9"),
            ],
        ),
    ];
    for (state, story) in stories {
        let mut case = Case::in_state(state);
        for (i, (name, outcome)) in story.iter().enumerate() {
            let found = case.outcome_of(name);
            assert_eq!(found, *outcome, "{name}, event {i} of {story:?}");
        }
    }
}

#[test]
fn no_responders_count_after_an_election_or_at_once_without_a_stream() {
    let mut case = Case::in_state("sent");
    assert_eq!(case.outcome_of("503"), "L!");
    assert_eq!(case.outcome_of("last a.5.1"), "p=9");
    case.now += BETWEEN_LEADERS;
    assert_eq!(case.outcome_of("tick"), "P=9");
    assert_eq!(case.outcome_of("503"), "L!=9");
    assert_eq!(case.outcome_of("last a.5.1"), "N=9");
    let mut case = Case::in_state("sent");
    assert_eq!(case.outcome_of("503"), "L!");
    assert_eq!(case.outcome_of("last? 10059 no stream"), "N=0");
}

#[test]
fn something_is_due_as_long_as_a_batch_is_on_its_way() {
    let states = [
        ("idle", None),
        ("lost", Some(Duration::from_secs(30))),
        ("sent", Some(ANSWER_WITHIN)),
        ("resent", Some(ANSWER_WITHIN)),
        ("looking", Some(ANSWER_WITHIN)),
        ("refused", Some(ANSWER_WITHIN)),
        ("doubted", Some(PONG_WITHIN)),
    ];
    for (state, expected) in states {
        let case = Case::in_state(state);
        let due = case.publisher.deadline();
        let due = due.map(|due| due - case.now + SINCE_ENTERED);
        assert_eq!(due, expected, "{state}");
    }
    let ack_wait = Duration::from_millis(300);
    let mut case = Case::in_state("idle");
    case.publisher.give_up_after(ack_wait);
    case.happen(Event::Submitted);
    assert_eq!(case.publisher.deadline(), Some(case.now + ack_wait));
}

#[test]
fn pauses_grow_and_end() {
    let mut case = Case::in_state("sent");
    for longest in [25, 50, 100, 200, 400, 800, 800] {
        assert_eq!(case.happen_by_name("10008 unavailable"), None);
        let due = case.publisher.deadline().expect("a pause ends");
        let share = (due - case.now).as_secs_f64() * 1000.0 / f64::from(longest);
        assert!((0.5..=1.0).contains(&share), "{share} of {longest} ms");
        assert_eq!(case.happen_by_name("tick, it is time"), Some(Action::Publish));
    }
}

#[test]
fn an_attempt_has_its_identity_and_the_expected_sequence() {
    let mut case = Case::in_state("looking");
    let publisher = &case.publisher;
    assert_eq!(publisher.attempt(), (2, 1));
    let fields = [
        (header::MESSAGE_ID, "a.5.2".to_owned()),
        (header::EXPECTED_STREAM, "LOG".to_owned()),
        (header::EXPECTED_LAST_SUBJECT_SEQUENCE, "7".to_owned()),
    ];
    assert_eq!(publisher.headers(), fields);
    assert_eq!(publisher.last_error(), Some("wrong last (10071)"));
    assert!(!case.publisher.was_disturbed());
    assert_eq!(case.happen_by_name("last b.1.1"), None);
    assert!(case.publisher.was_disturbed());
    assert!(!case.publisher.was_disturbed());
    let again = case.happen_by_name("tick, it is time");
    assert_eq!((again, case.publisher.attempt()), (Some(Action::Publish), (2, 2)));
}

/// A publisher whose second batch is in flight.
struct Case {
    publisher: Publisher,
    now: Instant,
}

impl Case {
    /// The first batch of run 5 is the last message of the subject, at sequence 7.
    fn in_state(state: &str) -> Self {
        let publisher = Publisher::new("LOG", "LOG.a", Identity::of_run("a", 5), 3);
        let now = Instant::now();
        let mut case = Self { publisher, now };
        case.happen(Event::Connected);
        case.happen(Event::Submitted);
        case.happen(case.event("at 7"));
        if state != "idle" {
            assert_eq!(case.happen(Event::Submitted), Some(Action::Publish));
        }
        let (way, last): (&[_], _) = match state {
            "idle" | "sent" => (&[], None),
            "lost" => (&["disconnected"], None),
            "paused" => (&["10158 in process"], None),
            "resent" => (&["tick, it is time", "pong"], Some(Action::Publish)),
            "looking" => (&["10071 wrong last"], Some(Action::Query)),
            "refused" => (&["10109 sealed"], Some(Action::Query)),
            "doubted" => (&["tick, it is time"], Some(Action::Ping)),
            _ => panic!("{state}"),
        };
        let done = way.iter().map(|name| case.happen_by_name(name));
        assert_eq!(done.last().flatten(), last, "{state}");
        case.now += SINCE_ENTERED;
        case
    }

    fn happen(&mut self, event: Event) -> Option<Action> {
        self.publisher.on(event, self.now)
    }

    fn happen_by_name(&mut self, name: &str) -> Option<Action> {
        match name {
            "tick, it is time" => self.now = self.publisher.deadline().expect("something is due"),
            "tick, time is over" => self.now += Duration::from_secs(60),
            _ => {}
        }
        self.happen(self.event(name))
    }

    /// The table's notation for what follows from the event.
    fn outcome_of(&mut self, name: &str) -> String {
        let before = format!("{:?}", self.step());
        let done = self.happen_by_name(name);
        let after = self.step();
        let done = match (done, after) {
            (None, after) if format!("{after:?}") == before => ".",
            (None, Some(Step::Paused { until })) if *until >= self.now => "p",
            (None, Some(Step::Published { since })) if *since == self.now => "s",
            (Some(Action::Publish), Some(Step::Published { .. })) => "P",
            (Some(Action::Query), Some(Step::Querying { refusal: None, .. })) => "L",
            (Some(Action::Query), Some(Step::Querying { .. })) => "L!",
            (Some(Action::Ping), Some(Step::Pinged { .. })) => "G",
            (Some(Action::Reconnect), Some(Step::Pinged { .. })) => "R",
            (Some(Action::Finish(BatchOutcome::Stored)), None) => "K",
            (Some(Action::Finish(BatchOutcome::Rejected(_))), None) => "N",
            (Some(Action::Finish(BatchOutcome::Unknown)), None) => "U",
            (Some(Action::Finish(BatchOutcome::Fenced(_))), None) => "X",
            (done, after) => panic!("{name}: {done:?}, then {after:?}"),
        };
        let [_, _, (_, sequence)] = self.publisher.headers();
        match sequence.as_str() {
            "7" => done.to_owned(),
            moved => format!("{done}={moved}"),
        }
    }

    fn step(&self) -> Option<&Step> {
        self.publisher.batch.as_ref().map(|batch| &batch.step)
    }

    /// The event that has this name in the table.
    fn event(&self, name: &str) -> Event {
        let (mut number, mut attempt) = self.publisher.attempt();
        let mut query = self.publisher.query();
        let mut place = 9;
        let name = match name.split_once(": ") {
            Some((at, what)) if at.starts_with("at ") => {
                place = at["at ".len()..].parse().expect("a place is a number");
                what
            }
            Some(("before", what)) => {
                number -= 1;
                query = query.wrapping_sub(1);
                what
            }
            Some((which, what)) if which.parse::<u32>().is_ok() => {
                attempt = which.parse().expect("it is a number");
                what
            }
            _ => name,
        };
        match name {
            "submitted" => Event::Submitted,
            "connected" => Event::Connected,
            "disconnected" => Event::Disconnected,
            "progress" => Event::Progress,
            "pong" => Event::Pong,
            _ if name.starts_with("tick") => Event::Tick,
            _ if name.starts_with("last") => {
                Event::Queried { query, answer: seen(&name["last".len()..], place) }
            }
            _ => Event::Answered { number, attempt, answer: said(name) },
        }
    }
}

/// A leader's answer to an attempt.
fn said(name: &str) -> Answer<PubAck> {
    let (stream, seq, duplicate) = match name {
        "at 7" => ("LOG", 7, false),
        "stored" => ("LOG", 9, false),
        "stored before" => ("LOG", 9, true),
        "stored, without place" => ("LOG", 0, true),
        "stored by OTHER" => ("OTHER", 9, false),
        _ => return denied(name),
    };
    Answer::Yes(PubAck { stream: stream.to_owned(), seq, duplicate })
}

/// A leader's answer to a query: the last message is a batch, a foreign message, or there is none.
fn seen(what: &str, place: u64) -> Answer<StoredMessage> {
    if let Some(error) = what.strip_prefix("? ") {
        return denied(error);
    }
    let mut block = Vec::new();
    headers::write(&mut block, &[(header::MESSAGE_ID, what.trim())]);
    let message = Stored::new(place, "LOG.a", &block);
    Answer::Yes(StoredMessage { message })
}

fn denied<T>(error: &str) -> Answer<T> {
    if error == "nonsense" {
        return Answer::Nonsense(error.to_owned());
    }
    let (number, description) = error.split_once(' ').unwrap_or((error, ""));
    let number = number.parse().expect("an error has a number");
    Answer::No(match (number, description) {
        (503, "") => ApiError::no_responders(),
        (503, _) => ApiError { code: 503, err_code: 0, description: description.to_owned() },
        (err_code, _) => ApiError { code: 400, err_code, description: description.to_owned() },
    })
}
