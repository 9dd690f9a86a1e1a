//! What people are told of a stream: one line when it is lost, and one when it is back.

use std::time::{Duration, Instant};

use common::units::plural;
use nats::address::Address;
use nats::jetstream::ApiError;

use crate::diagnostics::Throttle;

/// Without an acknowledgement, or without a connection, for so long, the server is not well.
const UNWELL_AFTER: Duration = Duration::from_secs(10);

/// An election that is over so soon is not worth a line.
const WORTH_A_LINE: Duration = Duration::from_secs(2);

/// How the stream is, and what was said about it.
#[derive(Debug)]
pub struct Trouble {
    stream: String,
    /// Since when there is no connection.
    lost_since: Option<Instant>,
    /// Since when something waits without an acknowledgement.
    waits_since: Option<Instant>,
    /// What was wrong last.
    why: String,
    /// It was said that something is wrong, and not yet that it is over.
    said: bool,
    /// When and why messages could last not be kept, if none have been since.
    failure: Option<(Instant, String)>,
    /// And since when none could be.
    failing_since: Option<Instant>,
    refusals: Throttle,
    losses: Throttle,
    complaints: Throttle,
    disturbances: Throttle,
}

impl Trouble {
    /// None so far, but no connection either; `stream` is the stream's name.
    pub fn new(stream: &str, now: Instant) -> Self {
        Self {
            stream: stream.to_owned(),
            lost_since: Some(now),
            waits_since: None,
            why: "not connected yet".to_owned(),
            said: false,
            failure: None,
            failing_since: None,
            refusals: Throttle::default(),
            losses: Throttle::default(),
            complaints: Throttle::default(),
            disturbances: Throttle::new(Duration::from_secs(60)),
        }
    }

    /// The connection is lost.
    pub fn lost(&mut self, why: &str, now: Instant) {
        why.clone_into(&mut self.why);
        self.lost_since.get_or_insert(now);
        if let Some(ending) = self.losses.pass(now) {
            self.said = true;
            log::warn!(
                "stream {}: lost {why}; others are tried{ending}",
                self.stream
            );
        }
    }

    /// It goes on: what was wrong last. A node that has died, or an election, shows only by the time
    /// that it takes.
    pub fn still(&mut self, why: &str, now: Instant) {
        if self.why != why {
            why.clone_into(&mut self.why);
        }
        let since = self.waits_since.or(self.lost_since);
        let lasts = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if !self.said && lasts >= WORTH_A_LINE {
            self.said = true;
            let seconds = lasts.as_secs_f64();
            log::warn!(
                "stream {}: nothing acknowledged for {seconds:.1} s: {why}",
                self.stream
            );
        }
    }

    /// A batch is on its way.
    pub fn waits(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// There is a connection to `server`. Only an acknowledgement shows that all is well, if one is
    /// awaited.
    pub fn connected(&mut self, server: &Address, now: Instant) {
        let lost_since = self.lost_since.take();
        if self.waits_since.is_none() && self.failure.is_none() {
            self.say_over(lost_since, now, &format!("connected again, to {server}"));
        }
    }

    /// A batch was acknowledged.
    pub fn acknowledged(&mut self, now: Instant) {
        let waited_since = self.waits_since.take();
        self.failure = None;
        let since = self.failing_since.take().or(waited_since);
        self.say_over(since, now, "messages are kept again");
    }

    /// A batch could not be kept; `why` is what was wrong.
    fn fail(&mut self, why: String, now: Instant) {
        let waited_since = self.waits_since.take().unwrap_or(now);
        self.failing_since.get_or_insert(waited_since);
        self.failure = Some((now, why));
    }

    fn say_over(&mut self, since: Option<Instant>, now: Instant, what: &str) {
        if std::mem::take(&mut self.said) {
            let lasted = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            let (stream, seconds) = (&self.stream, lasted.as_secs_f64());
            log::warn!("stream {stream}: {what}, after {seconds:.1} s");
        }
    }

    /// A batch is not in, and never will be.
    pub fn refused(&mut self, error: &ApiError, messages: u64, now: Instant) {
        self.fail(error.to_string(), now);
        if let Some(ending) = self.refusals.pass(now) {
            self.said = true;
            let messages = plural(messages, "message");
            log::error!(
                "stream {} takes nothing: {error}; {messages} not kept{ending}",
                self.stream
            );
        }
    }

    /// Nobody knows what became of a batch.
    pub fn unknown(&mut self, messages: u64, waited: Duration, now: Instant) {
        self.fail(self.why.clone(), now);
        self.said = true;
        let (stream, why, seconds) = (&self.stream, &self.why, waited.as_secs());
        let messages = plural(messages, "message");
        log::error!(
            "stream {stream}: no answer that says anything for {seconds} s ({why}): {messages} may be in it \
             or not, and whoever sent them is closed without a reply"
        );
    }

    /// A server complains. Nobody answers what is not allowed, so this is all that is heard of it.
    pub fn complain(&mut self, why: &str, now: Instant) {
        if let Some(ending) = self.complaints.pass(now) {
            log::error!(
                "stream {}: the NATS server says: {why}{ending}",
                self.stream
            );
        }
        self.still(why, now);
    }

    /// Somebody else publishes where only this server should.
    pub fn disturbed(&mut self, subject: &str, now: Instant) {
        if let Some(ending) = self.disturbances.pass(now) {
            log::warn!(
                "stream {}: somebody else publishes to {subject}, which is this server's own: replies take \
                 longer, and after two minutes a line could be stored twice{ending}",
                self.stream
            );
        }
    }

    /// When and why messages are not kept, as far as is known.
    pub fn failure(&self, now: Instant) -> Option<(Instant, String)> {
        let since = [self.waits_since, self.lost_since];
        let since = since.into_iter().flatten().min();
        let lasts = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if lasts < UNWELL_AFTER {
            return self.failure.clone();
        }
        let (seconds, why) = (lasts.as_secs(), &self.why);
        Some((now, format!("nothing acknowledged for {seconds} s: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn who_waits_for_ten_seconds_is_not_well() {
        let start = Instant::now();
        let mut trouble = Trouble::new("LOG", start);
        let server = Address::new("a", 1);
        trouble.connected(&server, start);
        assert_eq!(trouble.failure(at(start, 100)), None, "nothing waits");
        trouble.waits(at(start, 100));
        trouble.waits(at(start, 105));
        trouble.still("no leader", at(start, 105));
        assert_eq!(trouble.failure(at(start, 109)), None);
        let (when, why) = trouble.failure(at(start, 110)).unwrap();
        assert_eq!(
            (when, why.as_str()),
            (at(start, 110), "nothing acknowledged for 10 s: no leader")
        );
        trouble.acknowledged(at(start, 111));
        assert_eq!(trouble.failure(at(start, 200)), None);
    }

    #[test]
    fn who_has_no_connection_for_ten_seconds_is_not_well_either() {
        let start = Instant::now();
        let mut trouble = Trouble::new("LOG", start);
        let server = Address::new("a", 1);
        trouble.connected(&server, start);
        trouble.lost("nats://a:1: reset", at(start, 1));
        trouble.still("nats://b:1: refused", at(start, 2));
        assert_eq!(trouble.failure(at(start, 10)), None);
        let (_, why) = trouble.failure(at(start, 11)).unwrap();
        assert_eq!(why, "nothing acknowledged for 10 s: nats://b:1: refused");
        trouble.connected(&server, at(start, 12));
        assert_eq!(trouble.failure(at(start, 12)), None);
    }

    #[test]
    fn what_was_refused_or_given_up_is_a_failure_until_something_is_kept() {
        let start = Instant::now();
        let mut trouble = Trouble::new("LOG", start);
        trouble.connected(&Address::new("a", 1), start);
        trouble.waits(start);
        let full = ApiError {
            code: 400,
            err_code: 10077,
            description: "full".to_owned(),
        };
        trouble.refused(&full, 3, at(start, 1));
        assert_eq!(
            trouble.failure(at(start, 20)),
            Some((at(start, 1), "full (10077)".to_owned()))
        );
        trouble.waits(at(start, 2));
        trouble.still("silence", at(start, 3));
        trouble.unknown(2, Duration::from_secs(1), at(start, 3));
        assert_eq!(
            trouble.failure(at(start, 20)),
            Some((at(start, 3), "silence".to_owned()))
        );
        assert_eq!(trouble.failing_since, Some(start));
        trouble.acknowledged(at(start, 21));
        assert_eq!(trouble.failure(at(start, 22)), None);
        assert_eq!(trouble.failing_since, None);
    }
}
