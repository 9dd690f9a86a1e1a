//! The settings of the stream.

use std::time::Duration;

use nats::options;

use crate::options::stream::Options;

/// A stream, and how it is used.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The stream's name.
    pub stream: String,
    /// Options of the NATS connection.
    pub nats: options::Options,
    /// The subject prefix, if it is not the stream's name.
    pub subject: Option<String>,
    /// The name of this server within the stream.
    pub id: String,
    /// How long a batch may take.
    pub ack_wait: Duration,
}

impl Settings {
    /// The settings that these options give. `None`: the log is a file.
    pub fn of(options: &Options) -> Option<Self> {
        Some(Self {
            stream: options.name.clone()?,
            nats: options.nats.clone(),
            subject: options.subject.clone(),
            id: options.id.clone().unwrap_or_else(host_name),
            ack_wait: options.ack_wait,
        })
    }

    /// The subject prefix.
    pub fn prefix(&self) -> &str {
        self.subject.as_deref().unwrap_or(&self.stream)
    }

    /// The subject of this server. No other server may publish to it.
    pub fn subject(&self) -> String {
        format!("{}.{}", self.prefix(), self.id)
    }

    /// The subject at which a running server answers for its `-id`. By default every client may subscribe
    /// below `_INBOX`.
    pub fn presence(&self) -> String {
        format!("_INBOX.line-log.{}.{}", self.stream, self.id)
    }

    /// The client name in a node's connection list.
    pub fn client_name(&self) -> String {
        format!("line log {}", self.id)
    }

    /// The command that creates a suitable stream.
    pub fn would_make_it(&self) -> String {
        format!(
            "nats stream add {} --subjects '{}.*' --storage file --replicas 3 --retention limits \
             --discard new --max-msgs=-1 --max-bytes=-1 --max-age=-1 --defaults",
            self.stream,
            self.prefix()
        )
    }
}

/// The name of this host, as one token of a subject.
fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }
    };
    name.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use nats::protocol::is_word;

    use super::*;

    #[test]
    fn a_stream_has_subjects_of_its_own() {
        assert!(Settings::of(&Options::default()).is_none());
        let options = Options {
            name: Some("LOG".to_owned()),
            id: Some("a".to_owned()),
            ..Options::default()
        };
        let settings = Settings::of(&options).unwrap();
        assert_eq!(settings.subject(), "LOG.a");
        assert_eq!(settings.presence(), "_INBOX.line-log.LOG.a");
        assert!(is_word(&host_name()), "{}", host_name());
    }
}
