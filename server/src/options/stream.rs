//! Options of the log as a stream.

use std::marker::PhantomData;
use std::time::Duration;

use common::args::{MAX_TIME, Opt, UsageError};
use nats::protocol::{is_subject, is_word};
use nats::{options, stream_options};

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
}

/// The options of the stream for a program whose options, `O`, contain these.
#[derive(Debug)]
pub struct SharedOptions<O>(PhantomData<O>);

impl<O: AsMut<Options> + 'static> SharedOptions<O> {
    /// `-stream NAME`
    pub const STREAM: Opt<O> = Opt::new(
        &["stream"],
        "NAME",
        "log to this stream of NATS JetStream instead of a file: 'ok' then means that a majority of \
         its replicas has the line; the stream must exist (the server prints the command that \
         creates it)",
        |o, v| stream_options::name(v).map(|it| o.as_mut().name = Some(it)),
    );

    /// `-subject PREFIX`
    pub const SUBJECT: Opt<O> = Opt::new(
        &["subject"],
        "PREFIX",
        "with -stream: publish to PREFIX.ID (default: the stream's name)",
        |o, v| {
            let prefix = v.text()?;
            if !is_subject(&prefix) || prefix.contains(['*', '>']) {
                return Err(v.unexpected("a subject without wildcards, such as logs.web"));
            }
            o.as_mut().subject = Some(prefix);
            Ok(())
        },
    );

    /// `-id NAME`
    pub const ID: Opt<O> = Opt::new(
        &["id"],
        "NAME",
        "with -stream: unique name of this server among the servers of the stream (default: the host \
         name)",
        |o, v| {
            let id = v.text()?;
            if !is_word(&id) {
                return Err(v.unexpected("a name (letters, digits, - and _)"));
            }
            o.as_mut().id = Some(id);
            Ok(())
        },
    );

    /// `-ack-wait TIME`
    pub const ACK_WAIT: Opt<O> = Opt::new(
        &["ack-wait"],
        "TIME",
        "with -stream: maximum time until a batch is acknowledged; then its clients are closed \
         without a reply, since its outcome is unknown (default 30s)",
        |o, v| v.time(Duration::from_secs(1)..=MAX_TIME).map(|it| o.as_mut().ack_wait = it),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_stream_need_one_and_exclude_those_of_a_file() {
        let none = Options::default();
        assert!(none.check(Some("-log")).is_ok());
        let id = Options { id: Some("a".to_owned()), ..Options::default() };
        let error = id.check(None).unwrap_err().to_string();
        assert!(error.ends_with("-stream names it"), "{error}");
        let stream = Options { name: Some("LOG".to_owned()), ..id };
        assert!(stream.check(None).is_ok());
        assert_eq!(
            stream.check(Some("-sync")).unwrap_err().to_string(),
            "-sync: the log is a stream (-stream), not a file"
        );
    }
}
