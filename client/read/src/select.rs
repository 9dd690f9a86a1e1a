//! Filter of messages.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use crate::message::Message;
use crate::options::{Moment, Options};

/// The conditions that a message must meet to be printed.
#[derive(Debug)]
pub(crate) struct Selection {
    peer: Option<String>,
    id: Option<String>,
    since: Option<Bound>,
    until: Option<Bound>,
    wants_head: bool,
}

/// A time limit, also as text in the original format. That format has neither zone nor fractions,
/// so its times are compared as text.
#[derive(Debug)]
struct Bound {
    moment: OffsetDateTime,
    text: String,
}

impl Selection {
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let bound = |moment: &Option<Moment>| {
            let moment = moment.as_ref().map(|moment| Bound::new(moment.0, options.utc));
            moment.transpose()
        };
        let is_head_shown = options.show.time
            || options.show.peer
            || options.show.form == crate::output::Form::Json;
        let bounded = options.since.is_some() || options.until.is_some();
        Ok(Self {
            since: bound(&options.since)?,
            until: bound(&options.until)?,
            wants_head: is_head_shown || bounded || options.peer.is_some(),
            peer: options.peer.clone(),
            id: options.id.clone(),
        })
    }

    /// Whether the time or the peer of a message is needed.
    pub(crate) fn wants_time(&self) -> bool {
        self.wants_head
    }

    pub(crate) fn wants(&self, message: &Message) -> bool {
        let is_peer =
            |peer: &String| message.peer == *peer || host(&message.peer) == host_only(peer);
        self.peer.as_ref().is_none_or(is_peer)
            && self.id.as_ref().is_none_or(|id| message.sender() == Some(id))
            && self.since.as_ref().is_none_or(|since| since.compare(&message.time).is_ge())
            && self.until.as_ref().is_none_or(|until| until.compare(&message.time).is_le())
    }
}

impl Bound {
    fn new(moment: OffsetDateTime, utc: bool) -> Result<Self, String> {
        let offset = if utc {
            UtcOffset::UTC
        } else {
            UtcOffset::local_offset_at(moment)
                .map_err(|error| format!("cannot find out the local time: {error}"))?
        };
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let text = moment.to_offset(offset).format(format);
        let text = text.map_err(|error| error.to_string())?;
        Ok(Self { moment, text })
    }

    /// Compares the time of a record with the limit.
    fn compare(&self, time: &str) -> std::cmp::Ordering {
        match OffsetDateTime::parse(time, &Rfc3339) {
            Ok(time) => time.cmp(&self.moment),
            Err(_) => time.cmp(self.text.as_str()),
        }
    }
}

/// The host in `HOST:PORT`, without brackets.
fn host(peer: &str) -> &str {
    let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A host that was given without a port, brackets removed. An address with a port stays as it is,
/// and equals no host.
fn host_only(typed: &str) -> &str {
    typed.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn message(time: &str, peer: &str, text: &str) -> Message {
        Message {
            time: time.to_owned(),
            peer: peer.to_owned(),
            client: None,
            text: text.as_bytes().to_vec(),
            tag: None,
        }
    }

    #[test]
    fn messages_are_chosen_by_time_peer_and_sender() {
        let bound = |moment| Some(Bound::new(moment, true).unwrap());
        let mut selection = Selection {
            peer: None,
            id: None,
            since: bound(datetime!(2026-11-25 03:35:12 UTC)),
            until: bound(datetime!(2026-11-25 03:35:14 UTC)),
            wants_head: true,
        };
        for (time, expected) in [
            ("2026-11-25 03:35:11", false),
            ("2026-11-25 03:35:12", true),
            ("2026-11-25 03:35:14", true),
            ("2026-11-25 03:35:15", false),
            ("2026-11-25T04:35:11.9+01:00", false),
            ("2026-11-25T04:35:13.5+01:00", true),
            ("2026-11-25T04:35:14.1+01:00", false),
        ] {
            assert_eq!(selection.wants(&message(time, "", "")), expected, "{time}");
        }
        selection.since = None;
        selection.until = None;
        for (typed, peer, expected) in [
            ("127.0.0.1", "127.0.0.1:5", true),
            ("127.0.0.1:5", "127.0.0.1:5", true),
            ("127.0.0.1:6", "127.0.0.1:5", false),
            ("::1", "[::1]:5", true),
            ("[::1]", "[::1]:5", true),
            ("::2", "[::1]:5", false),
        ] {
            selection.peer = Some(typed.to_owned());
            assert_eq!(selection.wants(&message("", peer, "")), expected, "{typed}");
        }
        selection.peer = None;
        selection.id = Some("a".to_owned());
        assert!(selection.wants(&message("", "", "@a:1 x")));
        assert!(
            !selection.wants(&message("", "", "@b:1 x")) && !selection.wants(&message("", "", "x"))
        );
    }
}
