//! Reports about the stream: one line when it is lost, and one when it is back.

use std::time::{Duration, Instant};

use common::units::plural;
use nats::address::Address;
use nats::jetstream::ApiError;

use common::rate_limit::RateLimit;

/// After this long without an acknowledgement or a connection, the server is unhealthy.
const UNWELL_AFTER: Duration = Duration::from_secs(10);

/// A shorter interruption is reported in at most one line.
const WORTH_A_LINE: Duration = Duration::from_secs(3);

/// How long connecting to another node takes, if any is usable.
const OTHERS_WITHIN: Duration = Duration::from_secs(1);

/// The interval between reports of a problem that lasts.
const REMINDER: Duration = Duration::from_secs(60);

/// The state of the stream, and what was reported about it.
#[derive(Debug)]
pub struct StreamStatus {
    stream: String,
    /// Since when there is no connection.
    lost_since: Option<Instant>,
    /// How the connection was lost, if that was not reported yet.
    loss: Option<String>,
    /// Since when a batch waits for an acknowledgement.
    waits_since: Option<Instant>,
    /// The last problem.
    why: String,
    /// The last permission error. It hides all other problems until an acknowledgement.
    denial: Option<String>,
    /// Whether a problem was reported, and not yet its end.
    is_reported: bool,
    /// When and why messages could not be stored. `None` after an acknowledgement.
    failure: Option<(Instant, String)>,
    /// Since when no message could be stored.
    failing_since: Option<Instant>,
    refusals: RateLimit,
    losses: RateLimit,
    node_errors: RateLimit,
    disturbances: RateLimit,
}

impl StreamStatus {
    /// No problem so far, but no connection either. `stream` is the stream's name.
    pub fn new(stream: &str, now: Instant) -> Self {
        Self {
            stream: stream.to_owned(),
            lost_since: Some(now),
            loss: None,
            waits_since: None,
            why: "not connected yet".to_owned(),
            denial: None,
            is_reported: false,
            failure: None,
            failing_since: None,
            refusals: RateLimit::default(),
            losses: RateLimit::default(),
            node_errors: RateLimit::new(REMINDER),
            disturbances: RateLimit::new(REMINDER),
        }
    }

    /// The connection is lost. Usually another one follows at once.
    pub fn lost(&mut self, why: &str, now: Instant) {
        why.clone_into(&mut self.why);
        self.lost_since.get_or_insert(now);
        self.loss = Some(why.to_owned());
    }

    /// A problem persists; `why` is its latest cause. A dead node or an election shows only by its duration.
    pub fn persists(&mut self, why: &str, now: Instant) {
        if self.why != why {
            why.clone_into(&mut self.why);
        }
        let stream = &self.stream;
        if self.is_reported {
            return;
        }
        if let Some(loss) = &self.loss {
            if elapsed(self.lost_since, now) >= OTHERS_WITHIN {
                log::warn!("stream {stream}: lost {loss}; no other node can be used: {why}");
                (self.is_reported, self.loss) = (true, None);
            }
        } else if self.duration(now) >= WORTH_A_LINE {
            let (seconds, why) = (self.duration(now).as_secs_f64(), self.why());
            log::warn!("stream {stream}: nothing acknowledged for {seconds:.1} s: {why}");
            self.is_reported = true;
        }
    }

    /// How long the problem has lasted.
    fn duration(&self, now: Instant) -> Duration {
        let since = [self.waits_since, self.lost_since];
        elapsed(since.into_iter().flatten().min(), now)
    }

    fn why(&self) -> &str {
        self.denial.as_deref().unwrap_or(&self.why)
    }

    /// A batch is in flight.
    pub fn waits(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// There is a connection to `node`. If a batch is in flight, only its acknowledgement ends the problem.
    pub fn connected(&mut self, node: &Address, now: Instant) {
        let lost_since = self.lost_since.take();
        if let Some(loss) = self.loss.take()
            && let Some(ending) = self.losses.allow(now)
        {
            log::warn!("stream {}: lost {loss}; uses {node} now{ending}", self.stream);
        }
        if self.waits_since.is_none() && self.failure.is_none() {
            self.report_end(lost_since, now, &format!("connected again, to {node}"));
        }
    }

    /// A batch was acknowledged.
    pub fn acknowledged(&mut self, now: Instant) {
        let waited_since = self.waits_since.take();
        (self.failure, self.denial) = (None, None);
        let since = self.failing_since.take().or(waited_since);
        self.report_end(since, now, "messages are kept again");
    }

    fn report_end(&mut self, since: Option<Instant>, now: Instant, what: &str) {
        if std::mem::take(&mut self.is_reported) {
            // The next problem is reported at once, with a new count.
            self.refusals = RateLimit::default();
            let (stream, seconds) = (&self.stream, elapsed(since, now).as_secs_f64());
            log::warn!("stream {stream}: {what}, after {seconds:.1} s");
        }
    }

    /// A batch could not be stored; `why` is the cause.
    fn fail(&mut self, why: String, now: Instant) {
        let waited_since = self.waits_since.take().unwrap_or(now);
        self.failing_since.get_or_insert(waited_since);
        self.failure = Some((now, why));
    }

    /// A batch is not stored and never will be. `subject` is where it was published.
    pub fn refused(&mut self, error: &ApiError, subject: &str, messages: u64, now: Instant) {
        let stream = &self.stream;
        let why = if error.is_no_responders() {
            format!(
                "no stream takes {subject} (503): was {stream} deleted, or does it store other subjects?"
            )
        } else {
            error.to_string()
        };
        if let Some(ending) = self.refusals.allow(now) {
            self.is_reported = true;
            let messages = plural(messages, "message");
            log::error!("stream {stream} takes nothing: {why}; {messages} not kept{ending}");
        }
        self.fail(why, now);
    }

    /// The outcome of a batch is unknown.
    pub fn unknown(&mut self, messages: u64, waited: Duration, now: Instant) {
        self.is_reported = true;
        let (stream, why, seconds) = (&self.stream, self.why(), waited.as_secs());
        let messages = plural(messages, "message");
        log::error!(
            "stream {stream}: no conclusive answer within {seconds} s ({why}); {messages} may or \
             may not be stored; connections closed without a reply"
        );
        self.fail(self.why().to_owned(), now);
    }

    /// A node has sent an error. Forbidden requests get no other answer, so this is the only sign of them.
    pub fn node_error(&mut self, why: &str, now: Instant) {
        if why.contains("Permissions Violation") {
            self.denial = Some(why.to_owned());
        }
        if let Some(ending) = self.node_errors.allow(now) {
            self.is_reported = true;
            log::error!("stream {}: the NATS server says: {why}{ending}", self.stream);
        }
        self.persists(why, now);
    }

    /// A foreign client publishes to this server's subject.
    pub fn disturbed(&mut self, subject: &str, now: Instant) {
        if let Some(ending) = self.disturbances.allow(now) {
            log::warn!(
                "stream {}: another client publishes to {subject}, which is for this server \
                 only: replies take longer, and after two minutes a line may be stored \
                 twice{ending}",
                self.stream
            );
        }
    }

    /// When and why messages cannot be stored, as far as known.
    pub fn failure(&self, now: Instant) -> Option<(Instant, String)> {
        let duration = self.duration(now);
        if duration < UNWELL_AFTER {
            return self.failure.clone();
        }
        let (seconds, why) = (duration.as_secs(), self.why());
        Some((now, format!("nothing acknowledged for {seconds} s: {why}")))
    }
}

fn elapsed(since: Option<Instant>, now: Instant) -> Duration {
    since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn ten_seconds_without_an_acknowledgement_are_a_failure() {
        let start = Instant::now();
        let mut status = StreamStatus::new("LOG", start);
        let node = Address::new("a", 1);
        status.connected(&node, start);
        assert_eq!(status.failure(at(start, 100)), None, "nothing waits");
        status.waits(at(start, 100));
        status.waits(at(start, 105));
        status.persists("no leader", at(start, 105));
        assert_eq!(status.failure(at(start, 109)), None);
        let (when, why) = status.failure(at(start, 110)).unwrap();
        assert_eq!(
            (when, why.as_str()),
            (at(start, 110), "nothing acknowledged for 10 s: no leader")
        );
        status.acknowledged(at(start, 111));
        assert_eq!(status.failure(at(start, 200)), None);
    }

    #[test]
    fn ten_seconds_without_a_connection_are_a_failure() {
        let start = Instant::now();
        let mut status = StreamStatus::new("LOG", start);
        let node = Address::new("a", 1);
        status.connected(&node, start);
        status.lost("nats://a:1: reset", at(start, 1));
        status.persists("nats://b:1: refused", at(start, 2));
        assert_eq!(status.failure(at(start, 10)), None);
        let (_, why) = status.failure(at(start, 11)).unwrap();
        assert_eq!(why, "nothing acknowledged for 10 s: nats://b:1: refused");
        status.connected(&node, at(start, 12));
        assert_eq!(status.failure(at(start, 12)), None);
    }

    #[test]
    fn a_batch_that_is_not_stored_is_a_failure_until_the_next_is() {
        let start = Instant::now();
        let mut status = StreamStatus::new("LOG", start);
        status.connected(&Address::new("a", 1), start);
        status.waits(start);
        let full = ApiError { code: 400, err_code: 10077, description: "full".to_owned() };
        status.refused(&full, "LOG.a", 3, at(start, 1));
        assert_eq!(status.failure(at(start, 20)), Some((at(start, 1), "full (10077)".to_owned())));
        status.waits(at(start, 2));
        status.persists("silence", at(start, 3));
        status.unknown(2, Duration::from_secs(1), at(start, 3));
        assert_eq!(status.failure(at(start, 20)), Some((at(start, 3), "silence".to_owned())));
        assert_eq!(status.failing_since, Some(start));
        status.acknowledged(at(start, 21));
        assert_eq!(status.failure(at(start, 22)), None);
        assert_eq!(status.failing_since, None);
    }

    #[test]
    fn a_permission_error_hides_other_errors_until_an_acknowledgement() {
        let start = Instant::now();
        let mut status = StreamStatus::new("LOG", start);
        status.connected(&Address::new("a", 1), start);
        status.waits(start);
        status.node_error("Permissions Violation for Publish to \"LOG.a\"", start);
        status.persists("no answer", at(start, 2));
        let (_, why) = status.failure(at(start, 10)).unwrap();
        assert!(why.ends_with("10 s: Permissions Violation for Publish to \"LOG.a\""), "{why}");
        status.acknowledged(at(start, 11));
        status.waits(at(start, 12));
        status.persists("no answer", at(start, 14));
        let (_, why) = status.failure(at(start, 22)).unwrap();
        assert!(why.ends_with(": no answer"), "{why}");
    }
}
