//! The messages and heartbeats of one consumer. Messages are counted.

use crate::client::Received;
use crate::consumer::{Metadata, Status};

/// How many messages and bytes are requested at once, which bounds the data in flight. A node closes a
/// connection that is 64 MiB behind.
const BATCH: u32 = 256;
const MAX_BYTES: usize = 8 << 20;

/// A consumer, and the request to it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) consumer: String,
    /// How many messages it has delivered.
    count: u64,
    asked: Option<Asked>,
    /// Whether the next message is larger than the requested bytes.
    is_next_large: bool,
}

/// A request in flight.
#[derive(Debug)]
struct Asked {
    /// The reply subject.
    reply: String,
    left: u32,
}

/// The meaning of a received message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FeedEvent<'a> {
    /// The next message of the stream.
    Message(Metadata<'a>),
    /// There is no message after this sequence.
    Idle(u64),
    /// The consumer is unusable, for this reason.
    Broken(String),
    /// It is ignored.
    Nothing,
}

impl Feed {
    pub(super) fn of(consumer: String) -> Self {
        Self { consumer, count: 0, asked: None, is_next_large: false }
    }

    /// The messages and bytes to request next, if no request is in flight. 0 bytes: no limit.
    pub(super) fn wants(&self) -> Option<(u32, usize)> {
        match self.asked {
            Some(_) => None,
            None if self.is_next_large => Some((1, 0)),
            None => Some((BATCH, MAX_BYTES)),
        }
    }

    /// Records a request for `messages` messages, which is answered at the subject `reply`.
    pub(super) fn asked(&mut self, reply: String, messages: u32) {
        let left = messages;
        self.asked = Some(Asked { reply, left });
    }

    /// Handles a received message. Late messages, of an old request or another consumer, are ignored.
    pub(super) fn take<'a>(&mut self, received: &'a Received) -> FeedEvent<'a> {
        if let Some(metadata) = received.reply.as_deref().and_then(Metadata::parse) {
            return match metadata.consumer == self.consumer {
                true if self.counts(metadata.consumer_sequence) => FeedEvent::Message(metadata),
                true => lost(),
                false => FeedEvent::Nothing,
            };
        }
        let Some(asked) = &self.asked else {
            return FeedEvent::Nothing;
        };
        if asked.reply != received.subject {
            return FeedEvent::Nothing;
        }
        match Status::read(received.headers()) {
            Some(Status::Idle { stream_sequence, consumer_sequence })
                if consumer_sequence == self.count =>
            {
                return FeedEvent::Idle(stream_sequence);
            }
            Some(Status::Idle { .. }) => return lost(),
            Some(Status::Over) => self.asked = None,
            Some(Status::TooLarge) => {
                // Not one message of a full request has fitted.
                self.is_next_large = asked.left == BATCH;
                self.asked = None;
            }
            Some(Status::Unusable(why)) => return FeedEvent::Broken(why),
            None => {}
        }
        FeedEvent::Nothing
    }

    /// Counts a message. Returns false if its number is not the expected one.
    fn counts(&mut self, sequence: u64) -> bool {
        if sequence != self.count + 1 {
            return false;
        }
        self.count = sequence;
        self.is_next_large = false;
        if let Some(asked) = &mut self.asked {
            asked.left -= 1;
            if asked.left == 0 {
                self.asked = None;
            }
        }
        true
    }
}

fn lost<'a>() -> FeedEvent<'a> {
    FeedEvent::Broken("messages were lost on the way".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(consumer: &str, sequence: u64) -> Received {
        received("LOG.a", Some(&format!("$JS.ACK.LOG.{consumer}.1.7{sequence}.{sequence}.9.0")), "")
    }

    fn status(reply: &str, line: &str) -> Received {
        received(reply, None, &format!("NATS/1.0 {line}\r\n\r\n"))
    }

    fn received(subject: &str, reply: Option<&str>, headers: &str) -> Received {
        Received {
            subject: subject.to_owned(),
            subscription: 1,
            reply: reply.map(str::to_owned),
            headers: headers.as_bytes().to_vec(),
            payload: Vec::new(),
        }
    }

    fn asked(messages: u32) -> Feed {
        let mut feed = Feed::of("c".to_owned());
        feed.asked("reply".to_owned(), messages);
        feed
    }

    fn position(news: &FeedEvent<'_>) -> Option<u64> {
        match news {
            FeedEvent::Message(metadata) => Some(metadata.stream_sequence),
            _ => None,
        }
    }

    #[test]
    fn messages_are_counted() {
        let mut feed = asked(2);
        assert_eq!(position(&feed.take(&message("c", 1))), Some(71));
        assert_eq!(feed.take(&message("before", 2)), FeedEvent::Nothing);
        assert_eq!(feed.wants(), None, "one is still to come");
        assert_eq!(position(&feed.take(&message("c", 2))), Some(72));
        assert_eq!(feed.wants(), Some((BATCH, MAX_BYTES)));
        feed.asked("reply".to_owned(), BATCH);
        assert_eq!(feed.take(&message("c", 4)), lost(), "3 is missing");
        assert_eq!(feed.take(&message("c", 2)), lost(), "it was there already");
    }

    #[test]
    fn a_heartbeat_shows_messages_that_were_lost() {
        let idle = |count| {
            let line = format!(
                "100 Idle Heartbeat\r\nNats-Last-Consumer: {count}\r\nNats-Last-Stream: 99"
            );
            status("reply", &line)
        };
        let mut feed = asked(5);
        assert_eq!(feed.take(&idle(0)), FeedEvent::Idle(99));
        assert_eq!(position(&feed.take(&message("c", 1))), Some(71));
        assert_eq!(feed.take(&idle(1)), FeedEvent::Idle(99));
        assert_eq!(feed.take(&idle(2)), lost());
        assert_eq!(feed.wants(), None, "it goes on");
    }

    #[test]
    fn a_request_that_has_ended_is_repeated() {
        let over = status("reply", "408 Request Timeout");
        let mut feed = asked(5);
        assert_eq!(feed.take(&status("earlier", "408 Request Timeout")), FeedEvent::Nothing);
        assert_eq!(feed.wants(), None);
        assert_eq!(feed.take(&over), FeedEvent::Nothing);
        assert!(feed.wants().is_some());
        let deleted = status("reply", "409 Consumer Deleted");
        assert_eq!(feed.take(&deleted), FeedEvent::Nothing, "nothing was asked for");
        let gone = FeedEvent::Broken("Consumer Deleted (409)".to_owned());
        assert_eq!(asked(5).take(&deleted), gone);
    }

    #[test]
    fn a_message_of_any_size_is_requested_in_the_end() {
        let too_large = status("reply", "409 Message Size Exceeds MaxBytes");
        let mut feed = asked(BATCH);
        assert!(position(&feed.take(&message("c", 1))).is_some());
        feed.take(&too_large);
        assert_eq!(feed.wants(), Some((BATCH, MAX_BYTES)), "it may fit alone");
        feed.asked("reply".to_owned(), BATCH);
        feed.take(&too_large);
        assert_eq!(feed.wants(), Some((1, 0)));
        feed.asked("reply".to_owned(), 1);
        assert!(position(&feed.take(&message("c", 2))).is_some());
        assert_eq!(feed.wants(), Some((BATCH, MAX_BYTES)));
    }
}
