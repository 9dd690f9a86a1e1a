//! Operations received from a node, detached from the connection's buffer.

use nats::jetstream::Answer;
use nats::protocol::{Message, Op};

use super::publisher::Event;

/// The subscription ID of all answers to this server.
pub const ANSWERS: u64 = 1;
/// The subscription ID of requests that check for a duplicate `-id`.
pub const PRESENCE: u64 = 2;

/// A received operation, detached from the buffer.
#[derive(Debug)]
pub enum Inbound {
    /// An event for the publisher.
    Event(Event),
    /// The node expects a PONG.
    Ping,
    /// An error from the node.
    Error(String),
    /// A check for a duplicate `-id`, with its reply subject.
    DuplicateCheck(String),
    /// The node's settings have changed, in JSON.
    Info(Vec<u8>),
    /// An operation that is ignored.
    Nothing,
}

impl Inbound {
    /// Classifies an operation. `inbox` is the prefix of reply subjects.
    pub fn of(op: &Op<'_>, inbox: &str) -> Self {
        match op {
            Op::Message(message) => classify(message, inbox),
            Op::Ping => Self::Ping,
            Op::Pong => Self::Event(Event::Pong),
            Op::Err(why) => Self::Error((*why).to_owned()),
            Op::Info(json) => Self::Info(json.to_vec()),
            Op::Ok => Self::Nothing,
        }
    }
}

/// Classifies a message by its subscription. Reply subjects are `INBOX.NUMBER.ATTEMPT` and
/// `INBOX.query.QUERY`.
fn classify(message: &Message<'_>, inbox: &str) -> Inbound {
    if message.subscription == PRESENCE {
        let reply = message.reply.map(str::to_owned);
        return reply.map_or(Inbound::Nothing, Inbound::DuplicateCheck);
    }
    let to = message.subject.strip_prefix(inbox).and_then(|to| to.strip_prefix('.'));
    let Some((what, number)) = to.and_then(|to| to.split_once('.')) else {
        return Inbound::Nothing;
    };
    let event = match (what.parse(), number.parse()) {
        (Err(_), Ok(query)) if what == "query" => {
            Event::Queried { query, answer: Answer::read(message) }
        }
        (Ok(batch), Ok(attempt)) => Event::Answered {
            number: batch,
            attempt: attempt as u32,
            answer: Answer::read(message),
        },
        _ => return Inbound::Nothing,
    };
    Inbound::Event(event)
}

#[cfg(test)]
mod tests {
    use nats::headers;

    use super::*;

    #[test]
    fn replies_are_recognised_by_their_subject() {
        let message = |subject, subscription, reply| Message {
            subject,
            subscription,
            reply,
            headers: headers::Headers(b""),
            payload: br#"{"stream":"LOG","seq":7}"#,
        };
        let inbound = |subject, subscription| {
            classify(&message(subject, subscription, Some("r")), "_INBOX.x")
        };
        let Inbound::Event(Event::Answered { number: 3, attempt: 2, answer: Answer::Yes(ack) }) =
            inbound("_INBOX.x.3.2", ANSWERS)
        else {
            panic!("not an answer")
        };
        assert_eq!(ack.seq, 7);
        assert!(matches!(
            inbound("_INBOX.x.query.9", ANSWERS),
            Inbound::Event(Event::Queried { query: 9, .. })
        ));
        assert!(
            matches!(inbound("_INBOX.line-log.LOG.me", PRESENCE), Inbound::DuplicateCheck(reply) if reply == "r")
        );
        for other in ["_INBOX.y.3.2", "_INBOX.x.3", "_INBOX.x.a.b", "_INBOX.x.-1.2", "x"] {
            assert!(matches!(inbound(other, ANSWERS), Inbound::Nothing), "{other}");
        }
    }
}
