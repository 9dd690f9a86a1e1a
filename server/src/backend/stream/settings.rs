//! Options of the stream, and the settings that they give.

use std::time::Duration;

use common::args::{MAX_TIME, Opt, UsageError};
use nats::options;
use nats::protocol::{is_subject, is_word};

use crate::options::Config;

/// The options as parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The stream's name. Without one the log is a file.
    pub name: Option<String>,
    /// Options of the NATS connection.
    pub nats: options::Options,
    /// The subject prefix, if it is not the stream's name.
    pub subject: Option<String>,
    /// The name of this server within the stream, if it is not the host's.
    pub id: Option<String>,
    /// How long a batch may take.
    pub ack_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            nats: options::Options::default(),
            subject: None,
            id: None,
            ack_wait: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// Checks options against each other. `of_file` is an option that was given and applies only to a file.
    pub fn check(&self, of_file: Option<&str>) -> Result<(), UsageError> {
        if self.name.is_none() {
            if *self == Self::default() {
                return Ok(());
            }
            let why = "-nats, -subject, -id and -ack-wait are about a stream: -stream names it";
            return Err(UsageError::new(why));
        }
        if let Some(option) = of_file {
            let why = format!("{option}: the log is a stream (-stream), not a file");
            return Err(UsageError::new(why));
        }
        self.nats.check()
    }

    /// The settings, if a stream was given.
    pub fn settings(&self) -> Option<Settings> {
        Some(Settings {
            stream: self.name.clone()?,
            nats: self.nats.clone(),
            subject: self.subject.clone(),
            id: self.id.clone().unwrap_or_else(host_name),
            ack_wait: self.ack_wait,
        })
    }
}

/// The name of this host, as one token of a subject.
fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        }
    };
    name.chars().map(plain).collect()
}

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

impl AsMut<options::Options> for Config {
    fn as_mut(&mut self) -> &mut options::Options {
        &mut self.stream.nats
    }
}

/// The NATS options for the server's table.
pub type Nats = options::SharedOptions<Config>;

/// `-stream NAME`
pub const STREAM: Opt<Config> = Opt::new(
    &["stream"],
    "NAME",
    "log to this stream of NATS JetStream instead of a file: 'ok' then means that a majority of \
     its replicas has the line; the stream must exist (the server prints the command that \
     creates it)",
    |o, v| {
        let name = v.text()?;
        if !is_word(&name) {
            return Err(v.unexpected("the name of a stream (letters, digits, - and _)"));
        }
        o.stream.name = Some(name);
        Ok(())
    },
);

/// `-subject PREFIX`
pub const SUBJECT: Opt<Config> = Opt::new(
    &["subject"],
    "PREFIX",
    "with -stream: publish to PREFIX.ID (default: the stream's name)",
    |o, v| {
        let prefix = v.text()?;
        if !is_subject(&prefix) || prefix.contains(['*', '>']) {
            return Err(v.unexpected("a subject without wildcards, such as logs.web"));
        }
        o.stream.subject = Some(prefix);
        Ok(())
    },
);

/// `-id NAME`
pub const ID: Opt<Config> = Opt::new(
    &["id"],
    "NAME",
    "with -stream: unique name of this server among the servers of the stream (default: the host \
     name)",
    |o, v| {
        let id = v.text()?;
        if !is_word(&id) {
            return Err(v.unexpected("a name (letters, digits, - and _)"));
        }
        o.stream.id = Some(id);
        Ok(())
    },
);

/// `-ack-wait TIME`
pub const ACK_WAIT: Opt<Config> = Opt::new(
    &["ack-wait"],
    "TIME",
    "with -stream: maximum time until a batch is acknowledged; then its clients are closed \
     without a reply, since its outcome is unknown (default 30s)",
    |o, v| {
        v.time(Duration::from_secs(1)..=MAX_TIME)
            .map(|it| o.stream.ack_wait = it)
    },
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together() {
        let none = Options::default();
        assert!(none.check(Some("-log")).is_ok() && none.settings().is_none());
        let id = Options {
            id: Some("a".to_owned()),
            ..Options::default()
        };
        assert!(
            id.check(None)
                .unwrap_err()
                .to_string()
                .ends_with("-stream names it")
        );
        let stream = Options {
            name: Some("LOG".to_owned()),
            ..id
        };
        assert!(stream.check(None).is_ok());
        assert_eq!(
            stream.check(Some("-sync")).unwrap_err().to_string(),
            "-sync: the log is a stream (-stream), not a file"
        );
        let settings = stream.settings().unwrap();
        assert_eq!(
            (settings.subject(), settings.presence()),
            ("LOG.a".to_owned(), "_INBOX.line-log.LOG.a".to_owned())
        );
        assert!(is_word(&host_name()), "{}", host_name());
    }
}
