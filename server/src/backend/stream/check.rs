//! Checks at start, before the first line is accepted: can this stream store what it acknowledges?

use std::io::ErrorKind::{PermissionDenied, TimedOut};
use std::time::{Duration, Instant};

use nats::client::Client;
use nats::jetstream::{
    self, Answer, ApiError, StoredMessage, StreamConfig, StreamInfo, header, info_subject,
    message_subject,
};
use serde::de::DeserializeOwned;

use super::identity::{BatchId, Identity, recognise};
use super::link::OLDEST;
use super::settings::Settings;

/// How long a stream may be without a leader: it was just created, or its leader has died.
const PATIENCE: Duration = Duration::from_secs(10);

/// The timeout of one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The result of the checks.
#[derive(Debug)]
pub struct Found {
    /// The configuration of the stream.
    pub config: StreamConfig,
    /// The maximum size of a message in bytes, headers included.
    pub max_payload: usize,
    /// The identity of this server in this run.
    pub identity: Identity,
    /// The sequence of the last message on this server's subject, 0 if there is none.
    pub sequence: u64,
    /// Warnings about settings that are allowed.
    pub warnings: Vec<String>,
}

/// Checks the nodes and the stream.
///
/// # Errors
/// One line that says what is wrong and how to correct it.
pub fn check(settings: &Settings) -> Result<Found, String> {
    let mut client = Client::connect(&settings.nats, &settings.client_name())?;
    let info = client.info().clone();
    let node = client.address().to_string();
    if !info.is_at_least(&OLDEST) {
        let version = &info.version;
        return Err(format!(
            "{node} is nats-server {version}, whose check of sequences is not sound: {OLDEST} is \
             the first that will do"
        ));
    }
    if !info.jetstream {
        return Err(format!(
            "{node} keeps no streams: 'jetstream {{}}' in its configuration switches them on"
        ));
    }
    let mut requests =
        Requests { client: &mut client, settings, deadline: Instant::now() + PATIENCE };
    let stream = requests.stream()?;
    check_config(&stream.config, settings)?;
    let last = requests.last_message()?;
    requests.check_duplicate_id()?;
    let known = last.as_ref().and_then(|(_, id)| *id);
    Ok(Found {
        warnings: warnings(&stream.config, settings),
        max_payload: limit(info.max_payload, stream.config.max_msg_size),
        config: stream.config,
        identity: Identity::new(&settings.id, known),
        sequence: last.map_or(0, |(sequence, _)| sequence),
    })
}

fn limit(max_payload: usize, max_msg_size: i64) -> usize {
    let of_stream = usize::try_from(max_msg_size).ok().filter(|size| *size > 0);
    of_stream.map_or(max_payload, |size| size.min(max_payload))
}

struct Requests<'a> {
    client: &'a mut Client,
    settings: &'a Settings,
    /// The deadline of all requests together.
    deadline: Instant,
}

impl Requests<'_> {
    fn stream(&mut self) -> Result<StreamInfo, String> {
        let name = &self.settings.stream;
        match self.ask(&info_subject(name), b"")? {
            Answer::Yes(info) => Ok(info),
            Answer::No(error) if error.err_code == ApiError::STREAM_NOT_FOUND => Err(format!(
                "there is no stream {name}; this would make it: {}",
                self.settings.would_make_it()
            )),
            Answer::No(error) => Err(format!("cannot ask for the stream {name}: {error}")),
            Answer::Nonsense(what) => {
                Err(format!("what is said of the stream {name} is not understood: {what}"))
            }
        }
    }

    /// The sequence of the last message on this server's subject, and its batch ID, if it has one.
    fn last_message(&mut self) -> Result<Option<(u64, Option<BatchId>)>, String> {
        let (name, subject) = (&self.settings.stream, self.settings.subject());
        let question = jetstream::last_message_of(&subject);
        match self.ask::<StoredMessage>(&message_subject(name), &question)? {
            Answer::Yes(StoredMessage { message }) => {
                let id = message.header(header::MESSAGE_ID);
                let id = id.and_then(|id| recognise(&self.settings.id, &id));
                Ok(Some((message.seq, id)))
            }
            Answer::No(error) if error.err_code == ApiError::NO_MESSAGE_FOUND => Ok(None),
            Answer::No(error) => Err(format!("cannot read the last message of {subject}: {error}")),
            Answer::Nonsense(what) => {
                Err(format!("the last message of {subject} is not understood: {what}"))
            }
        }
    }

    /// Repeats a request until a leader answers or the deadline has passed.
    fn ask<T: DeserializeOwned>(
        &mut self,
        subject: &str,
        json: &[u8],
    ) -> Result<Answer<T>, String> {
        loop {
            let asked = Instant::now();
            let said = match self.client.call(subject, json, ANSWER_WITHIN) {
                Ok(Answer::No(error)) if error.is_passing() => error.to_string(),
                Ok(answer) => return Ok(answer),
                Err(error) if error.kind() == TimedOut => error.to_string(),
                Err(error) => return Err(format!("cannot ask {subject}: {error}")),
            };
            if Instant::now() >= self.deadline {
                return Err(format!("cannot ask {subject}: {said}"));
            }
            // There is no leader yet. An immediate error must not cause an immediate retry.
            std::thread::sleep(Duration::from_millis(200).saturating_sub(asked.elapsed()));
        }
    }

    /// A running server with the same `-id` would answer. Without permission for this request, a duplicate is
    /// detected when both publish.
    fn check_duplicate_id(&mut self) -> Result<(), String> {
        let subject = self.settings.presence();
        let answer = self.client.request(&subject, b"", b"", Duration::from_secs(1));
        match answer {
            Ok(answer) if answer.headers().status().is_none() => {
                let id = &self.settings.id;
                let other = String::from_utf8_lossy(&answer.payload).into_owned();
                Err(format!("another server has the id {id} ({other}): give each its own with -id"))
            }
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), TimedOut | PermissionDenied) => {
                log::info!("cannot check for a duplicate -id: {error}");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Rejects a stream that cannot store what it acknowledges.
fn check_config(config: &StreamConfig, settings: &Settings) -> Result<(), String> {
    let (name, subject) = (&config.name, settings.subject());
    let why = if config.no_ack {
        "acknowledges nothing (no_ack)".to_owned()
    } else if config.sealed {
        "is sealed: it takes nothing any more".to_owned()
    } else if config.mirror.is_some() {
        "is a mirror: it takes what another stream has, and nothing else".to_owned()
    } else if config.storage != "file" {
        format!("is kept in {}: no 'ok' would outlive its nodes", config.storage)
    } else if matches!(config.retention.as_str(), "interest" | "workqueue") {
        format!("drops what was read (retention {})", config.retention)
    } else if !config.subjects.iter().any(|pattern| covers(pattern, &subject)) {
        format!(
            "does not store {subject}, but {}: -subject and -id choose another",
            config.subjects.join(", ")
        )
    } else {
        return Ok(());
    };
    Err(format!(
        "the stream {name} {why}; one that will do is made by: {}",
        settings.would_make_it()
    ))
}

/// Whether a subject pattern, with wildcards, matches this subject.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    for part in pattern.split('.') {
        match (part, words.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(word)) if part == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

/// Warnings about settings that are allowed.
fn warnings(config: &StreamConfig, settings: &Settings) -> Vec<String> {
    let name = &config.name;
    let mut warnings = Vec::new();
    let replicas = config.num_replicas;
    if replicas < 3 {
        let (nodes, loss) = match replicas {
            ..=1 => ("1 server", "what was acknowledged is lost with it"),
            _ => ("2 nodes", "it takes nothing while one of them is away"),
        };
        warnings.push(format!(
            "the stream {name} is kept by {nodes}: {loss}; 'nats stream edit {name} --replicas 3' helps"
        ));
    }
    warnings.extend(warnings_of_limits(config));
    let window = Duration::from_nanos(config.duplicate_window);
    if window < settings.ack_wait {
        let (window, wait) = (window.as_secs(), settings.ack_wait.as_secs());
        warnings.push(format!(
            "the stream {name} recognises what is sent again for {window} s only, and lines wait for up to {wait} s: \
             'nats stream edit {name} --dupe-window {wait}s', or a shorter -ack-wait"
        ));
    }
    if config.subjects.iter().any(|pattern| pattern == ">") {
        warnings.push(format!(
            "the stream {name} stores all subjects, not only {}.*",
            settings.prefix()
        ));
    }
    warnings
}

/// Warnings about limits at which acknowledged lines are dropped or new ones rejected.
fn warnings_of_limits(config: &StreamConfig) -> Vec<String> {
    let name = &config.name;
    let mut warnings = Vec::new();
    let limits = [
        ("max_msgs", config.max_msgs),
        ("max_bytes", config.max_bytes),
        ("max_age", config.max_age),
        ("max_msgs_per_subject", config.max_msgs_per_subject),
    ];
    let limits: Vec<_> = limits.iter().filter(|(_, limit)| *limit > 0).collect();
    for (limit, _) in &limits {
        let drops = config.discard == "old" || matches!(*limit, "max_age");
        let what = if drops {
            "lines that were acknowledged vanish when it is reached"
        } else {
            "nothing is taken any more when it is reached"
        };
        warnings.push(format!("the stream {name} has a limit ({limit}): {what}"));
    }
    if config.discard == "old" && limits.is_empty() {
        warnings.push(format!(
            "the stream {name} would drop old lines for new ones if it were ever given a limit (discard old); \
             'nats stream edit {name} --discard new' has it refuse the new ones instead"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut StreamConfig);

    fn settings() -> Settings {
        Settings {
            stream: "LOG".to_owned(),
            id: "a".to_owned(),
            ack_wait: Duration::from_secs(30),
            ..Settings::default()
        }
    }

    fn good() -> StreamConfig {
        StreamConfig {
            name: "LOG".to_owned(),
            subjects: vec!["LOG.*".to_owned()],
            storage: "file".to_owned(),
            retention: "limits".to_owned(),
            discard: "new".to_owned(),
            num_replicas: 3,
            duplicate_window: 120_000_000_000,
            max_msgs: -1,
            max_bytes: -1,
            ..StreamConfig::default()
        }
    }

    #[test]
    fn a_stream_that_cannot_store_what_it_acknowledges_is_an_error() {
        assert_eq!(check_config(&good(), &settings()), Ok(()));
        let table: [(Change, &str); 7] = [
            (|it| it.no_ack = true, "acknowledges nothing (no_ack); "),
            (|it| it.sealed = true, "is sealed: it takes nothing any more; "),
            (|it| it.mirror = Some(serde_json::json!({})), "is a mirror: "),
            (
                |it| it.storage = "memory".to_owned(),
                "is kept in memory: no 'ok' would outlive its nodes; ",
            ),
            (
                |it| it.retention = "interest".to_owned(),
                "drops what was read (retention interest); ",
            ),
            (
                |it| it.retention = "workqueue".to_owned(),
                "drops what was read (retention workqueue); ",
            ),
            (
                |it| it.subjects = vec!["x".to_owned(), "y.>".to_owned()],
                "does not store LOG.a, but x, y.>: -subject and -id choose another; ",
            ),
        ];
        for (change, expected) in table {
            let mut config = good();
            change(&mut config);
            let why = check_config(&config, &settings()).unwrap_err();
            assert!(why.starts_with(&format!("the stream LOG {expected}")), "{why}");
            assert!(why.contains("made by: nats stream add LOG --subjects 'LOG.*' "), "{why}");
        }
    }

    #[test]
    fn risky_settings_are_warned_of() {
        assert!(warnings(&good(), &settings()).is_empty());
        let table: [(Change, &str); 8] = [
            (
                |it| it.duplicate_window = 2_000_000_000,
                "recognises what is sent again for 2 s only, and lines wait for up to 30 s",
            ),
            (
                |it| it.num_replicas = 1,
                "is kept by 1 server: what was acknowledged is lost with it; ",
            ),
            (
                |it| it.num_replicas = 2,
                "is kept by 2 nodes: it takes nothing while one of them is away; ",
            ),
            (|it| it.discard = "old".to_owned(), "would drop old lines for new ones"),
            (
                |it| it.max_bytes = 7,
                "has a limit (max_bytes): nothing is taken any more when it is reached",
            ),
            (
                |it| it.max_age = 7,
                "has a limit (max_age): lines that were acknowledged vanish when it is reached",
            ),
            (
                |it| (it.discard, it.max_msgs) = ("old".to_owned(), 1),
                "has a limit (max_msgs): lines that were acknowledged vanish when it is reached",
            ),
            (|it| it.subjects = vec![">".to_owned()], "stores all subjects, not only LOG.*"),
        ];
        for (change, expected) in table {
            let mut config = good();
            change(&mut config);
            let said = warnings(&config, &settings());
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(&format!("the stream LOG {expected}")), "{said:?}");
        }
    }

    #[test]
    fn patterns_cover_subjects() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.>", "a.b.c", true),
            (">", "a", true),
            ("a.>", "a", false),
            ("a.*", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("b.*", "a.b", false),
        ] {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn the_smaller_limit_counts() {
        assert_eq!(limit(100, -1), 100);
        assert_eq!(limit(100, 0), 100);
        assert_eq!(limit(100, 50), 50);
        assert_eq!(limit(100, 500), 100);
    }
}
