//! Parser of a server's replies. No I/O.

use common::protocol::{Framing, OK};
use common::record::printable;

/// Maximum length of a reply, in bytes. A conforming server's replies are a tenth of it.
const MAX_REPLY: usize = 1024;

/// What a reply says about its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The line is in the log.
    Kept,
    /// The line is rejected permanently, for this reason.
    Refused(String),
    /// The line is not in the log, but may be sent again.
    NotNow(String),
    /// The server ends the connection, or does not speak this protocol.
    Ends(String),
}

/// A parser that holds an incomplete reply.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    begun: Vec<u8>,
}

impl Replies {
    /// Takes received bytes, split anywhere, and calls `each` for every complete reply.
    pub(crate) fn feed(&mut self, framing: Framing, bytes: &[u8], mut each: impl FnMut(Said)) {
        let end = framing.reply_end().bytes().next().unwrap_or(b'\n');
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(end, rest) {
            let reply = &rest[..at];
            rest = &rest[at + 1..];
            if self.begun.is_empty() {
                each(judge(reply));
                continue;
            }
            self.begun.extend_from_slice(reply);
            each(judge(&self.begun));
            self.begun.clear();
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > MAX_REPLY {
            each(Said::Ends(format!("it answered '{}'", printable(&self.begun, 60))));
            self.begun.clear();
        }
    }
}

fn judge(reply: &[u8]) -> Said {
    if reply == OK.as_bytes() {
        return Said::Kept;
    }
    let text = printable(reply, 200);
    let code = text.strip_prefix("error ").and_then(|rest| rest.split(':').next());
    match code {
        Some("too-long") => Said::Refused(text),
        Some("log") => Said::NotNow(text),
        Some(_) => Said::Ends(text),
        None => {
            Said::Ends(format!("it answered '{text}': is this a server that acknowledges lines?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_the_same_however_they_are_split() {
        let stream =
            b"ok\nerror too-long: 9\nok\nerror log: full\nerror shutting-down: x\nHTTP/1.1\n";
        let mut whole = Vec::new();
        Replies::default().feed(Framing::Line, stream, |said| whole.push(said));
        let log = Said::NotNow("error log: full".to_owned());
        let too_long = Said::Refused("error too-long: 9".to_owned());
        assert_eq!(whole[..4], [Said::Kept, too_long, Said::Kept, log]);
        assert_eq!(whole[4], Said::Ends("error shutting-down: x".to_owned()));
        assert!(matches!(&whole[5], Said::Ends(text) if text.contains("'HTTP/1.1'")));
        for at in 0..stream.len() {
            let (mut replies, mut said) = (Replies::default(), Vec::new());
            for piece in [&stream[..at], &stream[at..]] {
                replies.feed(Framing::Line, piece, |one| said.push(one));
            }
            assert_eq!(said, whole, "split at {at}");
        }
    }

    #[test]
    fn a_reply_without_end_ends_the_connection() {
        let (mut replies, mut said) = (Replies::default(), Vec::new());
        for _ in 0..20 {
            replies.feed(Framing::Line, &[b'x'; 100], |one| said.push(one));
            assert!(replies.begun.len() <= MAX_REPLY);
        }
        assert!(matches!(said[..], [Said::Ends(_)]));
    }
}
